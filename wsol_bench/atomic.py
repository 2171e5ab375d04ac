"""Files and folders that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wsol_bench.errors import WorkspaceError

_UNFINISHED = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of ``path``; when the block succeeds it becomes ``path``.

    The data reach the disk before the rename, so a power cut leaves the old file or the new one. When the block
    fails the temporary file is removed and ``path`` keeps its old content. A process killed inside the block leaves a
    hidden ``.<name>.*.part`` file beside it (see :func:`remove_unfinished`).

    Raises:
        WorkspaceError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # Opened for writing, because some systems refuse to flush what was opened for reading.
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty folder beside ``folder`` that takes its name when the block succeeds.

    A process killed inside the block leaves ``folder`` as it was and a hidden ``.<name>.*.part`` folder beside it.
    When several processes make the same folder, the first one wins and the others raise :class:`FileExistsError`.

    Args:
        folder: the final name; its parents are made.
        overwrite: replace a folder that is already there (it is moved aside for the moment of the exchange).

    Raises:
        FileExistsError: ``folder`` is there already and ``overwrite`` is off.
        WorkspaceError: the folder cannot be written, or the disk is full.
    """
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    aside = unfinished.with_suffix(".old")
    try:
        _refuse_existing(folder, overwrite)
        unfinished.mkdir(parents=True)
        yield unfinished
        _refuse_existing(folder, overwrite)
        if folder.exists():
            folder.rename(aside)
        unfinished.rename(folder)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(f"{folder} was made by another process meanwhile") from error
        raise refused(folder, error) from error
    finally:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole, as UTF-8."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole, indented and with a final newline."""
    write_text(path, json.dumps(content, indent=2, sort_keys=False) + "\n")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left half written in ``folder`` and below; nobody may be writing there."""
    for leftover in folder.rglob(f".*{_UNFINISHED}"):
        with suppress(OSError):
            leftover.unlink()


def refused(path: Path, error: OSError) -> WorkspaceError:
    """Returns the error for a place where the system would not write."""
    return WorkspaceError(
        f"Expected to write {path} but the system refused: {error.strerror or error}. Nothing already written was "
        "changed. Fix: free disk space or choose a writable --workspace, then run the same command again."
    )


def _refuse_existing(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists already")
