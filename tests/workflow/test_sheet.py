from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.datasets.contact_sheet import COLOURS
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import UsageError, WsolBenchError
from wsol_bench.workflow.sheet import write_sheet

DATASET = open_dataset("critters:train=1,val=12,test=1")


@pytest.fixture
def pseudo_root(tmp_path: Path) -> Path:
    """Holds boxes called 'mine': a 10 x 10 box in the first image, nothing found in the others."""
    split = DATASET.split("val")
    boxes = {image_id: [(0, 0, 0, 0)] for image_id in split.ids} | {split.ids[0]: [(0, 0, 9, 9)]}
    sizes = dict.fromkeys(split.ids, (64, 64))
    found = BoxSet.from_mapping(boxes, sizes)
    folder = tmp_path / "boxes" / "critters" / "mine" / "val"
    write_four_file(folder, ids=split.ids, labels=split.labels, sizes=found.sizes, boxes=found)
    return tmp_path / "boxes"


def _coloured(path: Path, colour: str) -> int:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((pixels == wanted).all(axis=2).sum())


def test_images_are_spread_over_the_split(tmp_path: Path) -> None:
    out = tmp_path / "a" / "sheet.png"
    assert write_sheet(DATASET, "val", 4, [], tmp_path, out) == 4
    assert Image.open(out).format == "PNG"
    assert write_sheet(DATASET, "val", 1000, [], tmp_path, tmp_path / "all.JPG") == 12
    assert Image.open(tmp_path / "all.JPG").format == "JPEG"


def test_every_source_has_its_colour_and_nothing_found_is_not_drawn(tmp_path: Path, pseudo_root: Path) -> None:
    one, both = tmp_path / "one.png", tmp_path / "both.png"
    with firewall.ledger() as book:
        write_sheet(DATASET, "val", 12, ["pseudo=mine"], pseudo_root, one)
        assert book.supervision() == "pseudo:mine"
        write_sheet(DATASET, "val", 12, ["pseudo=mine", "gt"], pseudo_root, both)
        assert book.supervision() == "gt:val+pseudo:mine"
    # One box of 25 x 25 sheet pixels, two pixels thick, and the legend's square of 11 x 11.
    assert _coloured(one, COLOURS[0]) == 25**2 - 21**2 + 11**2
    assert _coloured(one, COLOURS[1]) == 0 and _coloured(both, COLOURS[1]) > 1000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"out": "sheet.gif"}, r"suffix of --out .*\.png.* but got '\.gif'"),
        ({"out": "sheet"}, "but got 'sheet'"),
        ({"count": 0}, "--count of at least 1 but got 0"),
        ({"boxes": ["gt", "gt"]}, "two of them are called 'gt'"),
        ({"boxes": ["pseudo=mien"]}, r"Did you mean 'mine'\?"),
        ({"split": "valid"}, r"Did you mean 'val'\?"),
    ],
)
def test_what_cannot_be_drawn(tmp_path: Path, pseudo_root: Path, given: dict[str, object], says: str) -> None:
    arguments: dict[str, object] = {"split": "val", "count": 2, "boxes": [], "out": "sheet.png"} | given
    out = tmp_path / str(arguments.pop("out"))
    with pytest.raises(UsageError, match=says):
        write_sheet(DATASET, pseudo_root=pseudo_root, out=out, **arguments)  # type: ignore[arg-type]
    assert not out.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WsolBenchError, match="the system refused"):
        write_sheet(DATASET, "val", 2, [], tmp_path, tmp_path / "file" / "sheet.png")
