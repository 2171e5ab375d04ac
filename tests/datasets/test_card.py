from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.datasets.card import card_names, read_card
from wsol_bench.datasets.cub import Cub
from wsol_bench.datasets.ilsvrc import Ilsvrc
from wsol_bench.datasets.official import OfficialDataset
from wsol_bench.datasets.open_images import OpenImages
from wsol_bench.registry import DATASETS

METADATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "wsol-metadata"


@pytest.mark.parametrize("name", card_names())
def test_cards_are_of_registered_datasets_and_complete(name: str) -> None:
    card = read_card(name)
    assert card is not None and name in DATASETS and {"test"} <= set(card.splits)
    for archive in card.archives:
        assert (archive.url or archive.page) and archive.marker
        assert archive.md5 or "no checksum" in archive.note
    assert read_card("critters") is None


def test_every_dataset_has_a_section_in_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    missing = [name for name in DATASETS.names() if f"\n## {name}\n" not in text]
    assert not missing


@pytest.mark.parametrize(
    ("dataset_class", "folder", "splits"),
    [
        (Cub, "CUB", ("train", "val", "test")),
        (Ilsvrc, "ILSVRC", ("val", "test")),
        (OpenImages, "OpenImages", ("val", "test")),
    ],
    ids=("cub", "ilsvrc", "openimages"),
)
@pytest.mark.skipif(not METADATA.is_dir(), reason="the field's metadata is not beside this checkout")
def test_the_fields_metadata_has_the_counts_of_the_card(
    tmp_path: Path, dataset_class: type[OfficialDataset], folder: str, splits: tuple[str, ...]
) -> None:
    dataset, card = dataset_class(tmp_path, METADATA / folder), read_card(dataset_class.name)
    assert card is not None and dataset.num_classes == card.classes
    for split in splits:
        facts, part = card.splits[split], dataset.split(split)  # type: ignore[index]
        per_class = np.bincount(part.labels)
        assert (len(part),) == facts.images and (per_class.min(), per_class.max()) == facts.per_class
        with firewall.judging("a test"):
            truth = dataset.ground_truth_masks(split) if dataset.masks else dataset.ground_truth(split)
        counts = truth.counts if dataset.masks else np.diff(truth.offsets)  # type: ignore[union-attr]
        assert (counts.sum(), (counts > 1).sum()) == (facts.masks or facts.boxes, facts.several)
        assert counts.min() >= 1
        if dataset.masks:
            assert truth.has_ignore.all()  # type: ignore[union-attr]
