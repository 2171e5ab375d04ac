from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import read_four_file, write_four_file
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.annotations.noise import noisy_boxes
from wsol_bench.annotations.noisy_masks import erode_mask
from wsol_bench.errors import DataError, FirewallError, UsageError
from wsol_bench.workflow.annotate_noise import write_eroded_masks, write_noisy_boxes
from wsol_bench.workflow.evaluate import evaluate

CUB_VAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "wsol-metadata" / "CUB" / "val"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    found = BoxSet.from_mapping(
        {"a": [(10, 20, 59, 79), (0, 0, 9, 9)], "b": [(5, 5, 94, 94)]}, {"a": (120, 100), "b": (100, 100)}
    )
    write_four_file(tmp_path / "metadata" / "val", ids=found.ids, labels=[0, 1], boxes=found)
    return tmp_path / "metadata" / "val"


def test_noisy_boxes_are_folders_that_any_evaluator_reads(tmp_path: Path, boxes: Path) -> None:
    with firewall.ledger() as book:
        rows = write_noisy_boxes(boxes, tmp_path / "noisy", levels=(0.05, 0.5))
    assert book.supervision() == "gt:val"
    assert [row["level"] for row in rows] == [5.0, 50.0] and rows[0]["mean_iou"] > rows[1]["mean_iou"]
    clean = read_four_file(boxes)
    for level, name in ((0.05, "metadata_noise_05"), (0.5, "metadata_noise_50")):
        read = read_four_file(tmp_path / "noisy" / name / "val")
        assert read.boxes is not None and clean.boxes is not None and read.labels.tolist() == [0, 1]
        assert (read.boxes.boxes == noisy_boxes(clean.boxes, level).boxes).all()


@pytest.mark.skipif(not CUB_VAL.is_dir(), reason="the metadata of CUB are not here")
def test_the_quality_of_every_published_level(tmp_path: Path) -> None:
    rows = write_noisy_boxes(CUB_VAL, tmp_path)
    expected = [89.9, 81.1, 73.4, 66.7, 60.7, 55.5, 50.7, 46.4, 42.5, 38.9]
    assert [row["mean_iou"] for row in rows] == pytest.approx(expected, abs=0.05)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Image 'a' with two instances and a region to ignore, image 'b' with a mask that is empty."""
    root = tmp_path / "masks"
    rng = np.random.default_rng(0)
    names = ("val/a_1.png", "val/a_2.png", "val/b.png", "val/a_ignore.png")
    for name in names:
        mask = np.zeros((40, 50), np.uint8)
        if name != "val/b.png":
            x, y = rng.integers(0, 20, 2)
            mask[y : y + 15, x : x + 20] = 255
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / name)
    table = MaskTable(("a", "b"), names[:3], np.array([0, 2, 3]), ("val/a_ignore.png", ""))
    write_four_file(
        tmp_path / "metadata" / "val", ids=table.ids, labels=[0, 1], sizes=[(50, 40)] * 2, masks=table, overwrite=True
    )
    return root


@pytest.mark.parametrize("by_kernel", [False, True])
def test_eroded_masks_stand_in_for_the_exact_ones(tmp_path: Path, masks: Path, by_kernel: bool) -> None:
    metadata = tmp_path / "metadata" / "val"
    rows = write_eroded_masks(metadata, masks, tmp_path / "out", levels=(0.25, 0.9), by_kernel=by_kernel)
    assert [(row["level"], row["masks"], row["empty"]) for row in rows] == [(25.0, 3, 1), (90.0, 3, 1)]
    assert 0 < rows[0]["mask_error"] <= 12.5 and rows[0]["mask_error"] < rows[1]["mask_error"] <= 45
    root = tmp_path / "out" / "masks_erode_25"
    exact, eroded = (np.asarray(Image.open(where / "val" / "a_1.png")) > 0 for where in (masks, root))
    if not by_kernel:
        assert (eroded == erode_mask(exact, 0.25)).all()
    assert eroded.sum() < exact.sum() and not (eroded & ~exact).any()
    assert (root / "val" / "a_ignore.png").read_bytes() == (masks / "val" / "a_ignore.png").read_bytes()
    assert not np.asarray(Image.open(root / "val" / "b.png")).any()


def test_eroded_masks_lower_px_ap(tmp_path: Path, masks: Path) -> None:
    """The evaluator takes them as they are: a perfect map scores less against what is left of the mask."""
    metadata = tmp_path / "metadata" / "val"
    write_eroded_masks(metadata, masks, tmp_path / "out", levels=(0.5,))
    maps = tmp_path / "maps"
    maps.mkdir()
    union = np.maximum(*(np.asarray(Image.open(masks / "val" / f"a_{i}.png")) for i in (1, 2))) / 255
    for name, values in (("a", union), ("b", np.zeros((40, 50)))):
        np.save(maps / f"{name}.npy", values.astype(np.float32))
    scores = []
    for root in (masks, tmp_path / "out" / "masks_erode_50"):
        result = evaluate(maps, metadata, masks=root, frame=40, bootstrap=0)
        scores.append(next(row["value"] for row in result.rows if row["metric"] == "px_ap"))
    assert scores[0] > scores[1]


def test_what_cannot_be_made(tmp_path: Path, boxes: Path) -> None:
    with pytest.raises(UsageError, match="noise level above 0"):
        write_noisy_boxes(boxes, tmp_path / "x", levels=(0.6,))
    with pytest.raises(DataError, match="fix: if this dataset is annotated with boxes"):
        write_eroded_masks(boxes, tmp_path, tmp_path / "x")
    with firewall.training("a method"), pytest.raises(FirewallError):
        write_noisy_boxes(boxes, tmp_path / "x")


def test_a_missing_mask_is_named_and_nothing_is_half_written(tmp_path: Path, masks: Path) -> None:
    (masks / "val" / "a_2.png").unlink()
    with pytest.raises(DataError, match=r"a_2\.png.*check --masks"):
        write_eroded_masks(tmp_path / "metadata" / "val", masks, tmp_path / "out", levels=(0.2,))
    assert not (tmp_path / "out" / "masks_erode_20").exists()
    with pytest.raises(UsageError, match="erosion level"):
        write_eroded_masks(tmp_path / "metadata" / "val", masks, tmp_path / "out", levels=(1.5,))
