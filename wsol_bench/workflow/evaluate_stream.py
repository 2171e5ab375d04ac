"""Reads, measures and counts maps piece by piece, so that memory does not grow with their number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from wsol_bench.workflow.evaluate_images import ImageLines
from wsol_bench.workflow.evaluate_scores import Scores, measure
from wsol_bench.workflow.evaluate_truth import Truth
from wsol_bench.workflow.map_checks import Issue, IssueLog, prepare_map
from wsol_bench.workflow.map_source import Piece

Progress = Callable[[int, int], None]


def stream(
    pieces: Iterable[Piece],
    truth: Truth,
    scores: Scores,
    lines: ImageLines | None,
    issues: IssueLog,
    *,
    threads: int,
    total: int,
    progress: Progress | None = None,
) -> None:
    """Adds all maps to ``scores``; each thread holds one batch at a time.

    Threads read and measure side by side and take turns to add. Counts do not depend on whose turn comes first.

    Args:
        pieces: the maps.
        truth: ground truth of the split.
        scores: added to.
        lines: takes single images, or None.
        issues: takes what is wrong with maps.
        threads: number of worker threads.
        total: number of images, for ``progress``.
        progress: called with images done and in total.

    Raises:
        DataError: a map cannot be read, or has an issue in strict mode.
    """
    work = iter(pieces)
    turn, stop = threading.Lock(), threading.Event()
    done = 0

    def worker() -> None:
        nonlocal done
        while not stop.is_set():
            with turn:
                piece = next(work, None)
            if piece is None:
                return
            for raw in piece.read():
                maps = []
                found: list[list[Issue]] = []
                for one in raw:
                    values, kinds = prepare_map(one.values, truth.frame, one.where)
                    maps.append(values)
                    found.append(["missing"] if one.missing else kinds)
                batch = measure(maps, [one.position for one in raw], truth, scores.settings)
                with turn:
                    for one, kinds in zip(raw, found, strict=True):
                        for kind in kinds if not one.missing else ():
                            issues.note(kind, truth.ids[one.position])
                    scores.add(batch)
                    if lines is not None:
                        lines.add(batch, found)
                    done += len(raw)
                    if progress is not None:
                        progress(done, total)

    def guarded() -> None:
        finished = False
        try:
            worker()
            finished = True
        finally:
            if not finished:
                stop.set()

    with ThreadPoolExecutor(threads, thread_name_prefix="evaluate") as pool:
        running = [pool.submit(guarded) for _ in range(threads)]
        try:
            for one in running:
                one.result()
        finally:
            stop.set()
