from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol_bench.annotators.base import Fallback, FunnelOutcome, Proposals
from wsol_bench.annotators.box_views import view_painter
from wsol_bench.annotators.pointing_game import (
    FunnelOptions,
    ProposalFunnel,
    best_share,
    capped,
    clean,
    peak_of,
)
from wsol_bench.errors import DataError, UsageError

LABELS = np.array([0])


def proposals(boxes: list[tuple[int, int, int, int]], objectness: list[float] | None = None) -> Proposals:
    return Proposals(
        np.array(boxes, dtype=np.int32).reshape(-1, 4),
        None if objectness is None else np.array(objectness, dtype=np.float32),
    )


def random_proposals(draw: np.random.Generator, count: int, frame: int, ranked: bool) -> Proposals:
    corners = np.sort(draw.integers(-3, frame + 3, (count, 2, 2)), axis=1)
    objectness = (draw.integers(0, 5, count) / 4).astype(np.float32) if ranked else None
    return Proposals(corners.reshape(count, 4).astype(np.int32), objectness)


# Cleaning


def test_clean_drops_small_boxes_the_whole_frame_and_duplicates() -> None:
    found = clean(
        proposals([(0, 0, 223, 223), (-5, 10, 300, 60), (3, 3, 17, 60), (3, 3, 18, 60), (0, 10, 223, 60)]), 224, 16
    )
    assert found.boxes.tolist() == [[0, 10, 223, 60], [3, 3, 18, 60]]


def test_smallest_side_scales_with_the_frame() -> None:
    boxes = proposals([(0, 0, 3, 40), (0, 0, 4, 40)])
    assert clean(boxes, 64, 16).boxes.tolist() == [[0, 0, 4, 40]]


def test_clean_keeps_the_best_objectness_of_duplicates() -> None:
    found = clean(proposals([(0, 0, 40, 40), (5, 5, 60, 60), (0, 0, 40, 40)], [0.1, 0.2, 0.9]), 64, 16)
    assert found.boxes.tolist() == [[0, 0, 40, 40], [5, 5, 60, 60]]
    assert found.objectness is not None
    np.testing.assert_allclose(found.objectness, [0.9, 0.2])


def test_clean_accepts_an_empty_pool() -> None:
    assert len(clean(proposals([]), 64, 16)) == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.booleans())
@settings(max_examples=40, deadline=None)
def test_clean_and_capped_do_not_depend_on_the_order(seed: int, count: int, ranked: bool) -> None:
    draw = np.random.default_rng(seed)
    pool = random_proposals(draw, count, 32, ranked)
    if ranked and pool.objectness is not None:
        # Equal objectness at a cap is decided by position; distinct values leave nothing to decide.
        pool = Proposals(pool.boxes, draw.permutation(count).astype(np.float32))
    shuffled = pool.take(draw.permutation(count).astype(np.intp))
    for one, other in (
        (clean(pool, 32, 16), clean(shuffled, 32, 16)),
        (capped(clean(pool, 32, 16), 7), capped(clean(shuffled, 32, 16), 7)),
    ):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        if one.objectness is not None and other.objectness is not None:
            np.testing.assert_array_equal(one.objectness, other.objectness)


def test_cap_keeps_small_and_large_boxes_in_their_order() -> None:
    boxes = [(0, 0, side, side) for side in range(10, 60)]
    kept = capped(proposals(boxes), 10).boxes.tolist()
    assert len(kept) == 10
    assert kept[0] == [0, 0, 10, 10]
    assert kept[-1] == [0, 0, 59, 59]
    assert kept == sorted(kept)


def test_cap_keeps_the_best_objectness() -> None:
    kept = capped(proposals([(0, 0, 9, 9), (1, 0, 9, 9), (2, 0, 9, 9)], [0.1, 0.9, 0.5]), 2)
    assert kept.boxes[:, 0].tolist() == [1, 2]


def test_cap_leaves_a_small_pool_alone() -> None:
    pool = proposals([(0, 0, 9, 9)])
    assert capped(pool, 1) is pool


# The best share


@pytest.mark.parametrize("percent", [1, 7, 20, 29, 50, 100])
def test_share_is_the_exact_ceiling(percent: int) -> None:
    for count in range(1, 300):
        rank = np.zeros(count, dtype=np.float32)
        expected = math.ceil(Fraction(percent, 100) * count)
        assert len(best_share(rank, np.ones(count, dtype=np.int64), percent / 100)) == expected


def test_ties_go_to_the_smaller_box_then_to_the_lower_index() -> None:
    rank = np.array([0.5, 0.9, 0.9, 0.9], dtype=np.float32)
    areas = np.array([1, 50, 20, 20])
    assert best_share(rank, areas, 1.0).tolist() == [2, 3, 1, 0]


def test_share_of_an_empty_pool_is_empty() -> None:
    assert len(best_share(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64), 0.2)) == 0


# The peak


def test_peak_is_the_first_maximum_in_row_major_order() -> None:
    cam = np.zeros((4, 4), dtype=np.float32)
    cam[1, 3] = cam[2, 0] = 1
    assert peak_of(cam, 4) == (3, 1)


def test_peak_is_found_after_bilinear_upsampling() -> None:
    cam = np.zeros((4, 4), dtype=np.float32)
    cam[2, 1] = 1
    x, y = peak_of(cam, 64) or (-1, -1)
    # Centre of cell (1, 2) of 16 pixels, the first of the four pixels that share the maximum.
    assert (x, y) == (23, 39)


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_constant_maps_have_no_peak(value: float) -> None:
    assert peak_of(np.full((4, 4), value, dtype=np.float32), 64) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_maps_with_a_non_finite_value_have_no_peak(value: float) -> None:
    cam = np.arange(16, dtype=np.float32).reshape(4, 4)
    cam[0, 0] = value
    assert peak_of(cam, 64) is None


# The funnel


def run_one(classifier: Any, image: Any, pool: Proposals, label: int = 0, **options: Any) -> FunnelOutcome:
    funnel = ProposalFunnel(classifier, FunnelOptions.parse({"outside": "zero", **options}))
    return funnel.run(image[None], np.array([label]), [pool])[0]


def test_funnel_finds_the_object(colour_classifier: Any, square_image: Any) -> None:
    target = (16, 20, 39, 47)
    others = [(16, 20, 39, 35), (16, 20, 55, 60), (0, 0, 30, 30), (40, 40, 63, 63), (8, 12, 47, 55)]
    for channel, label in ((0, 0), (2, 1)):
        outcome = run_one(colour_classifier, square_image(target, channel), proposals([*others, target]), label)
        assert outcome.box.tolist() == list(target)
        assert outcome.fallback is Fallback.NONE
        assert outcome.top.sum() == math.ceil(0.2 * 6)
        assert outcome.hits[outcome.final]


def test_pointing_game_uses_inclusive_corners(colour_classifier: Any, square_image: Any) -> None:
    image = square_image((16, 16, 31, 31))
    x, y = peak_of(colour_classifier.maps(image[None], LABELS)[0], 64) or (-1, -1)
    pool = proposals([(x, y, x + 20, y + 20), (x - 10, y - 10, x, y), (x + 1, y, x + 20, y + 20)])
    outcome = run_one(colour_classifier, image, pool, keep=1.0)
    assert dict(zip(outcome.boxes[:, 0].tolist(), outcome.hits.tolist(), strict=True)) == {
        x - 10: True,
        x: True,
        x + 1: False,
    }


def test_fallback_a_repeats_the_pointing_game_on_the_whole_pool(colour_classifier: Any, square_image: Any) -> None:
    image = square_image((0, 0, 15, 15))
    # Objectness ranks the box without the peak first, and 20 % of two boxes is one.
    outcome = run_one(colour_classifier, image, proposals([(0, 0, 15, 15), (40, 40, 60, 60)], [0.1, 0.9]))
    assert outcome.fallback is Fallback.WHOLE_POOL
    assert outcome.box.tolist() == [0, 0, 15, 15]
    assert outcome.best_ranked == 1


def test_fallback_b_takes_the_best_of_the_share(colour_classifier: Any, square_image: Any) -> None:
    pool = proposals([(32, 32, 50, 50), (40, 40, 60, 60)])
    missed = run_one(colour_classifier, square_image((0, 0, 15, 15)), pool)
    assert missed.fallback is Fallback.NO_POINTING_GAME
    assert missed.final == missed.best_ranked
    constant = run_one(colour_classifier, np.full((64, 64, 3), 90, dtype=np.uint8), pool)
    assert constant.peak is None
    assert not constant.hits.any()
    assert constant.fallback is Fallback.NO_POINTING_GAME


def test_fallback_c_is_the_whole_frame(colour_classifier: Any, square_image: Any) -> None:
    outcome = run_one(colour_classifier, square_image((0, 0, 15, 15)), proposals([(0, 0, 2, 2)]))
    assert outcome.fallback is Fallback.WHOLE_FRAME
    assert outcome.box.tolist() == [0, 0, 63, 63]
    assert (outcome.proposed, outcome.cleaned, len(outcome.boxes)) == (1, 0, 0)
    assert (outcome.final, outcome.best_ranked) == (-1, -1)


def test_only_survivors_are_scored_when_objectness_ranks(colour_classifier: Any, square_image: Any) -> None:
    image = square_image((16, 16, 47, 47))
    pool = proposals([(0, 0, 40 + i, 40) for i in range(20)], [i / 20 for i in range(20)])
    outcome = run_one(colour_classifier, image, pool)
    assert sum(colour_classifier.batches) == 4
    np.testing.assert_array_equal(np.isfinite(outcome.scores), outcome.survivors)
    by_classifier = run_one(colour_classifier, image, pool, rank="classifier")
    assert np.isfinite(by_classifier.scores).all()


@pytest.mark.parametrize("constant_map", [False, True])
@pytest.mark.parametrize("ranked", [False, True])
def test_funnel_equals_the_written_rule(hash_classifier: Any, ranked: bool, constant_map: bool) -> None:
    if constant_map:
        hash_classifier.maps = lambda images, labels: np.ones((len(images), 4, 4), dtype=np.float32)
    draw = np.random.default_rng(7)
    seen = set()
    for count in [*range(12)] * 8:
        image = draw.integers(0, 255, (32, 32, 3)).astype(np.uint8)
        pool = random_proposals(draw, count, 32, ranked)
        outcome = run_one(hash_classifier, image, pool, label=1)
        assert outcome.box.tolist() == slow_funnel(hash_classifier, image, 1, pool)
        seen.add(outcome.fallback)
    expected = {Fallback.NO_POINTING_GAME, Fallback.WHOLE_FRAME}
    assert seen == (expected if constant_map else expected | {Fallback.NONE, Fallback.WHOLE_POOL})


def slow_funnel(classifier: Any, image: Any, label: int, pool: Proposals) -> list[int]:
    """The pseudo-code of the specification, box by box."""
    frame = len(image)
    cleaned: dict[tuple[int, ...], float] = {}
    for i, box in enumerate(pool.boxes.tolist()):
        x0, y0, x1, y1 = (min(max(value, 0), frame - 1) for value in box)
        width, height = x1 - x0 + 1, y1 - y0 + 1
        if min(width, height) >= round(16 * frame / 224) and (width, height) != (frame, frame):
            objectness = 0.0 if pool.objectness is None else float(pool.objectness[i])
            cleaned[x0, y0, x1, y1] = max(objectness, cleaned.get((x0, y0, x1, y1), -1.0))
    boxes = sorted(cleaned)
    scores = {}
    for box in boxes:
        shown = np.zeros_like(image)
        shown[box[1] : box[3] + 1, box[0] : box[2] + 1] = image[box[1] : box[3] + 1, box[0] : box[2] + 1]
        scores[box] = float(classifier.probabilities(shown[None])[0, label])
    area = {box: (box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in boxes}
    rank = scores if pool.objectness is None else cleaned
    top = sorted(boxes, key=lambda box: (-rank[box], area[box], box))[: math.ceil(len(boxes) / 5)]
    peak = peak_of(classifier.maps(image[None], LABELS)[0], frame)
    hits = [] if peak is None else [b for b in boxes if b[0] <= peak[0] <= b[2] and b[1] <= peak[1] <= b[3]]
    candidates = [box for box in boxes if box in hits and box in top] or hits or top
    if not candidates:
        return [0, 0, frame - 1, frame - 1]
    return list(min(candidates, key=lambda box: (-scores[box], -cleaned[box], area[box], box)))


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_batching_changes_nothing_and_bounds_the_memory(colour_classifier: Any, photos: Any, batch_size: int) -> None:
    draw = np.random.default_rng(3)
    pools = [random_proposals(draw, count, 64, False) for count in (0, 3, 17, 40, 1, 9)]
    labels = np.array([0, 1, 0, 1, 0, 1])
    together = ProposalFunnel(colour_classifier, FunnelOptions(), batch_size).run(photos, labels, pools)
    assert max(colour_classifier.batches) <= batch_size
    for i, outcome in enumerate(together):
        alone = ProposalFunnel(colour_classifier, FunnelOptions()).run(photos[i : i + 1], labels[i : i + 1], [pools[i]])
        np.testing.assert_allclose(outcome.scores, alone[0].scores, rtol=1e-6)
        assert outcome.box.tolist() == alone[0].box.tolist()


def test_scores_are_those_of_the_painted_views(colour_classifier: Any, photos: Any) -> None:
    pool = random_proposals(np.random.default_rng(1), 12, 64, False)
    outcome = ProposalFunnel(colour_classifier, FunnelOptions()).run(photos[:1], LABELS, [pool])[0]
    paint = view_painter(photos[0], "blur")
    for box, score in zip(outcome.boxes, outcome.scores, strict=True):
        canvas = np.empty_like(photos[:1])
        paint(box, canvas[0])
        assert score == colour_classifier.probabilities(canvas)[0, 0]


def test_proposals_are_taken_one_by_one(colour_classifier: Any, photos: Any) -> None:
    log: list[str] = []

    def lazily() -> Iterator[Proposals]:
        for i in range(3):
            log.append(f"made {i}")
            yield proposals([(0, 0, 30, 30)])

    ProposalFunnel(colour_classifier, FunnelOptions()).run(
        photos[:3], np.zeros(3, dtype=np.int64), lazily(), lambda: log.append("done")
    )
    assert log == ["made 0", "done", "made 1", "done", "made 2", "done"]


# Errors


def test_images_of_another_size_are_refused(colour_classifier: Any) -> None:
    with pytest.raises(UsageError, match=r"64, 64, 3\].*colour@1.*32, 32"):
        run_one(colour_classifier, np.zeros((32, 32, 3), dtype=np.uint8), proposals([]))


def test_ranking_by_an_objectness_that_is_missing_is_refused(colour_classifier: Any, photos: Any) -> None:
    with pytest.raises(UsageError, match="rank=classifier"):
        run_one(colour_classifier, photos[0], proposals([(0, 0, 30, 30)]), rank="objectness")


def test_a_diverged_classifier_is_refused(colour_classifier: Any, photos: Any) -> None:
    colour_classifier.probabilities = lambda images: np.full((len(images), 2), np.nan, dtype=np.float32)
    with pytest.raises(DataError, match=r"colour@1.*diverged"):
        run_one(colour_classifier, photos[0], proposals([(0, 0, 30, 30)]))


def test_a_classifier_of_another_dataset_is_refused(colour_classifier: Any, photos: Any) -> None:
    with pytest.raises(DataError, match="trained on this dataset"):
        run_one(colour_classifier, photos[0], proposals([(0, 0, 30, 30)]), label=2)


@pytest.mark.parametrize("options", [{"keep": 0.0}, {"outside": "grey"}, {"max_scored": 0}, {"blur_sigma": "wide"}])
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        FunnelOptions.parse(options)


def test_an_unknown_option_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'max_scored'"):
        FunnelOptions.parse({"max_score": 10})
