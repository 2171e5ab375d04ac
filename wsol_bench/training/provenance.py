"""Where the records of a trial come from: what was read, with which versions, on which device."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import torch

from wsol_bench import __version__
from wsol_bench.annotations.firewall import Access, Ledger
from wsol_bench.atomic import write_json
from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.metrics.evaluator import BOX_EVALUATOR
from wsol_bench.training.trial_folder import TrialFolder


def earlier_accesses(folder: TrialFolder) -> list[Access]:
    """Returns the annotations that earlier, interrupted processes read for this trial.

    Raises:
        RecordError: ``provenance.json`` is damaged.
    """
    return folder.accesses() or []


def write_provenance(
    folder: TrialFolder,
    trial: str,
    splits: Mapping[str, PackedSplit],
    book: Ledger,
    device: torch.device,
    processes: int = 1,
) -> None:
    """Writes ``provenance.json`` as of now.

    Args:
        folder: the trial.
        trial: its id.
        splits: the images used, by split.
        book: everything read so far, by this process and earlier ones.
        device: where it runs.
        processes: that train it together.
    """
    content: dict[str, Any] = {
        "trial": trial,
        "supervision": book.supervision(),
        "annotations_read": book.as_dicts(),
        "images": {name: len(split) for name, split in splits.items()},
        "skipped_images": {name: len(split.skipped) for name, split in splits.items()},
        "evaluator": BOX_EVALUATOR,
        "versions": {"wsol_bench": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder.provenance, content)
