"""Miniatures of the field's datasets: synthetic images in the official layouts, to try commands and test readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotations.masks import MaskTable

WIDTH, HEIGHT = 40, 30
BOX = (8, 6, 27, 20)
"""Corners of the object in every miniature image: inclusive, 0-based."""

_WNIDS = ("n01440764", "n01443537", "n02085620")
_BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")


def picture(seed: int) -> Image.Image:
    """Returns an image of 40 x 30 pixels, noise with a bright object in :data:`BOX`; every seed gives another one."""
    pixels = np.random.default_rng(seed).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    x0, y0, x1, y1 = BOX
    pixels[y0 : y1 + 1, x0 : x1 + 1] += 120
    return Image.fromarray(pixels)


def object_mask(value: int = 1) -> NDArray[np.uint8]:
    """Returns ``[30, 40]`` uint8 with ``value`` in :data:`BOX`."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    x0, y0, x1, y1 = BOX
    mask[y0 : y1 + 1, x0 : x1 + 1] = value
    return mask


class _Writer:
    """Writes images under a root; no two of them are alike."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self._seed = seed

    def image(self, name: str) -> None:
        self._seed += 1
        self.file(name, picture(self._seed).save)

    def mask(self, name: str, mask: NDArray[np.uint8]) -> None:
        self.file(name, Image.fromarray(mask).save)

    def text(self, name: str, text: str) -> None:
        self.file(name, lambda path: path.write_text(text, encoding="utf-8"))

    def mat(self, name: str, content: dict[str, Any]) -> None:
        import scipy.io

        self.file(name, lambda path: scipy.io.savemat(str(path), content))

    def file(self, name: str, write: Callable[[Path], object]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)


def cub(root: Path) -> None:
    """Three birds: 4 train and 2 test images each, and one CUBV2 photograph with metadata in ``metadata/val``."""
    writer = _Writer(root, 1000)
    x0, y0, x1, y1 = BOX
    images, classes, splits, boxes = [], [], [], []
    number = 0
    for label, bird in enumerate(_BIRDS):
        for i in range(6):
            number += 1
            image_id = f"{bird}/{bird[4:]}_{i:04}_{number}.jpg"
            writer.image(f"CUB_200_2011/images/{image_id}")
            images.append(f"{number} {image_id}\n")
            classes.append(f"{number} {label + 1}\n")
            splits.append(f"{number} {int(i < 4)}\n")
            boxes.append(f"{number} {x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0\n")
        writer.image(f"CUBV2/{bird}/3010731611{label}.jpg")
    for name, lines in (
        ("images", images),
        ("image_class_labels", classes),
        ("train_test_split", splits),
        ("bounding_boxes", boxes),
        ("classes", [f"{label + 1} {bird}\n" for label, bird in enumerate(_BIRDS)]),
    ):
        writer.text(f"CUB_200_2011/{name}.txt", "".join(lines))
    ids = [f"{bird}/3010731611{label}.jpg" for label, bird in enumerate(_BIRDS)]
    _four_files(root / "metadata" / "val", ids, [0, 1, 2])


def ilsvrc(root: Path) -> None:
    """Three classes: 3 train and 2 test images each (boxes in XML), one of ImageNetV2 named by hash, with metadata."""
    writer = _Writer(root, 2000)
    mapping = []
    for label, wnid in enumerate(_WNIDS):
        for i in range(3):
            writer.image(f"train/{wnid}/{wnid}_{i}.JPEG")
        for i in range(2):
            number = 2 * label + i + 1
            writer.image(f"val/ILSVRC2012_val_{number:08}.JPEG")
            writer.text(f"bbox_val/val/ILSVRC2012_val_{number:08}.xml", _voc(wnid, [BOX] * (i + 1)))
        writer.image(f"imagenetv2-threshold0.7-format-val/{label}/{label}a31041fd.jpeg")
        mapping.append(f"{label}/0.jpeg, {label}/{label}a31041fd.jpeg\n")
    _four_files(root / "metadata" / "val", [f"val2/{label}/0.jpeg" for label in range(3)], [0, 1, 2])
    writer.text("metadata/val/mapping.txt", "".join(mapping))


def cars(root: Path) -> None:
    """Two cars, one with a slash in its name: 4 train and 2 test images each, in the devkit layout."""
    writer = _Writer(root, 3000)
    names = np.array(["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"], dtype=object)
    writer.mat("devkit/cars_meta.mat", {"class_names": names})
    for split, per_class, file in (
        ("train", 4, "devkit/cars_train_annos.mat"),
        ("test", 2, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for i in range(2 * per_class):
            writer.image(f"cars_{split}/{i + 1:05}.jpg")
            rows.append((*(corner + 1 for corner in BOX), i % 2 + 1, f"{i + 1:05}.jpg"))
        writer.mat(file, {"annotations": _struct(["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"], rows)})


def dogs(root: Path) -> None:
    """Two breeds: 4 train and 2 test images each; every second test image shows two dogs."""
    writer = _Writer(root, 4000)
    for split, numbers in (("train", range(4)), ("test", range(4, 6))):
        files, labels = [], []
        for label, breed in enumerate(("n02085620-Chihuahua", "n02116738-African_hunting_dog")):
            for i in numbers:
                stem = f"{breed}/{breed[:9]}_{i}"
                writer.image(f"Images/{stem}.jpg")
                writer.text(f"Annotation/{stem}", _voc(breed.partition("-")[2], [BOX] * (2 if i == 5 else 1)))
                files.append(f"{stem}.jpg")
                labels.append(label + 1)
        cells = np.array(files, dtype=object).reshape(-1, 1)
        writer.mat(f"{split}_list.mat", {"file_list": cells, "labels": np.array(labels, np.uint8).reshape(-1, 1)})


def aircraft(root: Path) -> None:
    """Two variants, one with a slash in its name: 2 images each in train, val and test."""
    writer = _Writer(root, 5000)
    top = "fgvc-aircraft-2013b/data"
    variants = ("707-320", "F/A-18")
    boxes = []
    number = 34309
    for split in ("train", "val", "test"):
        lines = []
        for variant in variants:
            for _ in range(2):
                number += 1
                writer.image(f"{top}/images/{number:07}.jpg")
                lines.append(f"{number:07} {variant}\n")
                boxes.append(f"{number:07} {' '.join(str(corner + 1) for corner in BOX)}\n")
        writer.text(f"{top}/images_variant_{split}.txt", "".join(lines))
    writer.text(f"{top}/images_box.txt", "".join(boxes))
    writer.text(f"{top}/variants.txt", "".join(f"{variant}\n" for variant in variants))


def glas(root: Path) -> None:
    """Four train, two testA and two testB images; masks hold gland numbers."""
    writer = _Writer(root, 6000)
    top = "Warwick QU Dataset (Released 2016_07_08)"
    lines = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\n"]
    for part, count in (("testA", 2), ("testB", 2), ("train", 4)):
        for i in range(count):
            name = f"{part}_{i + 1}"
            writer.image(f"{top}/{name}.bmp")
            writer.mask(f"{top}/{name}_anno.bmp", object_mask(i + 1))
            grade = ("benign", "malignant")[i % 2]
            lines.append(f"{name},{i + 1}, {grade}, {('adenomatous', 'moderately differentiated')[i % 2]}\n")
    writer.text(f"{top}/Grade.csv", "".join(lines))


def camelyon16(root: Path) -> None:
    """One tumour patch with a mask and one normal patch without, per split, and the split files in ``metadata``."""
    writer = _Writer(root, 7000)
    top = "camelyon16/w-512xh-512"
    for folder, slides, normal in (
        ("train", "training", "split_0/fold_0/train"),
        ("valcl", "training", "split_0/fold_0/valid"),
        ("test", "testing", "split_1/fold_0/test"),
    ):
        tumour = f"{top}/metastatic-patches/{slides}/tumor/tumor_009/Patch_{folder}_metastatic_1.0_w_512_h_512"
        healthy = f"{top}/normal-patches/{normal}/Patch_{folder}_normal_w_512_h_512.png"
        mask = f"{tumour.replace('/Patch_', '/mask_')}.png"
        writer.image(f"{tumour}.png")
        writer.mask(mask, object_mask(255))
        writer.image(healthy)
        _four_files(root / "metadata" / folder, [f"{tumour}.png", healthy], [1, 0], masks=[[mask], []])


def openimages(root: Path) -> None:
    """Two classes, 2 images each and split; the second has two instances, all of val and test have an ignore file."""
    writer = _Writer(root, 8000)
    for split in ("train", "val", "test"):
        for mid in ("01226z", "0bt_c3"):
            for i in range(2):
                stem = f"{split}/{mid}/{i}cd9ac0169ec7df0"
                writer.image(f"{stem}.jpg")
                if split == "train":
                    continue
                for instance in range(i + 1):
                    inside = Image.fromarray(object_mask(255)).convert("1")
                    writer.file(f"{stem}_m{mid}_6932e99{instance}.png", inside.save)
                ignored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
                ignored[:5] = ignored[18:22] = 255
                writer.mask(f"{stem}_ignore.png", ignored)


MINIATURES: dict[str, Callable[[Path], None]] = {
    writer.__name__: writer for writer in (aircraft, camelyon16, cars, cub, dogs, glas, ilsvrc, openimages)
}
"""Function that writes the miniature of each official dataset under a root."""


def _four_files(folder: Path, ids: Sequence[str], labels: Sequence[int], masks: list[list[str]] | None = None) -> None:
    sizes = dict.fromkeys(ids, (WIDTH, HEIGHT))
    if masks is not None:
        table = MaskTable.from_lists(tuple(ids), masks, ("",) * len(ids))
        write_four_file(folder, ids=ids, labels=labels, masks=table)
    else:
        write_four_file(folder, ids=ids, labels=labels, boxes=BoxSet.from_mapping({i: [BOX] for i in ids}, sizes))


def _voc(name: str, boxes: Sequence[tuple[int, int, int, int]]) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for x0, y0, x1, y1 in boxes
    )
    return f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{objects}</annotation>\n"


def _struct(fields: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> NDArray[Any]:
    """Returns a MATLAB struct array ``[1, N]``."""
    made = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for i, row in enumerate(rows):
        made[0, i] = row
    return made
