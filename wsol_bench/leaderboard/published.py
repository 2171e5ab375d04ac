"""Numbers printed in papers: one row each, with how sure the reading is. Never mixed with what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from wsol_bench.content import content_folder
from wsol_bench.leaderboard.csv_rows import read_csv

Task = Literal["wsol", "wsol_video", "grounding", "what_is_where", "discovery", "pseudo_boxes"]
Reading = Literal["as_printed", "repaired", "inferred", "doubtful"]
PublishedMetric = Literal[
    "max_box_acc", "max_box_acc_v2", "box_acc_30", "box_acc_50", "box_acc_70", "mean_iou", "box_iou", "px_ap",
    "gt_known_loc", "top1_loc", "top5_loc", "top1_cls", "top5_cls", "lpe", "lme", "mins", "corloc", "corloc_gain",
    "pointing_acc", "box_acc", "mask_error", "params_m", "macs_g", "infer_ms", "train_hours", "n_gpus",
]  # fmt: skip
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_+.\-]*$")]

FILES = ("arbelle2021", "gao2022", "gomel2023", "murtaza2025", "shaharabany2022")
EXCEPTIONS = "exceptions.csv"
CONFLICTS = "conflicts.csv"
_FIX = "restore the file from the repository"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PublishedRow:
    """One printed number.

    Attributes:
        work: key of the paper; ``leaderboards/README.md`` resolves it.
        place: ``table 4.2`` or ``text``.
        task: what was done.
        dataset: lower-case name; empty where the number belongs to none (parameters of a model).
        split: ``test``, ``val`` or ``trainval``; empty where it is not said.
        part: subset of the split: a class, a kind of phrase, ``avg`` for a printed average over classes.
        method: lower-case name; ``a+b`` is one method on top of another.
        variant: a setting or an ablation of it.
        venue: where the table says that the method appeared.
        backbone: network.
        train_set: for grounding: what the method was trained on.
        val_boxes: supervision on the validation set: ``cls``, ``gt``, ``ss``, ``rpn``, ``clip``, a kind of mask.
        selection: ``BT``, ``BV``, or empty where the paper does not say.
        tau_from: ``TT``, ``VT``, ``OT``, or empty.
        metric: see ``leaderboards/README.md``; percent unless it says otherwise.
        value: the number with the digits of the print.
        reading: ``as_printed``; ``repaired``: a scanning error was mended and something else agrees; ``inferred``: the
            number is printed, but a column (policy, split) was concluded; ``doubtful``: nothing else agrees.
        note: evidence, and what else is printed about the same number.
    """

    work: Word
    place: Annotated[str, Field(pattern=r"^(text|table [0-9IV.\-]+)$")]
    task: Task
    dataset: str
    split: Literal["", "test", "val", "trainval"]
    part: str
    method: Word
    variant: str
    venue: str
    backbone: str
    train_set: str
    val_boxes: str
    selection: Literal["", "BT", "BV"]
    tau_from: Literal["", "TT", "VT", "OT"]
    metric: PublishedMetric
    value: Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
    reading: Reading
    note: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.reading != "as_printed" and not self.note:
            raise ValueError(f"a value that is {self.reading} needs a note")
        return self

    @property
    def number(self) -> float:
        """The value."""
        return float(self.value)

    @property
    def decimals(self) -> int:
        """Digits after the point in print."""
        return len(self.value.partition(".")[2])

    @property
    def policy(self) -> str:
        """``BV-VT`` and the like, as far as it is known."""
        return "-".join(filter(None, (self.selection, self.tau_from)))

    @property
    def key(self) -> tuple[str, ...]:
        """What the number is about; unique within a place."""
        return (
            self.work, self.place, self.task, self.dataset, self.split, self.part, self.method, self.variant,
            self.backbone, self.train_set, self.val_boxes, self.selection, self.tau_from, self.metric,
        )  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DeclaredException:
    """A printed number that contradicts arithmetic, known and explained.

    Attributes:
        check: name of the check in :mod:`wsol_bench.leaderboard.arithmetic`.
        where: what the check calls the place.
        reason: why it is so, as far as that is known.
    """

    check: Annotated[str, Field(min_length=1)]
    where: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Conflict:
    """A contradiction inside a paper, or between papers.

    Attributes:
        work: key of the paper.
        places: tables and sections.
        about: what it concerns.
        finding: what is printed where, and how the rows here deal with it.
    """

    work: Word
    places: Annotated[str, Field(min_length=1)]
    about: Annotated[str, Field(min_length=1)]
    finding: Annotated[str, Field(min_length=1)]


def published_folder() -> Path:
    """Returns the folder of the printed numbers."""
    return content_folder("leaderboards") / "published"


def read_published(works: Sequence[str] = FILES) -> list[PublishedRow]:
    """Returns the printed numbers of some works.

    Raises:
        DataError: a file is missing or malformed.
    """
    return [row for work in works for row in read_csv(published_folder() / f"{work}.csv", PublishedRow, _FIX)]


def read_exceptions() -> list[DeclaredException]:
    """Returns the declared exceptions of the checks of arithmetic."""
    return read_csv(published_folder() / EXCEPTIONS, DeclaredException, _FIX)


def read_conflicts() -> list[Conflict]:
    """Returns the known contradictions."""
    return read_csv(published_folder() / CONFLICTS, Conflict, _FIX)
