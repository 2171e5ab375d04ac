"""Takes boxes that somebody else made into a workspace, with a card: ``wsol-bench annotate import``.

The boxes released with the realistic protocol are read as they are: misspelt folder names, corners at ``x1 = W``, boxes
``0,0,0,0`` for "nothing found" (pseudo-box spec, section 7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wsol_bench.annotations.four_file import LOCALIZATION, read_four_file, write_four_file
from wsol_bench.annotations.sources import released_annotator
from wsol_bench.annotators.base import Fallback
from wsol_bench.annotators.card import CARD, Card, Recipe, boxes_sha256, ids_sha256
from wsol_bench.annotators.store import split_folder
from wsol_bench.atomic import write_text
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.open_dataset import DatasetSpec
from wsol_bench.errors import DataError, UsageError
from wsol_bench.workflow.workspace import Workspace

RELEASED_FRAME = 224
"""The released boxes lie on the pixels of a square of this side."""

_SUPERVISION = {"ss": "none", "rpn": "class-agnostic boxes of another dataset", "clip": "image-text pairs"}
_STATED = "localization_iou.txt"
_NUMBER = re.compile(r"[0-9.]+(?:e[-+]?[0-9]+)?$")


@dataclass(frozen=True)
class ImportedSet:
    """A set of boxes that was taken over.

    Attributes:
        name: how ``--val pseudo=`` calls it.
        split: the split.
        folder: where it is now.
        card: what is known about it.
    """

    name: str
    split: str
    folder: Path
    card: Card


def import_boxes(source: Path, spec: str, workspace: Workspace, *, name: str | None = None) -> tuple[ImportedSet, ...]:
    """Copies every set of boxes of a dataset that is found in a folder or up to four levels below.

    Boxes are cut to their images, counted in the card, and otherwise kept, sentinels included. The released folders
    become ``ss-released``, ``rpn-released`` and ``clip-released``, so that boxes made here never take their place.

    Args:
        source: a folder in the four-file format named like its split, or a folder above it.
        spec: the dataset as the user names it (``folder:name=cub``); where folders of several datasets are found, those
            of its name count.
        workspace: where the boxes go.
        name: how to call boxes that are not the released ones.

    Returns:
        The sets, in the order of their folders.

    Raises:
        UsageError: a set needs a name, or two sets would get the same one.
        DataError: nothing is found, or a file is malformed.
    """
    dataset = DatasetSpec.parse(spec)
    called = dataset.options.get("name", dataset.name)
    targets: dict[Path, Path] = {}
    for folder in _folders(source, called):
        set_name = name or _released_name(folder)
        if set_name is None:
            raise UsageError(
                f"Expected --name for the boxes in {folder}, which are not the released ones, but got none."
            )
        target = split_folder(workspace.pseudo_boxes(spec), called, set_name, folder.resolve().name)
        if target in targets:
            raise UsageError(
                f"Expected one set '{set_name}' but got {targets[target]} and {folder}; fix: name one folder."
            )
        targets[target] = folder
    return tuple(_import(folder, target, called) for target, folder in targets.items())


def _folders(source: Path, dataset: str) -> list[Path]:
    depths = ("", "*/", "*/*/", "*/*/*/", "*/*/*/*/")
    found = sorted({path.parent for depth in depths for path in source.glob(f"{depth}{LOCALIZATION}")})
    splits = [folder for folder in found if folder.resolve().name in SPLITS]
    if not splits:
        raise DataError(
            f"Expected folders called {', '.join(SPLITS)} with {LOCALIZATION}, here or up to four levels below, but "
            "there are none; fix: check the path, or rename the folder to its split.",
            source,
        )
    owners = {folder.resolve().parent.name.casefold() for folder in splits}
    named = [folder for folder in splits if folder.resolve().parent.name.casefold() == dataset.casefold()]
    # 'CUB/val' says what it belongs to; 'my_boxes/val' does not.
    return named if named and len(owners) > 1 else splits


def _released_name(folder: Path) -> str | None:
    kind = released_annotator(folder)
    return None if kind is None else f"{kind}-released"


def _import(source: Path, target: Path, dataset: str) -> ImportedSet:
    file = read_four_file(source, kind="boxes", outside="clip")
    if file.boxes is None:
        raise DataError("Expected boxes but there are none.", source / LOCALIZATION)
    kind = released_annotator(source)
    write_four_file(target, ids=file.ids, labels=file.labels, boxes=file.boxes, overwrite=True)
    recipe = Recipe(
        annotator=kind or "unknown",
        annotator_version="imported",
        supervision=_SUPERVISION.get(kind or "", "unknown"),
        options={},
        weights={},
        classifier=None,
        dataset=dataset,
        dataset_version="unknown",
        split=target.name,
        images=len(file),
        ids_sha256=ids_sha256(file.ids, file.labels),
        frame=RELEASED_FRAME,
    )
    fallbacks = {kind.value: 0 for kind in Fallback} | {
        Fallback.NONE.value: len(file) - file.num_sentinels,
        Fallback.EMPTY_MASK.value: file.num_sentinels,
    }
    card = Card.of(recipe, boxes_sha256(target), fallbacks=fallbacks, notes=_notes(source, file.num_clipped))
    write_text(target / CARD, card.as_yaml())
    return ImportedSet(target.parent.name, target.name, target, card)


def _notes(source: Path, clipped: int) -> tuple[str, ...]:
    notes = [f"imported from {'/'.join(source.resolve().parts[-3:])}"]
    if clipped:
        notes.append(f"{clipped} boxes reached beyond the last pixel of their image and were cut")
    stated = _stated_iou(source / _STATED)
    if stated is not None:
        notes.append(f"{_STATED} states a mean IoU of {stated:.2f}")
    return tuple(notes)


def _stated_iou(path: Path) -> float | None:
    """The mean IoU in percent that the released folders state, as a fraction or as percent; None where they do not."""
    try:
        found = _NUMBER.search(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None
    if found is None:
        return None
    value = float(found.group())
    return 100 * value if value <= 1 else value
