"""Stanford Cars as unpacked from its archives: the devkit layout or the merged one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.datasets.listed import Corners, Listing
from wsol_bench.datasets.matlab import read_variable
from wsol_bench.datasets.official import OfficialDataset
from wsol_bench.errors import DataError

_CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
_DEVKITS = ("devkit/cars_meta.mat", "stanford_cars/devkit/cars_meta.mat", "car_devkit/devkit/cars_meta.mat")
_WITH_LABELS = "cars_test_annos_withlabels.mat"


class Cars(OfficialDataset):
    """Stanford Cars; a tenth of each training class is held out as val.

    Official coordinates are 1-based with inclusive corners; 1 is subtracted. Boxes that reach outside are clipped.

    Args:
        root: the folder that holds ``devkit``, ``cars_train`` and ``cars_test`` (or ``stanford_cars`` with them), or
            ``cars_annos.mat`` and ``car_ims``.
        metadata: four-file metadata, where somebody made any.
        frame: side in pixels of the square in which maps are scored.
    """

    name = "cars"
    metadata_name = "Cars"
    layout = (
        "cars_train/, cars_test/, devkit/{cars_meta.mat, cars_train_annos.mat}, cars_test_annos_withlabels.mat; or "
        "car_ims/, cars_annos.mat"
    )
    places = (
        ("", ""),
        ("", "stanford_cars/"),
        # Archives unpacked into folders of their own name.
        ("cars_train/", "cars_train/cars_train/"),
        ("cars_test/", "cars_test/cars_test/"),
    )

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        self._merged = self._first_file("cars_annos.mat", "stanford_cars/cars_annos.mat")
        meta = self._merged or self._first_file(*_DEVKITS)
        if meta is None:
            return {}, None
        self._devkit = meta.parent
        names = [str(name) for name in read_variable(meta, "class_names")]
        labels: dict[str, dict[str, int]] = {}
        for split in ("train", "test"):
            path, ids, rows = self._rows(split)
            firewall.protect(path)
            labels[split] = _labels(ids, [int(row["class"]) - 1 for row in rows], len(names), path)
        return self._train_and_val(labels["train"], wanted) | {"test": Listing.of(labels["test"])}, names

    def _rows(self, split: str) -> tuple[Path, list[str], NDArray[Any]]:
        """Returns the annotation file of the official train or test set, its image ids, and its rows."""
        if self._merged is not None:
            fields = ("relative_im_path", "class", "test", *_CORNERS)
            rows = read_variable(self._merged, "annotations", fields=fields)
            part = rows[rows["test"].astype(int) == (split == "test")]
            return self._merged, [str(name) for name in part["relative_im_path"]], part
        path = self._devkit / "cars_train_annos.mat" if split == "train" else _file_with_labels(self._devkit)
        rows = read_variable(path, "annotations", fields=("fname", "class", *_CORNERS))
        return path, [f"cars_{split}/{name}" for name in rows["fname"]], rows

    def _archive_boxes(self, split: str) -> Mapping[str, Sequence[Corners]]:
        _, ids, rows = self._rows("test" if split == "test" else "train")
        boxes: dict[str, list[Corners]] = {}
        for image_id, row in zip(ids, rows, strict=True):
            x0, y0, x1, y1 = (float(row[corner]) - 1 for corner in _CORNERS)
            boxes[image_id] = [(x0, y0, x1, y1)]
        return boxes


def _labels(ids: Sequence[str], labels: Sequence[int], classes: int, path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for image_id, label in zip(ids, labels, strict=True):
        problem = id_problem(image_id) or ("it occurs twice" if image_id in found else None)
        if problem is None and not 0 <= label < classes:
            problem = f"its class is {label + 1} of {classes}"
        if problem is not None:
            raise DataError(f"Expected an image of a known class but got '{image_id}': {problem}.", path)
        found[image_id] = label
    return found


def _file_with_labels(devkit: Path) -> Path:
    for folder in (devkit.parent, devkit, devkit.parent.parent):
        if (folder / _WITH_LABELS).is_file():
            return folder / _WITH_LABELS
    raise DataError(
        f"Expected {_WITH_LABELS} beside or inside the devkit (cars_test_annos.mat has no labels) but it is not there; "
        "fix: get that file too.",
        devkit,
    )
