"""FGVC-Aircraft as unpacked from its archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wsol_bench.annotations import firewall
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.datasets.listed import Corners, Listing
from wsol_bench.datasets.official import OfficialDataset
from wsol_bench.datasets.text_lines import number, read_fields, read_pairs
from wsol_bench.errors import DataError

_BOX_FORM = "image xmin ymin xmax ymax"


class Aircraft(OfficialDataset):
    """FGVC-Aircraft, 100 variants, with its official train, val and test.

    Labels are the lines of ``variants.txt``. Official coordinates are 1-based with inclusive corners; 1 is subtracted.
    The banner at the foot of every photograph is left in: boxes are drawn on the whole file.

    Args:
        root: the folder that holds ``fgvc-aircraft-2013b`` (or is it, or its ``data``).
        metadata: four-file metadata, where somebody made any.
        frame: side in pixels of the square in which maps are scored.
    """

    name = "aircraft"
    metadata_name = "Aircraft"
    layout = "fgvc-aircraft-2013b/data/{variants.txt, images_variant_{train,val,test}.txt, images_box.txt, images/}"
    places = tuple(("", prefix) for prefix in ("fgvc-aircraft-2013b/data/images/", "data/images/", "images/", ""))

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        variants = self._first_file("fgvc-aircraft-2013b/data/variants.txt", "data/variants.txt", "variants.txt")
        if variants is None:
            return {}, None
        self._archive = variants.parent
        firewall.protect(self._archive / "images_box.txt")
        names = list(MetadataLines.read(variants).rows)
        label_of = {name.strip(): label for label, name in enumerate(names)}
        listings = {}
        for split in wanted:
            path = self._archive / f"images_variant_{split}.txt"
            labels = {}
            for line, (image, variant) in enumerate(read_pairs(path, "image variant").items(), 1):
                if variant not in label_of:
                    raise DataError(f"Expected a variant of variants.txt but got '{variant}'.", path, line)
                labels[f"{image}.jpg"] = label_of[variant]
            listings[split] = Listing.of(labels)
        return listings, [name.strip() for name in names]

    def _archive_boxes(self, split: str) -> Mapping[str, Sequence[Corners]]:
        path = self._archive / "images_box.txt"
        boxes: dict[str, list[Corners]] = {}
        for image, *fields in read_fields(path, _BOX_FORM):
            x0, y0, x1, y1 = (number(text, f"a field of '{_BOX_FORM}'", path) - 1 for text in fields)
            boxes.setdefault(f"{image}.jpg", []).append((x0, y0, x1, y1))
        return boxes
