from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.datasets.aircraft import Aircraft
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import aircraft

TOP = "fgvc-aircraft-2013b/data"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    aircraft(tmp_path)
    return tmp_path


@pytest.mark.parametrize("inside", [".", "fgvc-aircraft-2013b", TOP])
def test_opened_at_any_depth(root: Path, inside: str) -> None:
    planes = Aircraft(root / inside)
    assert planes.class_names == ("707-320", "F/A-18") and planes.load_image("val", 3).size
    assert planes.split("train").ids[0] == "0034310.jpg"  # Leading zeros stay.


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("images_variant_test.txt", "F/A-18", "F/A-19", r"test.txt:3: .*variants.txt but got 'F/A-19'"),
        ("images_variant_test.txt", "0034318 707-320\n", "0034318\n", "1 of 2 fields"),
        ("images_variant_val.txt", "0034314 ", "0034310 ", "'0034310.jpg' is in 'train' and 'val'"),
    ],
)
def test_malformed_lists(root: Path, file: str, old: str, new: str, says: str) -> None:
    path = root / TOP / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=says):
        Aircraft(root)


def test_a_list_is_missing(root: Path) -> None:
    (root / TOP / "images_variant_val.txt").unlink()
    with pytest.raises(DataError, match=r"images_variant_val.txt: .*does not exist"):
        Aircraft(root)


def test_an_image_without_a_box(root: Path) -> None:
    path = root / TOP / "images_box.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with firewall.judging("a test"), pytest.raises(DataError, match=r"1 have none, first '0034321.jpg'"):
        Aircraft(root).ground_truth("test")
