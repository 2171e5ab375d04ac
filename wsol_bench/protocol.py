"""Evaluation protocols as validated data: ``protocols/*.yaml``, or a file of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wsol_bench.content import content_folder
from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.yaml_file import StrictModel, read_yaml

Selection = Literal["BT", "BV"]
Threshold = Literal["TT", "VT", "OT"]
Metric = Literal["max_box_acc", "box_acc_mean", "mean_iou", "top1_loc"]
Unit = Annotated[float, Field(gt=0, lt=1)]


class Headline(StrictModel):
    """The one number that a protocol wants quoted."""

    metric: Metric
    selection: Selection
    threshold: Threshold


class MayRead(StrictModel):
    """Which kinds of annotation each step may read."""

    training: tuple[Literal["images", "labels"], ...]
    selection: tuple[Literal["labels", "pseudo", "gt"], ...]
    report: tuple[Literal["gt"], ...]


class Protocol(StrictModel):
    """One protocol.

    Attributes:
        id: short name, repeated in every result row.
        version: raised whenever a score could change.
        title: one line for people.
        citation: where the protocol comes from.
        tau_grid: ``levels`` for all 255 cuts of an 8-bit map, or the step of ``arange(0, 1, step)``.
        iou_thresholds: the IoU levels delta at which box accuracy is reported, rising, in (0, 1).
        selection_iou: the delta used to select epochs and configurations; one of ``iou_thresholds``.
        contours: ``largest``: one box per map, of the contour with the largest polygon area.
        epoch_zero_eligible: whether the untrained network may be selected.
        reselect_per_policy: whether BT picks its configuration anew for each threshold policy.
        sources: what may select on the validation set; ``pseudo`` stands for every set of pseudo-boxes given.
        selections: where the configuration may be picked: ``BT`` on the test set, ``BV`` on the validation set.
        thresholds: where tau may come from: ``TT`` test, ``VT`` validation, ``OT`` Otsu per image.
        metrics: what is reported, in the order of the tables.
        headline: the number to quote; part of the lists above.
        may_read: what each step may read to be this protocol.
    """

    id: str = Field(min_length=1)
    version: int = Field(ge=1)
    title: str
    citation: str
    tau_grid: Literal["levels"] | Unit
    iou_thresholds: tuple[Unit, ...] = Field(min_length=1)
    selection_iou: Unit
    contours: Literal["largest"]
    epoch_zero_eligible: bool
    reselect_per_policy: bool
    sources: tuple[Literal["cls", "gt", "pseudo"], ...] = Field(min_length=1)
    selections: tuple[Selection, ...] = Field(min_length=1)
    thresholds: tuple[Threshold, ...] = Field(min_length=1)
    metrics: tuple[Metric, ...] = Field(min_length=1)
    headline: Headline
    may_read: MayRead

    @property
    def label(self) -> str:
        """The id with its version, as rows print it: ``realistic@1``."""
        return f"{self.id}@{self.version}"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.iou_thresholds) != sorted(set(self.iou_thresholds)):
            raise ValueError(f"iou_thresholds must rise without repetition, got {list(self.iou_thresholds)}")
        if self.selection_iou not in self.iou_thresholds:
            raise ValueError(f"selection_iou {self.selection_iou} is not one of {list(self.iou_thresholds)}")
        _no_repetition("sources", self.sources)
        for name, chosen, listed in (
            ("metric", self.headline.metric, self.metrics),
            ("selection", self.headline.selection, self.selections),
            ("threshold", self.headline.threshold, self.thresholds),
        ):
            _no_repetition(f"{name}s", listed)
            if chosen not in listed:
                raise ValueError(f"headline.{name} '{chosen}' is not one of {name}s ({', '.join(listed)})")
        return self


def load_protocol(name: str) -> Protocol:
    """Loads a protocol by name (``realistic``) or from a YAML file (``my/protocol.yaml``).

    Raises:
        UsageError: no protocol has that name, or there is no such file.
        DataError: the file is not a valid protocol; every offending key is named.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UsageError(f"Expected --protocol to name a YAML file but there is no '{name}'; fix: check the path.")
        return read_yaml(path, Protocol)
    known = {path.stem: path for path in content_folder("protocols").glob("*.yaml")}
    if name not in known:
        raise unknown_choice("--protocol", name, known, hint="A file of your own ends in .yaml.")
    return read_yaml(known[name], Protocol)


def _no_repetition(key: str, values: Iterable[str]) -> None:
    values = list(values)
    if len(set(values)) < len(values):
        raise ValueError(f"{key} must not repeat, got {', '.join(values)}")
