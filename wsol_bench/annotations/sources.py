"""Named sources of boxes: ground truth, clean or with noise, pseudo-boxes by name, or a folder of four files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import LOCALIZATION, read_four_file
from wsol_bench.annotations.noise import MAX_LEVEL, noisy_boxes
from wsol_bench.errors import DataError, UsageError, did_you_mean

Kind = Literal["gt", "noise", "pseudo", "folder"]

_SPLITS = ("train", "val", "test")
_RELEASED = {
    "metadata_generated_by_selective_search_bboxs": "ss",
    "metadata_generated_by_rpn_bboxs": "rpn",
    "metadata_generated_by_clip_maps": "clip",
}
"""Folder names of the boxes released with the realistic protocol, and what their annotators are called."""

_NOISE = "noise:"
_FORMS = "'gt', 'noise:<percent>', 'pseudo=<name>', or the path of a folder in the four-file format"


class _Ids(Protocol):
    @property
    def ids(self) -> tuple[str, ...]: ...


class AnnotatedDataset(Protocol):
    """What this module needs of a dataset."""

    @property
    def name(self) -> str:
        """The registered name."""

    def split(self, name: str, /) -> _Ids:
        """Returns the ids of a split."""

    def ground_truth(self, split: str, /) -> BoxSet:
        """Returns the manual boxes of a split; asks the firewall first."""


@dataclass(frozen=True)
class AnnotationSource:
    """Where boxes come from.

    Attributes:
        kind: ``gt`` (manual boxes of the dataset), ``noise`` (the same, disturbed), ``pseudo`` (boxes an annotator
            made) or ``folder`` (somebody's folder, of which nothing is known).
        name: ``gt``, ``noise:25``, the annotator's name, or a name made from the folder's path.
        folder: where the boxes are; None for ``gt`` and ``noise``.
        level: amount of noise, in (0, 0.5]; 0 for the other kinds.
    """

    kind: Kind
    name: str
    folder: Path | None = None
    level: float = 0.0

    @property
    def key(self) -> str:
        """How the ledger and results call this source: ``gt``, ``gt:noise:25``, ``pseudo:ss``, ``folder:my_boxes``."""
        if self.kind == "noise":
            # Made from ground truth: whatever it selects is not realistic, and the key must say so.
            return f"gt:{self.name}"
        return self.kind if self.kind == "gt" else f"{self.kind}:{self.name}"


@dataclass(frozen=True, eq=False)
class LoadedBoxes:
    """Boxes of a split and what was noticed on reading them.

    Attributes:
        source: where they come from; ``kind`` is ``gt`` when the file turned out to be the dataset's ground truth.
        boxes: the boxes, in the order of the ids asked for.
        num_sentinels: boxes ``0,0,0,0`` in the source ("nothing found").
        num_clipped: boxes of the source that reached outside their image and were clipped.
    """

    source: AnnotationSource
    boxes: BoxSet
    num_sentinels: int = 0
    num_clipped: int = 0


def parse_source(text: str, *, dataset: str, pseudo_roots: Sequence[Path] = ()) -> AnnotationSource:
    """Understands ``gt``, ``noise:25``, ``pseudo=ss``, ``ss``, or the path of a folder.

    A bare word is looked up among the named pseudo-boxes first, then as a folder. Folders with the names under which
    the boxes of the realistic protocol were released count as the pseudo-boxes ``ss``, ``rpn`` and ``clip``.

    Args:
        text: what the user wrote.
        dataset: name of the dataset; named boxes live in ``<pseudo_root>/<dataset>/<name>/<split>/``.
        pseudo_roots: folders with named pseudo-boxes; the first one that knows a name wins.

    Raises:
        UsageError: neither a known name nor a folder, or no such level of noise.
    """
    if text == "gt":
        return AnnotationSource("gt", "gt")
    if text.startswith(_NOISE):
        return _of_noise(text)
    known = named_sources(dataset, pseudo_roots)
    name = text.removeprefix("pseudo=")
    if name in known:
        return AnnotationSource("pseudo", name, known[name])
    folder = Path(text).expanduser()
    if name == text and text and folder.is_dir():
        return _of_folder(folder, dataset)
    listed = ", ".join(sorted(known)) or "none yet; 'wsol-bench annotate' makes them"
    if name == text and (os.sep in text or "/" in text):
        raise UsageError(
            f"Expected boxes to be {_FORMS}, but there is no folder '{text}'. Pseudo-boxes of {dataset}: {listed}."
        )
    raise UsageError(
        f"Expected boxes to be {_FORMS}, but got '{text}'.{did_you_mean(name, [*known, 'gt'])} "
        f"Pseudo-boxes of {dataset}: {listed}."
    )


def released_annotator(folder: Path) -> str | None:
    """Returns ``ss``, ``rpn`` or ``clip`` for a folder of the boxes released with the realistic protocol, else None."""
    return next((_RELEASED[part] for part in reversed(folder.resolve().parts) if part in _RELEASED), None)


def named_sources(dataset: str, pseudo_roots: Sequence[Path]) -> dict[str, Path]:
    """Returns the named pseudo-boxes of a dataset and their folders, ``{"ss": <root>/<dataset>/ss}``."""
    found: dict[str, Path] = {}
    for root in pseudo_roots:
        if (root / dataset).is_dir():
            for folder in sorted((root / dataset).iterdir()):
                if folder.is_dir() and any((folder / split / LOCALIZATION).exists() for split in _SPLITS):
                    found.setdefault(folder.name, folder)
    return found


def load_boxes(
    dataset: AnnotatedDataset,
    split: str,
    source: str | AnnotationSource,
    *,
    pseudo_roots: Sequence[Path] = (),
    ids: Sequence[str] | None = None,
) -> BoxSet:
    """Returns the boxes of :func:`load_source` alone."""
    return load_source(dataset, split, source, pseudo_roots=pseudo_roots, ids=ids).boxes


def load_source(
    dataset: AnnotatedDataset,
    split: str,
    source: str | AnnotationSource,
    *,
    pseudo_roots: Sequence[Path] = (),
    ids: Sequence[str] | None = None,
) -> LoadedBoxes:
    """Loads the boxes of a split from a source; the firewall's ledger notes it.

    Boxes with noise are made from the manual ones, with seed 0: both readings are noted.

    A folder whose ``localization.txt`` is the dataset's own ground truth is ground truth, whatever the user calls it.
    Pseudo-boxes that touch or leave the image border are clipped to ``W - 1``, ``H - 1``; sentinels are kept.

    Args:
        dataset: the dataset.
        split: ``train``, ``val`` or ``test``.
        source: a parsed source, or what :func:`parse_source` understands.
        pseudo_roots: for :func:`parse_source`.
        ids: the images wanted, in order; those of the split when not given.

    Raises:
        FirewallError: ground truth, with or without noise, was asked for while no judge is at work.
        UsageError: the source is not known.
        DataError: the folder lacks the split or an image of it, or a file is malformed.
    """
    if isinstance(source, str):
        source = parse_source(source, dataset=dataset.name, pseudo_roots=pseudo_roots)
    wanted = tuple(dataset.split(split).ids if ids is None else ids)
    if source.folder is None:
        manual = dataset.ground_truth(split).select(wanted)
        if source.kind == "gt":
            return LoadedBoxes(source, manual)
        firewall.read(source.key, split)
        return LoadedBoxes(source, noisy_boxes(manual, source.level))
    folder = _split_folder(source.folder, dataset.name, split)
    if firewall.is_protected(folder / LOCALIZATION):
        source = AnnotationSource("gt", "gt", source.folder)
    firewall.read(source.key, split)
    file = read_four_file(folder, kind="boxes", outside="clip")
    if file.boxes is None:
        raise DataError("Expected boxes but there are none.", folder / LOCALIZATION)
    missing = set(wanted) - set(file.ids)
    if missing:
        raise DataError(
            f"Expected a box for each of {len(wanted)} images of '{split}' of {dataset.name} but {len(missing)} are "
            f"not listed, first '{min(missing)}'; fix: check that the folder belongs to this dataset and split.",
            folder,
        )
    return LoadedBoxes(source, file.boxes.select(wanted), file.num_sentinels, file.num_clipped)


def _of_noise(text: str) -> AnnotationSource:
    amount = text.removeprefix(_NOISE)
    try:
        percent = float(amount)
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100 * MAX_LEVEL:
        raise UsageError(
            f"Expected 'noise:' to be followed by a percentage above 0 and up to {100 * MAX_LEVEL:g} but got '{text}'; "
            "fix: 'noise:25'."
        )
    return AnnotationSource("noise", f"{_NOISE}{percent:g}", level=percent / 100)


def _of_folder(folder: Path, dataset: str) -> AnnotationSource:
    released = released_annotator(folder)
    if released is not None:
        return AnnotationSource("pseudo", released, folder)
    parts = [part for part in folder.resolve().parts if part not in _SPLITS and part.casefold() != dataset.casefold()]
    return AnnotationSource("folder", parts[-1], folder)


def _split_folder(folder: Path, dataset: str, split: str) -> Path:
    """Finds the four files of a split in ``folder``, ``folder/<split>`` or ``folder/<dataset>/<split>``."""
    inside = [path.parent for depth in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{depth}{LOCALIZATION}"))]
    fitting = [place for place in inside if place.resolve().name == split]
    of_dataset = [place for place in fitting if place.resolve().parent.name.casefold() == dataset.casefold()]
    if folder in inside and folder.resolve().name not in _SPLITS:
        return folder
    places = [folder / split] if folder / split in fitting else of_dataset or fitting
    if len(places) == 1:
        return places[0]
    if places:
        listed = ", ".join(str(place) for place in places)
        raise DataError(f"Expected one folder for '{split}' but got {listed}; fix: name the one you mean.", folder)
    found = ", ".join(str(place.relative_to(folder)) for place in inside) or "none at all"
    raise DataError(
        f"Expected boxes for '{split}' in {split}/{LOCALIZATION} or {dataset}/{split}/{LOCALIZATION}; folders with "
        f"boxes: {found}.",
        folder,
    )
