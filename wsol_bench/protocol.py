"""Evaluation protocols as validated data: ``protocols/*.yaml``, or a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsol_bench.content import content_folder
from wsol_bench.errors import DataError, did_you_mean, unknown_choice

Selection = Literal["BT", "BV"]
Threshold = Literal["TT", "VT", "OT"]
Metric = Literal["max_box_acc", "box_acc_mean", "mean_iou", "top1_loc"]
Unit = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Headline(_Strict):
    """The one number that a protocol wants quoted."""

    metric: Metric
    selection: Selection
    threshold: Threshold


class MayRead(_Strict):
    """Which kinds of annotation each step may read."""

    training: tuple[Literal["images", "labels"], ...]
    selection: tuple[Literal["labels", "pseudo", "gt"], ...]
    report: tuple[Literal["gt"], ...]


class Protocol(_Strict):
    """One protocol.

    Attributes:
        id: short name, repeated in every result row.
        version: raised whenever a score could change.
        tau_grid: ``levels`` for all 255 cuts of an 8-bit map, or the step of ``arange(0, 1, step)``.
        iou_thresholds: the IoU levels delta at which box accuracy is reported, in (0, 1).
        selection_iou: the delta used to select epochs and configurations; one of ``iou_thresholds``.
        contours: ``largest``: one box per map, of the contour with the largest polygon area.
        epoch_zero_eligible: whether the untrained network may be selected.
        reselect_per_policy: whether BT picks its configuration anew for each threshold policy.
        sources: what may select on the validation set; ``pseudo`` stands for every set of pseudo-boxes given.
    """

    id: str
    version: int
    title: str
    citation: str
    tau_grid: Literal["levels"] | Unit
    iou_thresholds: tuple[Unit, ...]
    selection_iou: Unit
    contours: Literal["largest"]
    epoch_zero_eligible: bool
    reselect_per_policy: bool
    sources: tuple[Literal["cls", "gt", "pseudo"], ...]
    selections: tuple[Selection, ...]
    thresholds: tuple[Threshold, ...]
    metrics: tuple[Metric, ...]
    headline: Headline
    may_read: MayRead

    @property
    def label(self) -> str:
        """The id with its version, as rows print it: ``realistic@1``."""
        return f"{self.id}@{self.version}"


def load_protocol(name: str) -> Protocol:
    """Loads a protocol by name (``realistic``) or from a YAML file (``my/protocol.yaml``).

    Raises:
        UsageError: no protocol has that name.
        DataError: the file is not a valid protocol; every offending key is named.
    """
    folder = content_folder("protocols")
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown_choice("--protocol", name, (file.stem for file in folder.glob("*.yaml")))
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        protocol = Protocol.model_validate(raw)
    except yaml.YAMLError as error:
        raise DataError(f"Expected YAML but got: {error}", path) from error
    except ValidationError as error:
        raise DataError(_explain(error), path) from error
    if protocol.selection_iou not in protocol.iou_thresholds:
        raise DataError(
            f"Expected selection_iou to be one of iou_thresholds {list(protocol.iou_thresholds)} "
            f"but got {protocol.selection_iou}.",
            path,
        )
    return protocol


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key '{key}'.{did_you_mean(key, Protocol.model_fields)}")
        else:
            lines.append(f"{key}: {problem['msg']}")
    return "Expected a protocol but: " + "; ".join(lines)
