from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations.masks import FOREGROUND, IGNORE, MaskFiles, MaskTable, read_mask
from wsol_bench.errors import DataError

TABLE = MaskTable.from_lists(("a", "b", "c"), [["a0.png"], [], ["c0.png", "c1.png"]], ("", "", "ci.png"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shapes = {"a0": np.s_[1:3, 1:4], "c0": np.s_[0:1, 0:2], "c1": np.s_[5:6, 7:8], "ci": np.s_[0:6, 0:1]}
    for name, where in shapes.items():
        mask = np.zeros((6, 8), np.uint8)
        mask[where] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    return tmp_path


def test_table() -> None:
    assert [TABLE.of(i) for i in range(3)] == [("a0.png",), (), ("c0.png", "c1.png")]
    some = TABLE.select(("c", "a"))
    assert some.of(0) == ("c0.png", "c1.png") and some.ignore == ("ci.png", "") and len(some) == 2
    assert TABLE.select(("a", "b", "c")) is TABLE
    with pytest.raises(DataError, match="1 are not listed: 'x'"):
        TABLE.select(("a", "x"))


def test_union_of_instances_and_object_over_ignore(root: Path) -> None:
    masks = MaskFiles(TABLE, lambda path: root / path)
    assert masks.counts.tolist() == [1, 0, 2] and masks.has_ignore.tolist() == [False, False, True] and len(masks) == 3
    drawn = masks.draw(2, 8, 6)
    expected = np.zeros((6, 8), np.uint8)
    expected[0:6, 0:1] = IGNORE
    expected[0:1, 0:2] = expected[5:6, 7:8] = FOREGROUND
    assert np.array_equal(drawn, expected) and not masks.draw(1, 8, 6).any()
    assert masks.draw(0, 16, 12).sum() == 4 * masks.draw(0, 8, 6).sum()


def test_files_that_are_no_masks(root: Path) -> None:
    (root / "a0.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a0.png: .*cannot be read as an image"):
        read_mask(root / "a0.png", 8, 6)
    with pytest.raises(DataError, match=r"none.png: .*no such file"):
        read_mask(root / "none.png", 8, 6)
