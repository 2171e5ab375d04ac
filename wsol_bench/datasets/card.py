"""What is known about a dataset before anybody has it: archives, checksums, official counts, pitfalls."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from wsol_bench.yaml_file import StrictModel, read_yaml

_CARDS = Path(__file__).parent / "cards"


class Archive(StrictModel):
    """One file of the official distribution.

    Attributes:
        file: its official name.
        url: where the authors offer it; None where there is no direct address.
        page: where a person asks for it: a registration or sign-in is needed.
        md5: checksum that the field's loaders use; None where none is published.
        into: folder under the root where it is unpacked.
        marker: a path under the root that is there once it is unpacked.
        nested: it holds one archive per folder, as that of ImageNet's training images.
        optional: splits or boxes can do without it.
        note: what else to know.
    """

    file: str
    url: str | None = None
    page: str | None = None
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    into: str = "."
    marker: str
    nested: bool = False
    optional: bool = False
    note: str = ""


class SplitCounts(StrictModel):
    """Official counts of one split; None where the archives do not fix a number.

    Attributes:
        images: number of images; several numbers where published splits differ.
        per_class: smallest and largest number of images of a class.
        boxes: number of boxes.
        masks: number of instance masks.
        several: number of images with more than one box or mask.
    """

    images: tuple[int, ...] = ()
    per_class: tuple[int, int] | None = None
    boxes: int | None = None
    masks: int | None = None
    several: int | None = None


class Card(StrictModel):
    """The card of a dataset.

    Attributes:
        name: the registered name.
        title: the full name.
        classes: number of classes.
        annotation: what val and test are annotated with.
        cite: who made it.
        licence: terms in a few words.
        splits: counts of ``train``, ``val``, ``test``; of a held-out val only the sum ``train+val`` is official.
        archives: files of the official distribution.
        pitfalls: what goes wrong with it, one sentence each.
    """

    name: str
    title: str
    classes: int
    annotation: Literal["boxes", "masks"]
    cite: str
    licence: str
    splits: dict[Literal["train", "val", "test", "train+val"], SplitCounts]
    archives: tuple[Archive, ...] = ()
    pitfalls: tuple[str, ...] = ()


@cache
def read_card(name: str) -> Card | None:
    """Returns the card of a registered dataset, or None where it has none."""
    path = _CARDS / f"{name}.yaml"
    return read_yaml(path, Card) if path.is_file() else None


def card_names() -> list[str]:
    """Returns the names of all datasets with a card."""
    return sorted(path.stem for path in _CARDS.glob("*.yaml"))
