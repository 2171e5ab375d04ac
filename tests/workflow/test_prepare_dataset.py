from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsol_bench.datasets.card import Archive, Card
from wsol_bench.errors import DataError, UsageError, WsolBenchError
from wsol_bench.workflow.prepare_dataset import find_card, prepare
from wsol_bench.workflow.progress import Screen

QUIET = Screen(quiet=True)


def _tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _card(*archives: Archive) -> Card:
    return Card(
        name="mini", title="Mini", classes=1, annotation="boxes", cite="x", licence="x", splits={}, archives=archives
    )


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_every_dataset_of_the_field_has_a_card() -> None:
    assert find_card("cub").archives[0].file == "CUB_200_2011.tgz"
    with pytest.raises(UsageError, match="Did you mean 'cub'"):
        find_card("cubb")


def test_archives_that_lie_there_are_checked_and_unpacked(tmp_path: Path) -> None:
    first = _tar(tmp_path / "a.tgz", {"Mini/images/1.jpg": b"1", "Mini/list.txt": b"x"})
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as second:
        second.writestr("Mini/images/2.jpg", "2")
    card = _card(
        Archive(file="a.tgz", page="somewhere", md5=_md5(first), marker="Mini/list.txt"),
        Archive(file="b.zip", page="somewhere", marker="Mini/images/2.jpg"),
        Archive(file="c.zip", page="somewhere", marker="Mini/c"),
        Archive(file="d.zip", page="somewhere", marker="Mini/d", optional=True),
    )
    rows = prepare(card, tmp_path, download=False, screen=QUIET)
    assert [row["state"] for row in rows] == ["unpacked", "unpacked", "missing", "not needed"]
    assert sorted(path.name for path in (tmp_path / "Mini" / "images").iterdir()) == ["1.jpg", "2.jpg"]
    assert rows[0]["md5"] == _md5(first) and rows[2]["from"] == "somewhere (by hand)"
    first.write_bytes(b"")  # What is unpacked is left alone.
    assert prepare(card, tmp_path, download=True, screen=QUIET)[0]["state"] == "unpacked"
    assert not list(tmp_path.glob(".*"))


def test_archives_of_archives(tmp_path: Path) -> None:
    inner = _tar(tmp_path / "n01.tar", {"n01_1.JPEG": b"1"}, "w")
    _tar(tmp_path / "train.tar", {"n01.tar": inner.read_bytes(), "n02.tar": inner.read_bytes()}, "w")
    inner.unlink()
    archive = Archive(file="train.tar", page="x", into="train", marker="train/n01", nested=True)
    prepare(_card(archive), tmp_path, download=False, screen=QUIET)
    assert (tmp_path / "train" / "n02" / "n01_1.JPEG").read_bytes() == b"1"
    assert not list((tmp_path / "train").glob("*.tar"))


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    archive = Archive(file="labels.mat", page="x", marker="labels.mat")
    assert prepare(_card(archive), tmp_path, download=False, screen=QUIET)[0]["state"] == "missing"
    (tmp_path / "labels.mat").write_bytes(b"x")
    assert prepare(_card(archive), tmp_path, download=False, screen=QUIET)[0]["state"] == "unpacked"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (
            b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning",
            "got a web page: .*browser from a page",
        ),
        (b"PK something else", r"MD5 checksum 0{32} but got [0-9a-f]{32} \(17 bytes\)"),
    ],
)
def test_files_that_are_not_the_archive(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    card = _card(Archive(file="a.tgz", page="a page", md5="0" * 32, marker="Mini"))
    with pytest.raises(DataError, match=says):
        prepare(card, tmp_path, download=False, screen=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_damaged_and_foreign_archives(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "a.tgz", {"Mini/list.txt": bytes(range(256)) * 400})
    card = _card(Archive(file="a.tgz", page="x", marker="Mini/list.txt"))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="whole tar or zip archive"):
        prepare(card, tmp_path, download=False, screen=QUIET)
    assert not (tmp_path / "Mini").exists() and not list(tmp_path.glob(".*"))
    _tar(whole, {"Other/list.txt": b"x"})
    with pytest.raises(DataError, match=r"Mini/list.txt after unpacking"):
        prepare(card, tmp_path, download=False, screen=QUIET)
    _tar(whole, {"../outside.txt": b"x"})
    with pytest.raises(DataError, match=r"whole tar or zip archive but: .*outside"):
        prepare(card, tmp_path, download=False, screen=QUIET)
    assert not (tmp_path.parent / "outside.txt").exists()


def test_downloads_only_when_asked(tmp_path: Path) -> None:
    offered = _tar(tmp_path / "offered.tgz", {"Mini/list.txt": b"x"})
    card = _card(Archive(file="a.tgz", url=offered.as_uri(), md5=_md5(offered), marker="Mini/list.txt"))
    root = tmp_path / "new" / "root"
    assert prepare(card, root, download=False, screen=QUIET)[0]["state"] == "missing" and not root.exists()
    assert prepare(card, root, download=True, screen=QUIET)[0]["state"] == "unpacked"
    assert (root / "Mini" / "list.txt").is_file() and (root / "a.tgz").is_file()


def test_failed_downloads(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html>Sign in</html>")
    card = _card(Archive(file="a.tgz", url=page.as_uri(), md5="0" * 32, marker="Mini"))
    with pytest.raises(DataError, match="got a web page"):
        prepare(card, tmp_path / "root", download=True, screen=QUIET)
    gone = _card(Archive(file="b.tgz", url=(tmp_path / "none.tgz").as_uri(), marker="Mini"))
    with pytest.raises(DataError, match=r"Expected to download file:.* but: .*download the file by hand"):
        prepare(gone, tmp_path / "root", download=True, screen=QUIET)
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["a.tgz"]


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers on the loopback: a page, a file that breaks off, or an error."""

    def do_GET(self) -> None:
        status, length, body = {
            "/page.tgz": (200, 20, b"<html>Sign in</html>"),
            "/short.tgz": (200, 1000, b"PK" * 10),
            "/gone.tgz": (404, 4, b"gone"),
        }[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "says", "left"),
    [
        ("page.tgz", "got a web page", ["page.tgz"]),
        ("short.tgz", r"to download http.* but: .*(20 of 1000|20 bytes read, 980 more)", []),
        ("gone.tgz", r"to download http.* but: Not Found", []),
    ],
)
def test_answers_of_a_server(tmp_path: Path, server: str, name: str, says: str, left: list[str]) -> None:
    card = _card(Archive(file=name, url=f"{server}/{name}", marker="Mini"))
    with pytest.raises(DataError, match=says):
        prepare(card, tmp_path, download=True, screen=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == left


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    offered = _tar(tmp_path / "offered.tgz", {"Mini/list.txt": b"x"})
    card = _card(Archive(file="a.tgz", url=offered.as_uri(), marker="Mini/list.txt"))
    (tmp_path / "root").write_text("a file")
    with pytest.raises(WsolBenchError, match="Expected to write"):
        prepare(card, tmp_path / "root", download=True, screen=QUIET)
