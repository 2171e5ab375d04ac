"""The journal file of a study: Optuna's log of operations, made safe against workers that die while writing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from wsol_bench.atomic import refused
from wsol_bench.errors import WorkspaceError


class Journal(JournalFileBackend):
    """Optuna's journal with two changes, both for the moment in which a writer is killed or the disk is full.

    - The lock belongs to the open file and goes with the process, whatever ends it. Optuna's own locks are files that
      stay behind, and which others take over after half a minute, whether their owner is dead or only slow.
    - What a writer leaves half written at the end is cut off before the next line is written. Otherwise the next line
      would be glued to it, and nobody could read the journal again.

    Args:
        path: the file; it and its folder are made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._flock = FileLock(path.with_name(f"{path.name}.lock"))
        super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends whole lines, on the disk when this returns.

        Raises:
            WorkspaceError: the system does not let the file grow; nothing of ``logs`` is in it then.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            with self._flock, self._path.open("rb+") as stream:
                end = _end_of_whole_lines(stream.seek(0, os.SEEK_END), stream.fileno())
                stream.truncate(end)
                stream.seek(end)
                with _undone_on_failure(stream.fileno(), end):
                    stream.write(lines)
                    stream.flush()
                    os.fsync(stream.fileno())
        except OSError as error:
            raise refused(self._path, error) from error


def open_journal(path: Path) -> JournalStorage:
    """Opens a study's journal, an empty one where there is none.

    Raises:
        WorkspaceError: the file cannot be made, or is not a journal.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        backend = Journal(path)
    except OSError as error:
        raise refused(path, error) from error
    try:
        return JournalStorage(backend)
    except (ValueError, KeyError, TypeError, AssertionError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            f"Expected {path} to be the journal of a study but it cannot be read ({type(error).__name__}: {error}). "
            "Fix: move it away and run the same command again: finished epochs are kept in the workspace, and trials "
            "that are complete there are not run again."
        ) from error


def _end_of_whole_lines(size: int, descriptor: int, block: int = 1 << 16) -> int:
    """Position after the last line break of a file."""
    end = size
    while end > 0:
        start = max(0, end - block)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


@contextmanager
def _undone_on_failure(descriptor: int, end: int) -> Iterator[None]:
    try:
        yield
    except OSError:
        os.ftruncate(descriptor, end)
        raise
