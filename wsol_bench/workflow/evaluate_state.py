"""Counts of a shard on disk, and their exact sum over shards.

A state is one ``.npz`` file: the arrays of all accumulators, the keys of the images that were scored, and a text with
the settings. States are added if they were made by the same evaluator with the same settings from the same ground
truth, and if no image was scored twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from wsol_bench.atomic import whole_file
from wsol_bench.errors import DataError, UsageError
from wsol_bench.metrics.evaluator import DIALECT_EVALUATORS, PX_EVALUATOR
from wsol_bench.workflow.evaluate_scores import REFERENCE_DIALECT, Scores, Settings
from wsol_bench.workflow.map_checks import IssueLog

FORMAT = "wsol-bench evaluation state 1"


@dataclass(frozen=True)
class Origin:
    """Where scores come from.

    Attributes:
        split: name of the split.
        frame: side of the frame in pixels.
        total: number of images in the whole split.
        truth: digest of ids and ground truth.
        supervision: what the firewall noted.
    """

    split: str
    frame: int
    total: int
    truth: str
    supervision: str


def write_state(path: Path, scores: Scores, keys: NDArray[np.uint64], origin: Origin, issues: IssueLog) -> None:
    """Writes a state whole.

    Args:
        path: the file; ``.npz`` is customary.
        scores: the counts.
        keys: ``[n]`` keys of the images scored.
        origin: where they come from.
        issues: what was noticed about the maps.
    """
    about = {
        "format": FORMAT,
        "evaluators": _evaluators(scores.settings.dialect),
        "settings": asdict(scores.settings),
        "origin": asdict(origin),
        "issues": {"counts": issues.counts, "examples": issues.examples},
    }
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, about=np.asarray(json.dumps(about)), keys=keys, **scores.state())  # type: ignore[arg-type]


def merge_states(paths: Sequence[Path], issues: IssueLog) -> tuple[Scores, NDArray[np.uint64], Origin]:
    """Adds up saved states.

    Args:
        paths: one or more files of :func:`write_state`.
        issues: takes the issues of all shards, and the images that no shard scored.

    Returns:
        The counts, the keys of all images scored, and their origin.

    Raises:
        UsageError: no path was given.
        DataError: a file is damaged, states do not belong together, or an image was scored twice; names the file.
    """
    if not paths:
        raise UsageError("Expected at least one saved state to merge but got none.")
    merged, about, keys = _load(paths[0])
    issues.add(about["issues"]["counts"], about["issues"]["examples"])
    for path in paths[1:]:
        scores, other, other_keys = _load(path)
        for part in ("settings", "origin"):
            differing = [name for name, value in about[part].items() if other[part].get(name) != value]
            if differing:
                raise DataError(
                    f"Expected the same {part} as in {paths[0].name} but they differ ({', '.join(differing)}); fix: "
                    "score all shards alike.",
                    path,
                )
        if np.intersect1d(keys, other_keys).size:
            raise DataError(
                "Expected shards without images in common but this one repeats some; fix: merge each shard once.", path
            )
        keys = np.concatenate([keys, other_keys])
        issues.add(other["issues"]["counts"], other["issues"]["examples"])
        merged.merge(scores)
    origin = Origin(**about["origin"])
    if len(keys) < origin.total:
        issues.note("not_scored", f"{len(keys)} of {origin.total} images merged", origin.total - len(keys))
    return merged, keys, origin


def _load(path: Path) -> tuple[Scores, dict[str, Any], NDArray[np.uint64]]:
    about, arrays = _read(path)
    saved: dict[str, Any] = about["settings"]
    settings: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in saved.items()}
    scores = Scores(None, Settings(**settings))
    try:
        scores.load_state(arrays)
    except DataError as error:
        raise DataError(str(error), path) from error
    return scores, about, arrays["keys"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        about = json.loads(str(arrays.pop("about")))
    except (OSError, ValueError, EOFError, KeyError, TypeError, BadZipFile) as error:
        raise DataError(f"Expected a saved evaluation state but reading failed: {error}.", path) from error
    if about.get("format") != FORMAT:
        raise DataError(f"Expected '{FORMAT}' but got '{about.get('format')}'; fix: score the shard again.", path)
    ours = _evaluators(about["settings"].get("dialect", REFERENCE_DIALECT))
    if about["evaluators"] != ours:
        raise DataError(
            f"Expected scores of the evaluators {ours} but got {about['evaluators']}; fix: score the shard "
            "again with this version.",
            path,
        )
    return about, arrays


def _evaluators(dialect: str) -> str:
    return f"{DIALECT_EVALUATORS.get(dialect, dialect)} {PX_EVALUATOR}"
