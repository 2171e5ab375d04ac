"""From the official archives of a dataset to its unpacked files: ``wsol-bench datasets prepare``."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsol_bench.atomic import refused, whole_file
from wsol_bench.datasets.card import Archive, Card, card_names, read_card
from wsol_bench.datasets.images import is_web_page
from wsol_bench.errors import DataError, unknown_choice
from wsol_bench.workflow.progress import Screen

Row = dict[str, Any]

_BLOCK = 1 << 20
_TIMEOUT = 60
_AGENT = "wsol-bench"


def find_card(name: str) -> Card:
    """Returns the card of a dataset.

    Raises:
        UsageError: there is none of that name.
    """
    card = read_card(name)
    if card is None:
        raise unknown_choice("a dataset with official archives", name, card_names())
    return card


def prepare(card: Card, root: Path, *, download: bool, screen: Screen) -> list[Row]:
    """Brings the archives of a dataset into their official layout.

    What is unpacked already is left alone. An archive that lies in ``root`` is checked and unpacked; one that does not
    is downloaded if that was asked for and its authors offer a direct address. An archive is unpacked aside and moved
    into place, so an interrupted run is simply run again.

    Args:
        card: which dataset.
        root: folder for archives and files; made when missing.
        download: whether anything may be fetched.
        screen: progress.

    Returns:
        One row per archive: ``file``; ``state``: ``unpacked`` (it is in place) or ``missing``; ``md5``; ``from``, its
        address; ``into``, the folder; ``note``.

    Raises:
        DataError: an archive is not what its authors published: a web page, another checksum, damaged.
        WsolBenchError: the folder cannot be written, or the download fails.
    """
    rows = []
    for archive in card.archives:
        if not (root / archive.marker).exists():
            _bring(archive, root, download, screen)
        unpacked = (root / archive.marker).exists()
        rows.append(
            {
                "file": archive.file,
                "state": "unpacked" if unpacked else "not needed" if archive.optional else "missing",
                "md5": archive.md5 or "-",
                "from": archive.url or f"{archive.page} (by hand)",
                "into": str(root / archive.into),
                "note": archive.note,
            }
        )
    return rows


def check_archive(path: Path, archive: Archive, progress: Callable[[int, int], None] | None = None) -> None:
    """Checks that a file is the archive its authors published.

    Raises:
        DataError: it is empty, a web page saved under the archive's name, or has another checksum.
    """
    digest, size, done = hashlib.md5(usedforsecurity=False), path.stat().st_size, 0
    with path.open("rb") as stream:
        head = stream.read(_BLOCK)
        if not head:
            raise DataError("Expected an archive but the file is empty; fix: delete it and download it again.", path)
        if is_web_page(head[:512]):
            where = archive.page or archive.url
            raise DataError(
                "Expected an archive but got a web page: the server answered with a sign-in, a warning or an error. "
                f"Fix: delete the file and download it with a browser from {where}.",
                path,
            )
        if archive.md5 is None:
            return
        block = head
        while block:
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, size)
            block = stream.read(_BLOCK)
    if digest.hexdigest() != archive.md5:
        raise DataError(
            f"Expected the MD5 checksum {archive.md5} but got {digest.hexdigest()} ({size} bytes): the download "
            "stopped early or is another file. Fix: delete it and download it again.",
            path,
        )


def _bring(archive: Archive, root: Path, download: bool, screen: Screen) -> None:
    path = root / archive.file
    if not path.is_file() and download and archive.url is not None:
        with screen.bar(f"downloading {archive.file}") as progress:
            _download(archive.url, path, progress)
    if path.is_file():
        with screen.bar(f"checking {archive.file}") as progress:
            check_archive(path, archive, progress)
    if path.is_file() and archive.marker != archive.file:
        screen.say(f"unpacking {archive.file}")
        _unpack(path, root / archive.into, nested=archive.nested)
        if not (root / archive.marker).exists():
            raise DataError(
                f"Expected {archive.marker} after unpacking but it is not there; fix: look into {root / archive.into}, "
                "and check that this is the official archive.",
                path,
            )


def _download(url: str, path: Path, progress: Callable[[int, int], None]) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT})
    with whole_file(path) as unfinished:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, unfinished.open("wb") as out:
                total, done = int(answer.headers.get("Content-Length") or 0), 0
                while block := answer.read(_BLOCK):
                    out.write(block)
                    done += len(block)
                    progress(done, max(total, done))
            problem = f"only {done} of {total} bytes came" if done < total else None
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        if problem is not None:
            raise DataError(
                f"Expected to download {url} but: {problem}. Fix: run the command again, or download the file by hand "
                f"into {path.parent}.",
                path,
            )


def _unpack(path: Path, into: Path, *, nested: bool) -> None:
    """Unpacks beside ``into`` and moves the result into place."""
    into.mkdir(parents=True, exist_ok=True)
    aside = into / f".{path.name}.unpacking"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _extract(path, aside)
        for inner in sorted(aside.rglob("*.tar")) if nested else ():
            _extract(inner, inner.with_suffix(""))
            inner.unlink()
        _move_into(aside, into)
    except OSError as error:
        raise refused(into, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _extract(path: Path, into: Path) -> None:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(into)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(into, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"Expected a whole tar or zip archive but: {error}; fix: download it again.", path) from error


def _move_into(source: Path, target: Path) -> None:
    """Moves what is in one folder into another; folders of the same name are merged, files replaced."""
    for child in source.iterdir():
        place = target / child.name
        if child.is_dir() and place.is_dir():
            _move_into(child, place)
        else:
            child.replace(place)
