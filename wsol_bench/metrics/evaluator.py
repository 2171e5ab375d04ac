"""Identity of the evaluators: what a score may be compared with.

Every row of results carries the tag of the evaluator that produced it. A version is raised by any change after which
some input would give another score, be it by one bit of one box; results of different versions are never put into one
column. Speed, memory and error messages change no version.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EVALUATOR_ID: Final = "box"
"""Boxes of 8-bit maps in a square frame, inclusive corners, as in Choe et al. 2020 (metrics spec, sections 3 to 6)."""

EVALUATOR_VERSION: Final = 1
"""Raised whenever some map and ground truth would get another box score."""

PX_EVALUATOR_ID: Final = "px"
"""Pixel average precision with ignore regions (metrics spec, section 9)."""

PX_EVALUATOR_VERSION: Final = 1
"""Raised whenever some map and mask would get another PxAP."""

BOX_EVALUATOR: Final = f"{EVALUATOR_ID}@{EVALUATOR_VERSION}"
"""Tag of box scores in rows: ``box@1``."""

DIALECT_EVALUATORS: Final[Mapping[str, str]] = MappingProxyType(
    {"choe2020": BOX_EVALUATOR, "ts_cam": "box-ts_cam@1", "sat": "box-sat@1"}
)
"""Tag of box scores per dialect of ``wsol_bench.maps.dialects``.

``box-ts_cam`` differs from ``box`` in the far corner, which may lie outside the map, in the box of an empty map, and in
hits, which need an IoU above the threshold. ``box-sat`` takes an absolute threshold, the largest component by pixels,
and ground truth in the central crop. Each has its own version, to be raised as that of ``box``.
"""

PX_EVALUATOR: Final = f"{PX_EVALUATOR_ID}@{PX_EVALUATOR_VERSION}"
"""Tag of mask scores in rows: ``px@1``."""
