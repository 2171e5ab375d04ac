"""Short hashes that tie a result row to what it was made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.checksum import sha256_of
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.protocol import Protocol

LENGTH = 12
"""Hexadecimal digits of a SHA-256 that rows carry, as many as trial ids have."""


def boxes_hash(boxes: BoxSet) -> str:
    """Returns a hash of image ids, sizes and boxes, in order."""
    digest = hashlib.sha256("\n".join(boxes.ids).encode())
    for array in (boxes.boxes.astype("<i4"), boxes.offsets.astype("<i8"), boxes.sizes.astype("<i4")):
        digest.update(array.tobytes())
    return digest.hexdigest()[:LENGTH]


def record_hash(run: RecordedRun, split: str, epoch: int) -> str:
    """Returns the hash of the file of one record."""
    return sha256_of(run.path(split, epoch))[:LENGTH]


def study_hash(protocol: Protocol, dataset: str, dataset_version: str, runs: Sequence[RecordedRun]) -> str:
    """Returns a hash of the rules and of everything that competed: dataset, trials in order, and their epochs."""
    content = {
        "protocol": protocol.model_dump(mode="json"),
        "dataset": [dataset, dataset_version],
        "runs": [[run.folder.name, list(run.epochs)] for run in runs],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:LENGTH]
