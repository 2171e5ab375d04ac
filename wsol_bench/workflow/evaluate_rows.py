"""Rows of results: one number each, with everything needed to compare it with another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.metrics.bootstrap import percentile_interval
from wsol_bench.metrics.box_acc import Contours
from wsol_bench.metrics.box_acc_result import BoxAccuracyResult
from wsol_bench.metrics.evaluator import BOX_EVALUATOR, DIALECT_EVALUATORS, PX_EVALUATOR
from wsol_bench.metrics.px_ap import PxApResult
from wsol_bench.workflow.evaluate_scores import Scores

Row = dict[str, Any]
"""Keys: ``metric``, ``iou_threshold`` (None where it has none), ``contours`` (None for masks and points), ``tau`` (None
where there is no single one), ``tau_source`` (``best``, ``fixed``, ``otsu`` or None), ``value`` in percent, ``n``
images, ``ci_low``, ``ci_high`` (None without bootstrap) and ``evaluator``, which tells dialects apart."""


def result_rows(scores: Scores, boxes: Mapping[Contours, BoxAccuracyResult], pixels: PxApResult | None) -> list[Row]:
    """Returns the rows of everything that was scored; ``boxes`` and ``pixels`` are the computed parts of ``scores``.

    ========================  ===================================================================================
    ``max_box_acc``           maximum over tau, per IoU threshold, each with its own tau
    ``max_box_acc_v2``        mean of these maxima; MaxBoxAccV2 of Choe et al. with all contours and 0.3, 0.5, 0.7
    ``mean_iou``              maximum over tau of the mean IoU, or at the frozen tau, or of Otsu boxes
    ``box_acc``               accuracy at the frozen tau, or of Otsu boxes
    ``top1_loc, top5_loc``    localization with a right class at the tau of ``max_box_acc``
    ``max_top1_loc, ...``     the same with its own best tau, as the reference evaluator prints it
    ``top1_acc, top5_acc``    classification accuracy
    ``error_*``               share of each error type at the tau of ``max_box_acc`` at IoU 0.5, or at the frozen tau
    ``pointing, ..._15px``    pointing game, without and with a tolerance of 15 pixels
    ``px_ap``                 pixel average precision
    ========================  ===================================================================================
    """
    level = scores.settings.level
    rows: list[Row] = []
    for result in boxes.values():
        rows += _box_rows(result, level)
        if scores.settings.tau is not None:
            rows += _fixed_rows(result, scores.settings.tau, level)
        rows += _rank_rows(result, level)
    if scores.otsu is not None:
        rows += [row | {"tau": None, "tau_source": "otsu"} for row in _fixed_rows(scores.otsu.compute(), 0.0, level)]
    rows += _error_rows(scores, boxes)
    for game in scores.pointing:
        name = "pointing" if game.tolerance == 0 else f"pointing_{game.tolerance:g}px"
        rows.append(_row(name, game.compute(), game.hits + game.misses))
    if pixels is not None:
        rows.append(_row("px_ap", pixels.px_ap, pixels.n, evaluator=PX_EVALUATOR) | _interval(pixels.replicates, level))
        return rows
    tag = DIALECT_EVALUATORS[scores.settings.dialect]
    return [row | {"evaluator": tag} for row in rows]


def dissected_tau(tau: float | None, boxes: Mapping[Contours, BoxAccuracyResult]) -> float:
    """Returns the tau at which errors and single images are shown: the frozen one, else that of MaxBoxAcc.

    MaxBoxAcc at IoU 0.5 where that is scored, else at the first IoU threshold.
    """
    if tau is not None:
        return tau
    result = next(iter(boxes.values()))
    half = np.flatnonzero(result.iou_thresholds == 0.5)
    return float(result.max_box_acc_tau[half[0] if half.size else 0])


def _box_rows(result: BoxAccuracyResult, level: float) -> Iterator[Row]:
    drawn = None if result.replicates is None else result.max_box_acc_replicates()
    for d, threshold in enumerate(result.iou_thresholds.tolist()):
        yield _row(
            "max_box_acc",
            result.max_box_acc[d],
            result.n,
            iou_threshold=threshold,
            contours=result.contours,
            tau=float(result.max_box_acc_tau[d]),
            tau_source="best",
        ) | _interval(None if drawn is None else drawn[d], level)
    yield _row(
        "max_box_acc_v2", result.max_box_acc_v2, result.n, contours=result.contours, tau_source="best"
    ) | _interval(None if drawn is None else drawn.mean(axis=0), level)
    yield _row(
        "mean_iou", result.mean_iou, result.n, contours=result.contours, tau=result.mean_iou_tau, tau_source="best"
    ) | _interval(None if drawn is None else result.mean_iou_replicates(), level)


def _fixed_rows(result: BoxAccuracyResult, tau: float, level: float) -> Iterator[Row]:
    place: dict[str, Any] = {"contours": result.contours, "tau": tau, "tau_source": "fixed"}
    drawn = None if result.replicates is None else result.box_acc_replicates_at(tau)
    for d, threshold in enumerate(result.iou_thresholds.tolist()):
        value = result.box_acc_at(tau)[d]
        yield _row("box_acc", value, result.n, iou_threshold=threshold, **place) | _interval(
            None if drawn is None else drawn[d], level
        )
    yield _row("mean_iou", result.mean_iou_at(tau), result.n, **place) | _interval(
        None if drawn is None else result.mean_iou_replicates_at(tau), level
    )


def _rank_rows(result: BoxAccuracyResult, level: float) -> Iterator[Row]:
    for rank, loc in (("top1", result.top1_loc), ("top5", result.top5_loc)):
        if loc is None:
            continue
        drawn = None if result.replicates is None else result.max_box_acc_replicates(rank)
        for d, threshold in enumerate(result.iou_thresholds.tolist()):
            tau = float(result.max_box_acc_tau[d])
            place: dict[str, Any] = {"iou_threshold": threshold, "contours": result.contours, "tau_source": "best"}
            at_tau = None if result.replicates is None else result.box_acc_replicates_at(tau, rank)[d]
            yield _row(f"{rank}_loc", loc.at_max_box_acc_tau[d], result.n, tau=tau, **place) | _interval(at_tau, level)
            yield _row(f"max_{rank}_loc", loc.best[d], result.n, tau=float(loc.best_tau[d]), **place) | _interval(
                None if drawn is None else drawn[d], level
            )
        yield _row(f"{rank}_acc", result.accuracy(rank), result.n)


def _error_rows(scores: Scores, boxes: Mapping[Contours, BoxAccuracyResult]) -> Iterator[Row]:
    if scores.errors is None:
        return
    rates, tau = scores.errors.compute(), dissected_tau(scores.settings.tau, boxes)
    source = "best" if scores.settings.tau is None else "fixed"
    for name, value in rates.at(int(np.flatnonzero(rates.taus == tau)[0])).items():
        yield _row(f"error_{name}", value, rates.n, contours="largest", tau=tau, tau_source=source)


def _row(
    metric: str,
    value: float,
    n: int,
    *,
    iou_threshold: float | None = None,
    contours: str | None = None,
    tau: float | None = None,
    tau_source: str | None = None,
    evaluator: str = BOX_EVALUATOR,
) -> Row:
    return {
        "metric": metric,
        "iou_threshold": iou_threshold,
        "contours": contours,
        "tau": tau,
        "tau_source": tau_source,
        "value": float(value),
        "n": n,
        "ci_low": None,
        "ci_high": None,
        "evaluator": evaluator,
    }


def _interval(values: NDArray[np.float64] | None, level: float) -> Row:
    if values is None:
        return {}
    interval = percentile_interval(values, level)
    return {"ci_low": interval.low, "ci_high": interval.high}
