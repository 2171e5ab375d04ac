from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError
from wsol_bench.judge.fixed_boxes import CENTRE_SIDE, centre_box, fixed_box_scores, frame_box
from wsol_bench.testing.miniatures import MINIATURES, picture
from wsol_bench.workflow.dataset_stats import SIDES, box_stats, centred_box, dataset_stats


def _truth(boxes: dict[str, list[tuple[int, int, int, int]]]) -> BoxSet:
    return BoxSet.from_mapping(boxes, dict.fromkeys(boxes, (100, 50)))


def test_areas_and_centres_in_shares_of_the_image() -> None:
    stats = box_stats(_truth({"a": [(0, 0, 99, 49)], "b": [(0, 0, 49, 24), (90, 40, 99, 49)]}), 100)
    assert stats.areas == pytest.approx([1.0, 0.25, 0.02])
    assert stats.centres == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.25], [0.95, 0.9]]))


def test_centre_boxes_agree_with_the_judges_baselines() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 50, (40, 2, 2)), axis=1).reshape(40, 4)
    truth = _truth({str(i): [tuple(box)] for i, box in enumerate(corners.tolist())})  # type: ignore[misc]
    stats = box_stats(truth, 224)
    column = int(np.abs(SIDES - CENTRE_SIDE).argmin())
    assert np.array_equal(centred_box(224, float(SIDES[column])), centre_box(224))
    assert np.array_equal(centred_box(224, 1.0), frame_box(224))
    with firewall.judging("a test"):
        for level, threshold in enumerate((0.3, 0.5, 0.7)):
            for box, at in ((centre_box(224), column), (frame_box(224), -1)):
                assert stats.centre_acc[level, at] == pytest.approx(fixed_box_scores(box, truth, 224, threshold)[0])


@pytest.mark.parametrize("frame", [1, 2, 7, 224])
@pytest.mark.parametrize("side", [0.001, 0.5, 1.0])
def test_a_centred_box_is_never_empty(frame: int, side: float) -> None:
    x0, y0, x1, y1 = centred_box(frame, side)
    assert 0 <= x0 <= x1 < frame and (x0, x1) == (y0, y1)


def test_rows_and_figure(tmp_path: Path) -> None:
    critters = open_dataset("critters:train=20,val=10,test=10")
    with firewall.ledger() as book:
        rows = dataset_stats(critters, tmp_path / "boxes.png")
    assert book.supervision() == "gt:test+gt:train+gt:val"
    assert [row["split"] for row in rows] == ["train", "val", "test"] and (tmp_path / "boxes.png").stat().st_size > 1000
    for row in rows:
        assert row["area_p10"] < row["area_p50"] < row["area_p90"] and row["centre_box"] >= row["whole_frame"]


def test_masks(tmp_path: Path) -> None:
    MINIATURES["openimages"](tmp_path / "o")
    with firewall.ledger() as book:
        rows = dataset_stats(open_dataset("openimages:frame=40", root=tmp_path / "o"), tmp_path / "masks.png")
    assert book.supervision() == "gt:test+gt:val" and (tmp_path / "masks.png").stat().st_size > 1000
    assert [(row["split"], row["images"], row["masks"]) for row in rows] == [("val", 4, 6), ("test", 4, 6)]
    for row in rows:
        assert row["mean_area"] == row["area_p50"] == pytest.approx(25.0) and row["centre_map"] > row["one_value"] > 25


def test_datasets_without_any(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(4):
            picture(ord(name) + 10 * i).save(tmp_path / name / f"{i}.png")
    with pytest.raises(DataError, match="manual boxes or masks but there is none"):
        dataset_stats(open_dataset("folder-of-classes", root=tmp_path), None)
