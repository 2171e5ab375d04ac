from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from test_annotate_quality import DATASET, SPLIT, TRUTH, _outcome, write

from wsol_bench.annotations import firewall
from wsol_bench.annotators.base import AnnotatedImage, Fallback
from wsol_bench.datasets.contact_sheet import COLOURS
from wsol_bench.errors import DataError, UsageError
from wsol_bench.workflow.annotate_sheet import write_annotation_sheet


def colours(path: Path) -> set[str]:
    with Image.open(path) as image:
        seen = {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    return {colour for colour in COLOURS if ImageColor.getrgb(colour) in seen}


def test_a_funnel_shows_its_steps(tmp_path: Path) -> None:
    images = [AnnotatedImage(i, TRUTH[n], Fallback.NONE, _outcome(n)) for n, i in enumerate(SPLIT.ids)]
    folder = write(tmp_path, "perfect", images)
    out = tmp_path / "sheet.png"
    with firewall.ledger() as book:
        assert write_annotation_sheet(DATASET, "val", folder, 3, out, ground_truth=False) == 3
        assert book.supervision() == "none"
    # Survivors lie under final boxes here, so their colour is in the legend only.
    assert colours(out) == set(COLOURS[:4])
    with firewall.ledger() as book:
        assert write_annotation_sheet(DATASET, "val", folder, 99, out) == 4
        assert book.supervision() == "gt:val"
    assert colours(out) == set(COLOURS[:5])


def test_a_map_shows_itself(tmp_path: Path) -> None:
    heat = np.linspace(0, 1, 64, dtype=np.float16).reshape(8, 8)
    images = [AnnotatedImage(i, TRUTH[n], map=heat) for n, i in enumerate(SPLIT.ids)]
    images[0] = AnnotatedImage(
        SPLIT.ids[0], np.zeros(4, np.int32), Fallback.EMPTY_MASK, map=np.zeros((8, 8), np.float16)
    )
    out = tmp_path / "sheet.png"
    write_annotation_sheet(DATASET, "val", write(tmp_path, "mapped", images), 4, out)
    assert colours(out) == set(COLOURS[:2])
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    cell = pixels[6:230, 6 + 230 : 6 + 230 + 224]
    assert cell[:40, :, 2].mean() > cell[:40, :, 0].mean(), "blue where the map is low"
    assert cell[-40:, :, 0].mean() > cell[-40:, :, 2].mean(), "red where it is high"


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    folder = write(tmp_path, "mapped", [AnnotatedImage(i, TRUTH[n]) for n, i in enumerate(SPLIT.ids)])
    with pytest.raises(UsageError, match="suffix of --out"):
        write_annotation_sheet(DATASET, "val", folder, 4, tmp_path / "sheet.gif")
    with pytest.raises(UsageError, match="--count of at least 1"):
        write_annotation_sheet(DATASET, "val", folder, 0, tmp_path / "sheet.png")
    with pytest.raises(DataError, match=r"card\.yaml"):
        write_annotation_sheet(DATASET, "val", tmp_path / "nothing", 4, tmp_path / "sheet.png")
    for chunk in folder.with_name("val.funnel").iterdir():
        chunk.unlink()
    with pytest.raises(DataError, match="they stay where the boxes were made"):
        write_annotation_sheet(DATASET, "val", folder, 4, tmp_path / "sheet.png")
