"""Which images become ``val`` where a dataset has no such split: a choice without a seed, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

TENTH = 10


def by_digest(names: Iterable[str]) -> list[str]:
    """Sorts names by their SHA-256: an order that is spread over a class and does not depend on other names."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())


def hold_out_tenth(labels: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Splits ``{id: label}`` into what stays and a tenth of each class (rounded down, at least one image).

    Of each class the ids with the smallest SHA-256 are held out; a class of one image keeps it.

    Returns:
        What stays and what is held out, both in the order of ``labels``.
    """
    by_class: dict[int, list[str]] = {}
    for image_id, label in labels.items():
        by_class.setdefault(label, []).append(image_id)
    held: set[str] = set()
    for ids in by_class.values():
        if len(ids) > 1:
            held.update(by_digest(ids)[: max(1, len(ids) // TENTH)])
    stays = {image_id: label for image_id, label in labels.items() if image_id not in held}
    return stays, {image_id: label for image_id, label in labels.items() if image_id in held}
