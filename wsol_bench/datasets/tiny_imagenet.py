"""Tiny-ImageNet in its official layout: 64x64 photographs, one manual box each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.datasets.base import SPLITS, Dataset, Split
from wsol_bench.datasets.hold_out import by_digest
from wsol_bench.datasets.images import decode_rgb, files_fingerprint, safe_join
from wsol_bench.errors import DataError, UsageError, unknown_choice

SIDE = 64
VAL_PER_CLASS = 50
SMALL_CLASS = 100
"""Classes with fewer training images than this give a tenth of them to ``val`` instead of ``VAL_PER_CLASS``."""

_VAL_ANNOTATIONS = Path("val") / "val_annotations.txt"
_LAYOUT = "wnids.txt, train/<wnid>/images/*.JPEG, train/<wnid>/<wnid>_boxes.txt, val/images, val/val_annotations.txt"


class TinyImageNet(Dataset):
    """Tiny-ImageNet, or any subset of its classes, as unpacked from ``tiny-imagenet-200.zip``.

    Splits: the official val set becomes ``test`` (the official test set has no labels). Of the training images of each
    class, the 50 whose file names have the smallest SHA-256 become ``val``, so the choice is spread over the class,
    needs no seed, and does not depend on other classes; the rest is ``train``. A class with fewer than 100 training
    images gives a tenth, at least one. With ``train`` a class keeps those images that come next in that order.

    Labels are ranks in the sorted WordNet ids, class names the first synonym of ``words.txt``. Ids are paths under the
    root.

    Boxes are inclusive corners ``x0, y0, x1, y1``. Some two hundred are reversed or have no extent in the official
    files; reversed corners are put in order and a box without extent is one pixel wide, so that every image keeps its
    box.

    Labels of ``test`` stand in the same file as its boxes. That file is read here, once, for the labels alone; from
    then on the firewall keeps it shut while training runs.

    Args:
        root: the folder that holds ``wnids.txt``.
        train: images per class in ``train``, at most; all by default. ``val`` and ``test`` stay whole.

    Raises:
        DataError: a folder or file of the layout is missing or malformed.
        UsageError: ``train`` is not positive.
    """

    name: ClassVar[str] = "tiny-imagenet"
    frame = SIDE

    def __init__(self, root: Path, train: int | None = None) -> None:
        if train is not None and train < 1:
            raise UsageError(f"Expected {self.name}:train to be at least 1 but got {train}.")
        root = Path(root)
        _check_layout(root)
        self.root: Path = root
        self._wnids = _read_wnids(root)
        self.class_names = _read_names(root, self._wnids)
        self._splits = {"test": self._official_val()} | self._official_train(train)
        self.version = f"1-{self._digest()}"
        for wnid in self._wnids:
            firewall.protect(_train_boxes(root, wnid))
        firewall.protect(root / _VAL_ANNOTATIONS)

    def split(self, name: str) -> Split:
        """Returns ids and labels of ``train``, ``val`` or ``test``."""
        if name not in SPLITS:
            raise unknown_choice("split", name, SPLITS)
        return self._splits[name]

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        """Returns one image, ``[64, 64, 3]`` RGB uint8.

        Raises:
            DataError: the file is missing, damaged, or not of 64x64 pixels.
        """
        path = self.image_path(split, index)
        image = decode_rgb(path)
        if image.shape != (SIDE, SIDE, 3):
            raise DataError(f"Expected an image of {SIDE}x{SIDE} but got {image.shape[1]}x{image.shape[0]}.", path)
        return image

    def image_path(self, split: str, index: int) -> Path:
        """Returns the file of an image."""
        return safe_join(self.root, self.split(split).ids[index])

    def fingerprint(self, split: str) -> str:
        """Returns a hash over the split and the sizes and times of its files."""
        return f"{super().fingerprint(split)}-{files_fingerprint(self.root, self.split(split).ids)}"

    def _read_ground_truth(self, split: str) -> BoxSet:
        ids = self.split(split).ids
        boxes: dict[str, list[tuple[int, int, int, int]]] = {}
        if split == "test":
            for _, image_id, _, box in _read_val_annotations(self.root):
                boxes[image_id] = [box]
        else:
            for wnid in self._wnids:
                boxes.update((image_id, [box]) for image_id, box in _read_train_boxes(self.root, wnid))
        missing = [image_id for image_id in ids if image_id not in boxes]
        if missing:
            raise DataError(
                f"Expected a box for each of {len(ids)} images of '{split}' but {len(missing)} have none, first "
                f"'{missing[0]}'; fix: unpack the archive again.",
                self.root,
            )
        return BoxSet.from_mapping({image_id: boxes[image_id] for image_id in ids}, dict.fromkeys(ids, (SIDE, SIDE)))

    def _official_train(self, per_class: int | None) -> dict[str, Split]:
        ids: dict[str, list[str]] = {"train": [], "val": []}
        labels: dict[str, list[int]] = {"train": [], "val": []}
        for label, wnid in enumerate(self._wnids):
            files = _list_images(self.root / "train" / wnid / "images")
            shuffled = by_digest(files)
            count = VAL_PER_CLASS if len(files) >= SMALL_CLASS else max(1, len(files) // 10)
            rest = shuffled[count:][:per_class]
            for split, chosen in (("val", shuffled[:count]), ("train", rest)):
                ids[split] += [f"train/{wnid}/images/{file}" for file in sorted(chosen)]
                labels[split] += [label] * len(chosen)
        return {name: Split(name, tuple(ids[name]), np.array(labels[name], dtype=np.int64)) for name in ids}

    def _official_val(self) -> Split:
        label_of = {wnid: label for label, wnid in enumerate(self._wnids)}
        ids: dict[str, int] = {}
        for line, image_id, wnid, _ in _read_val_annotations(self.root):
            path = self.root / _VAL_ANNOTATIONS
            if wnid not in label_of:
                raise DataError(f"Expected a class of wnids.txt but got '{wnid}'.", path, line)
            if image_id in ids:
                raise DataError(f"Expected every image once but got '{image_id}' again.", path, line)
            ids[image_id] = label_of[wnid]
        return Split("test", tuple(ids), np.array(list(ids.values()), dtype=np.int64))

    def _digest(self) -> str:
        digest = hashlib.sha256("\n".join(self._wnids).encode())
        for name in SPLITS:
            digest.update("\n".join(self._splits[name].ids).encode())
            digest.update(self._splits[name].labels.tobytes())
        return digest.hexdigest()[:8]


def _check_layout(root: Path) -> None:
    for part in ("wnids.txt", "train", "val/images", str(_VAL_ANNOTATIONS)):
        if not (root / part).exists():
            nested = next((child.parent for child in root.glob("*/wnids.txt")), None)
            fix = f"pass --root {nested}" if nested else "pass the folder that holds wnids.txt with --root"
            raise DataError(
                f"Expected Tiny-ImageNet in its official layout ({_LAYOUT}) but '{part}' is missing; fix: unpack "
                f"tiny-imagenet-200.zip and {fix}.",
                root,
            )


def _read_wnids(root: Path) -> tuple[str, ...]:
    path = root / "wnids.txt"
    wnids = [wnid for _, (wnid,) in _fields(path, "wnid")]
    if not wnids or len(set(wnids)) != len(wnids):
        raise DataError(f"Expected distinct WordNet ids but got {len(wnids)}, {len(set(wnids))} distinct.", path)
    return tuple(sorted(wnids))


def _read_names(root: Path, wnids: tuple[str, ...]) -> tuple[str, ...]:
    path = root / "words.txt"
    if not path.exists():
        return wnids
    glosses = {wnid: gloss for _, (wnid, gloss) in _fields(path, "wnid\tgloss")}
    return tuple(glosses.get(wnid, wnid).split(",")[0].strip() for wnid in wnids)


def _list_images(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            files = sorted(entry.name for entry in entries if entry.name.lower().endswith((".jpeg", ".jpg", ".png")))
    except OSError as error:
        raise DataError(
            f"Expected a folder with the training images of a class but got: {error.strerror}.", folder
        ) from error
    if len(files) < 2:
        raise DataError(f"Expected at least 2 training images (one becomes val) but got {len(files)}.", folder)
    return files


def _train_boxes(root: Path, wnid: str) -> Path:
    return root / "train" / wnid / f"{wnid}_boxes.txt"


def _read_train_boxes(root: Path, wnid: str) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    path = _train_boxes(root, wnid)
    for line, (file, *corners) in _fields(path, "file\tx0\ty0\tx1\ty1"):
        yield f"train/{wnid}/images/{file}", _box(corners, path, line)


def _read_val_annotations(root: Path) -> Iterator[tuple[int, str, str, tuple[int, int, int, int]]]:
    path = root / _VAL_ANNOTATIONS
    for line, (file, wnid, *corners) in _fields(path, "file\twnid\tx0\ty0\tx1\ty1"):
        image_id = f"val/images/{file}"
        problem = id_problem(image_id)
        if problem is not None:
            raise DataError(f"Expected an image file but got '{file}': {problem}.", path, line)
        yield line, image_id, wnid, _box(corners, path, line)


def _box(corners: list[str], path: Path, line: int) -> tuple[int, int, int, int]:
    try:
        x0, y0, x1, y1 = (int(corner) for corner in corners)
    except ValueError:
        raise DataError(f"Expected integers x0 y0 x1 y1 but got '{' '.join(corners)}'.", path, line) from None
    if not all(0 <= corner < SIDE for corner in (x0, y0, x1, y1)):
        raise DataError(f"Expected corners within 0..{SIDE - 1} but got {x0} {y0} {x1} {y1}.", path, line)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _fields(path: Path, form: str) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and tab-separated fields of the lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"Expected lines '{form}' but got: {error.strerror}.", path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"Expected UTF-8 text but got: {error.reason}.", path) from error
    count = form.count("\t") + 1
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        fields = row.rstrip("\r").split("\t")
        if len(fields) != count:
            expected = form.replace("\t", "<TAB>")
            raise DataError(f"Expected '{expected}' but got {len(fields)} of {count} fields.", path, line)
        yield line, fields
