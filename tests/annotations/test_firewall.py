from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.errors import FirewallError


def test_ground_truth_is_shut_outside_judging() -> None:
    with firewall.ledger() as book, pytest.raises(FirewallError, match="images and class labels only"):
        firewall.read("gt", "val")
    assert book.accesses == [] and book.supervision() == "none"


def test_judging_opens_ground_truth_and_the_ledger_notes_it() -> None:
    with firewall.ledger() as book, firewall.judging("select"):
        firewall.read("gt", "test")
        firewall.read("pseudo:ss", "val")
        firewall.read("gt", "test")
    assert book.supervision() == "gt:test+pseudo:ss"
    assert [(access.source, access.split, access.reader) for access in book.accesses] == [
        ("gt", "test", "select"),
        ("pseudo:ss", "val", "select"),
        ("gt", "test", "select"),
    ]
    first = book.as_dicts()[0]
    assert first["supervision"] == "gt:test" and first["at"].endswith("+00:00")
    with pytest.raises(FirewallError):
        firewall.read("gt", "test")


def test_pseudo_boxes_need_no_judge() -> None:
    with firewall.ledger() as book, firewall.training("CAM"):
        firewall.read("pseudo:clip", "train")
    assert book.supervision() == "pseudo:clip" and book.accesses[0].reader == "CAM"


def test_nested_ledgers_both_note() -> None:
    with firewall.ledger() as outer:
        firewall.read("pseudo:a", "val")
        with firewall.ledger() as inner:
            firewall.read("pseudo:b", "val")
        firewall.read("pseudo:c", "val")
    assert inner.supervision() == "pseudo:b" and outer.supervision() == "pseudo:a+pseudo:b+pseudo:c"


def test_training_shuts_the_door_for_judges_too() -> None:
    with firewall.training("the method 'cheat'"):
        with pytest.raises(FirewallError, match=r"the method 'cheat' tried to read .* 'val'"):
            firewall.read("gt", "val")
        with pytest.raises(FirewallError, match="cheat"), firewall.judging("a clever method"):
            pass
    with firewall.judging("outer"), firewall.training("inner"), pytest.raises(FirewallError):
        firewall.read("gt", "val")
    with firewall.judging("afterwards"):
        firewall.read("gt", "val")


def test_training_shuts_the_door_in_other_threads() -> None:
    def judge() -> None:
        with firewall.judging("another thread"):
            firewall.read("gt", "val")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(judge).result()
        with firewall.training("CAM"), pytest.raises(FirewallError):
            pool.submit(judge).result()
        pool.submit(judge).result()


def test_a_judge_that_began_before_the_training_is_stopped() -> None:
    began, go = threading.Event(), threading.Event()

    def judge() -> None:
        with firewall.judging("early"):
            began.set()
            go.wait(10)
            firewall.read("gt", "val")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(judge)
        began.wait(10)
        with firewall.training("CAM"), pytest.raises(FirewallError):
            go.set()
            future.result()


def test_training_ends_with_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), firewall.training("CAM"):
        raise ZeroDivisionError
    with firewall.judging("after"):
        firewall.read("gt", "val")


def test_protected_files_cannot_be_opened_while_training(tmp_path: Path) -> None:
    boxes, other, link = tmp_path / "boxes.txt", tmp_path / "labels.txt", tmp_path / "link.txt"
    boxes.write_text("secret")
    other.write_text("open")
    link.symlink_to(boxes)
    assert not firewall.is_protected(boxes)
    firewall.protect(boxes)
    assert firewall.is_protected(boxes) and firewall.is_protected(link) and not firewall.is_protected(other)
    assert boxes.read_text() == "secret"
    with firewall.training("CAM"):
        assert other.read_text() == "open"
        for path in (boxes, link, tmp_path / "." / "boxes.txt"):
            with pytest.raises(FirewallError, match=r"open the ground-truth file .*\.txt"):
                path.read_text()
        with pytest.raises(FirewallError):
            open(str(boxes).encode())  # noqa: PTH123, SIM115 - the very call that must fail
        with ThreadPoolExecutor(1) as pool, pytest.raises(FirewallError):
            pool.submit(boxes.read_text).result()
    assert link.read_text() == "secret"


def test_relative_paths_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "relative.txt").write_text("secret")
    monkeypatch.chdir(tmp_path)
    firewall.protect(Path("relative.txt"))
    with firewall.training("CAM"), pytest.raises(FirewallError):
        Path("relative.txt").read_text()


def test_what_is_made_from_ground_truth_is_guarded_like_it() -> None:
    with pytest.raises(FirewallError):
        firewall.read("gt:noise:25", "val")
    with firewall.training("test"), pytest.raises(FirewallError):
        firewall.read("gt:noise:25", "val")
    with firewall.ledger() as book, firewall.judging("test"):
        firewall.read("gt:noise:25", "val")
    assert book.supervision() == "gt:noise:25"


def test_everything_below_a_protected_folder_is_shut(tmp_path: Path) -> None:
    (tmp_path / "boxes" / "deep").mkdir(parents=True)
    (tmp_path / "boxes" / "deep" / "1.xml").write_text("x")
    (tmp_path / "boxes2.txt").write_text("x")
    firewall.protect_folder(tmp_path / "boxes")
    assert firewall.is_protected(tmp_path / "boxes" / "deep" / "1.xml")
    assert not firewall.is_protected(tmp_path / "boxes2.txt")
    with firewall.training("t"):
        assert (tmp_path / "boxes2.txt").read_text() == "x"
        with pytest.raises(FirewallError):
            (tmp_path / "boxes" / "deep" / "1.xml").read_text()
