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
TauFrom = Literal["TT", "VT", "OT", "none"]
"""A threshold policy, or ``none``: PxAP integrates over thresholds, so nothing is chosen."""
Metric = Literal["max_box_acc", "box_acc_mean", "mean_iou", "top1_loc"]
SearchSampler = Literal["tpe", "random"]
"""Samplers of Optuna that propose configurations; ``tpe`` learns from earlier trials, ``random`` does not."""
Sampler = Literal["plan", "tpe", "random"]
"""What chooses the configurations that compete: the plan that all methods share, or a search."""
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


class TauGrids(StrictModel):
    """Steps of the tau grids of the two splits; each tau of ``val`` must be one of ``test``, to be frozen there."""

    val: Unit
    test: Unit

    @model_validator(mode="after")
    def _nested(self) -> Self:
        ratio = self.val / self.test
        if self.test > self.val or abs(ratio - round(ratio)) > 1e-9:
            raise ValueError(f"val must be a multiple of test, got {self.val:g} and {self.test:g}")
        return self


class Protocol(StrictModel):
    """One protocol.

    Attributes:
        id: short name, repeated in every result row.
        version: raised whenever a score could change.
        title: one line for people.
        citation: where the protocol comes from.
        tau_grid: ``levels`` for all 255 cuts of an 8-bit map, the step of ``arange(0, 1, step)``, or a step per split.
        iou_thresholds: the IoU levels delta at which box accuracy is reported, rising, in (0, 1).
        selection_iou: the delta used to select epochs and configurations; one of ``iou_thresholds``.
        contours: ``largest``: one box per map, of the contour with the largest polygon area.
        epoch_zero_eligible: whether the untrained network may be selected.
        reselect_per_policy: whether BT picks its configuration anew for each threshold policy.
        bt_key: the test number by which BT picks: the ``reported`` one, or always that of ``selection`` (the box
            accuracy at ``selection_iou``), so that all metrics describe one model.
        cls_bt_key: the same where class labels select: test classification (``top1``), or the ``reported`` number.
        mean_iou_model: whose mean IoU BT reports: of the model picked by ``max_box_acc``, or by ``mean_iou`` itself.
        cls_thresholds: threshold policies published for class labels, which have no validation threshold.
        tau_per_iou: each IoU level has its ``own`` tau, or all share that of ``selection_iou``.
        ties: the ``first`` epoch, tau and configuration win.
        otsu: OT is a threshold ``per_image``.
        map_normalisation: records are made of maps stretched to [0, 1] ``after_resize``.
        epoch_figure: measures that the figure of epochs shows; its dots always come from the first one.
        flag_tau_loss: points; a VT row that loses more than this against TT on the same model says so.
        seeds: how many seeds a selected configuration should have been run with; fewer are noted in the audit.
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
    tau_grid: Literal["levels"] | Unit | TauGrids
    iou_thresholds: tuple[Unit, ...] = Field(min_length=1)
    selection_iou: Unit
    contours: Literal["largest"]
    epoch_zero_eligible: bool
    reselect_per_policy: bool
    bt_key: Literal["reported", "selection"] = "reported"
    cls_bt_key: Literal["top1", "reported"] = "top1"
    mean_iou_model: Literal["max_box_acc", "mean_iou"] = "max_box_acc"
    cls_thresholds: tuple[Literal["OT", "TT"], ...] = Field(default=("OT", "TT"), min_length=1)
    tau_per_iou: Literal["own", "shared"] = "own"
    ties: Literal["first"] = "first"
    otsu: Literal["per_image"] = "per_image"
    map_normalisation: Literal["after_resize"] = "after_resize"
    epoch_figure: tuple[Literal["box_acc", "mean_iou"], ...] = Field(default=("box_acc", "mean_iou"), min_length=1)
    flag_tau_loss: float = Field(default=10.0, ge=0)
    seeds: int = Field(default=3, ge=1)
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
        for name, values in (
            ("sources", self.sources),
            ("cls_thresholds", self.cls_thresholds),
            ("epoch_figure", self.epoch_figure),
        ):
            _no_repetition(name, values)
        for name, chosen, listed in (
            ("metric", self.headline.metric, self.metrics),
            ("selection", self.headline.selection, self.selections),
            ("threshold", self.headline.threshold, self.thresholds),
        ):
            _no_repetition(f"{name}s", listed)
            if chosen not in listed:
                raise ValueError(f"headline.{name} '{chosen}' is not one of {name}s ({', '.join(listed)})")
        return self


class SearchedProtocol(Protocol):
    """The rules of a protocol for configurations that a sampler has proposed: another protocol, with another label.

    No file holds one: a study is searched or planned, whatever rules judge it.

    Attributes:
        sampler: what proposed the configurations.
    """

    sampler: SearchSampler

    @classmethod
    def of(cls, protocol: Protocol, sampler: SearchSampler) -> Self:
        """Returns a protocol's rules for configurations that were searched."""
        return cls.model_validate({**protocol.model_dump(), "sampler": sampler})

    @property
    def label(self) -> str:
        """``realistic@2+tpe``; labels of planned studies end in a version, so that none looks like this."""
        return f"{super().label}+{self.sampler}"

    @property
    def learns(self) -> bool:
        """Whether the search read the class accuracy of earlier trials on the validation set."""
        return self.sampler != "random"


def policy_label(selection: str, tau_from: str) -> str:
    """Returns ``BV-VT`` and the like; ``BV`` alone where there is no threshold."""
    return selection if tau_from == "none" else f"{selection}-{tau_from}"


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
