from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.bootstrap import poisson_weights
from wsol_bench.metrics.px_ap import PixelAveragePrecision, px_ap_from_histograms

TAUS = tau_grid(0.001)


def scored(maps: np.ndarray, masks: np.ndarray, **options: object) -> PixelAveragePrecision:
    metric = PixelAveragePrecision(TAUS, **options)
    metric.update(maps, masks, ids=[f"id{i}" for i in range(len(maps))])
    return metric


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """The definition: one threshold per bin, from the top down."""
    area, recall_before = 0.0, 0.0
    for tau in [1.0, *TAUS[::-1]]:
        chosen = scores >= tau
        if chosen.any():
            recall = positive[chosen].sum() / positive.sum()
            area += positive[chosen].mean() * (recall - recall_before)
            recall_before = recall
    return 100 * area


def test_tiny_case():
    maps = np.array([[[0.9, 0.4, 0.5, 0.1]]])
    masks = np.array([[[1, 1, 0, 0]]], np.uint8)
    assert round(scored(maps, masks).compute().px_ap, 2) == 83.33


def test_perfect_map_whatever_the_ignored_pixels():
    masks = np.array([[[1, 1, 0, 255]]], np.uint8)
    for ignored in (0.0, 0.5, 1.0):
        assert scored(np.array([[[1.0, 1.0, 0.0, ignored]]]), masks).compute().px_ap == 100


def test_constant_map_gives_the_prevalence():
    masks = np.zeros((1, 224, 224), np.uint8)
    masks.reshape(-1)[:43031] = 1
    assert round(scored(np.full((1, 224, 224), 0.3), masks).compute().px_ap, 2) == 85.76


def test_image_without_object_only_adds_negatives():
    maps = np.array([[[0.9, 0.1]], [[0.95, 0.2]]])
    masks = np.array([[[1, 0]], [[0, 0]]], np.uint8)
    assert scored(maps, masks).compute().px_ap == pytest.approx(50)


def test_no_object_at_all_is_an_error():
    with pytest.raises(DataError, match="check the folder of masks"):
        scored(np.zeros((1, 2, 2)), np.zeros((1, 2, 2), np.uint8)).compute()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float16, np.float32, np.float64]))
def test_equals_the_definition(seed: int, dtype: type):
    rng = np.random.default_rng(seed)
    maps = rng.random((2, 5, 7))
    # Edges themselves are where binning by division goes wrong.
    on_edge = rng.random(maps.shape) < 0.5
    maps[on_edge] = rng.integers(0, 1001, on_edge.sum()) * 0.001
    maps = np.minimum(maps, 1).astype(dtype)
    masks = rng.choice([0, 1, 255], maps.shape).astype(np.uint8)
    masks[0, 0, 0] = 1
    counted = masks != 255
    expected = average_precision(maps[counted].astype(np.float64), masks[counted] == 1)
    assert scored(maps, masks).compute().px_ap == pytest.approx(expected, abs=1e-9)


def test_merge_of_shards_equals_the_whole():
    rng = np.random.default_rng(0)
    maps, masks = rng.random((9, 6, 6)), rng.choice([0, 1, 255], (9, 6, 6)).astype(np.uint8)
    ids = [f"id{i}" for i in range(9)]
    whole = scored(maps, masks, replicates=20, seed=3)
    merged = PixelAveragePrecision(TAUS, replicates=20, seed=3)
    for part in (slice(6, 9), slice(0, 1), slice(1, 6)):
        shard = PixelAveragePrecision(TAUS, replicates=20, seed=3)
        shard.update(maps[part], masks[part], ids=ids[part])
        saved = PixelAveragePrecision(TAUS, replicates=20, seed=3)
        saved.load_state(shard.state())
        merged.merge(saved)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, merged.state()[name], err_msg=name)
    with pytest.raises(DataError, match="differ"):
        merged.merge(PixelAveragePrecision(TAUS))


def test_replicates_repeat_images_by_their_weights():
    rng = np.random.default_rng(1)
    maps, masks = rng.random((5, 4, 4)), rng.choice([0, 1], (5, 4, 4)).astype(np.uint8)
    result = scored(maps, masks, replicates=10).compute()
    weights = poisson_weights([f"id{i}" for i in range(5)], 10, 0)
    for r in range(10):
        repeated = np.repeat(np.arange(5), weights[:, r])
        expected = average_precision(maps[repeated].ravel(), masks[repeated].ravel() == 1) if len(repeated) else np.nan
        assert result.replicates[r] == pytest.approx(expected, nan_ok=True)
    assert result.interval().replicates == np.count_nonzero(~np.isnan(result.replicates))
    with pytest.raises(UsageError, match="replicates=1000"):
        scored(maps, masks).compute().interval()


def test_curves_of_precision_and_recall():
    maps = np.array([[[0.9, 0.4, 0.5, 0.1]]])
    result = scored(maps, np.array([[[1, 1, 0, 0]]], np.uint8)).compute()
    at = {tau: int(np.flatnonzero(np.isclose(result.taus, tau))[0]) for tau in (0.0, 0.3, 0.6, 0.95)}
    assert result.recall[[at[0.0], at[0.3], at[0.6], at[0.95]]].tolist() == [100, 100, 50, 0]
    assert result.precision[[at[0.0], at[0.6]]].tolist() == [50, 100]
    assert np.isnan(result.precision[at[0.95]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_values_outside_are_refused(value: float):
    with pytest.raises(DataError, match="normalise"):
        scored(np.full((1, 2, 2), value), np.ones((1, 2, 2), np.uint8))


def test_other_inputs_are_refused():
    maps, masks = np.zeros((1, 2, 2)), np.ones((1, 2, 2), np.uint8)
    with pytest.raises(DataError, match="one shape"):
        scored(maps[0], masks)
    with pytest.raises(DataError, match="divide by 255"):
        scored(maps.astype(np.uint8), masks)
    with pytest.raises(DataError, match="other values"):
        scored(maps, masks * 7)
    with pytest.raises(DataError, match="uint8 masks"):
        scored(maps, masks.astype(bool))
    with pytest.raises(UsageError, match="image ids"):
        PixelAveragePrecision(TAUS, replicates=2).update(maps, masks)
    with pytest.raises(UsageError, match="start at 0"):
        PixelAveragePrecision([0.1, 0.2])


def test_histograms_of_many_splits_at_once():
    foreground = np.array([[0, 1, 1, 0], [0, 0, 0, 0]])
    background = np.array([[1, 1, 0, 0], [1, 1, 0, 0]])
    areas = px_ap_from_histograms(foreground, background)
    assert areas[0] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))
    assert np.isnan(areas[1])


@pytest.mark.parametrize("step", ["0.01", "0.001"])
def test_golden_folder(golden: Path, step: str):
    folder = golden / "pxap"
    expected = json.loads((folder / "expected.json").read_text())[f"interval={step}"]["px_ap"]
    masks: dict[str, list[str]] = {}
    ignore: dict[str, str] = {}
    for line in (folder / "metadata" / "OpenImages" / "test" / "localization.txt").read_text().splitlines():
        image_id, mask, ignored = line.split(",")
        masks.setdefault(image_id, []).append(mask)
        ignore.setdefault(image_id, ignored)

    def read(name: str) -> np.ndarray:
        grey = cv2.imread(str(folder / "masks" / name), cv2.IMREAD_GRAYSCALE)
        return cv2.resize(np.float32(grey), (224, 224), interpolation=cv2.INTER_NEAREST) > 0.5

    metric = PixelAveragePrecision(tau_grid(float(step)))
    for image_id, names in masks.items():
        foreground = np.any([read(name) for name in names], axis=0)
        labels = np.where(foreground, 1, np.where(read(ignore[image_id]), 255, 0)).astype(np.uint8)
        metric.update(np.load(folder / "scoremaps" / f"{image_id}.npy")[None], labels[None])
    assert metric.compute().px_ap == pytest.approx(expected, abs=1e-9)
