from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import read_four_file, write_four_file
from wsol_bench.annotations.sources import parse_source
from wsol_bench.annotators.card import problem_with, read_card
from wsol_bench.errors import DataError, UsageError
from wsol_bench.workflow.annotate_import import import_boxes
from wsol_bench.workflow.workspace import Workspace

RELEASED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "released-pseudo-boxes"
NAMES = (
    "metadata_generated_by_selective_search_bboxs",
    "metadata_generated_by_rpn_bboxs",
    "metadata_generated_by_clip_maps",
)
CUB = "folder:name=cub"


def write(folder: Path, stated: str | None = None) -> Path:
    """Three images: an ordinary box, one that reaches x1 = W, and nothing found."""
    sizes = dict.fromkeys("abc", (100, 80))
    boxes = BoxSet.from_mapping({"a": [(1, 2, 30, 40)], "b": [(5, 5, 99, 79)], "c": [(0, 0, 0, 0)]}, sizes)
    write_four_file(folder, ids=boxes.ids, labels=[0, 1, 1], boxes=boxes)
    path = folder / "localization.txt"
    path.write_text(path.read_text().replace("b,5,5,99,79", "b,5,5,100,80").rstrip("\n"))
    if stated is not None:
        (folder / "localization_iou.txt").write_text(f"IoU Performance: {stated}\n")
    return folder


def test_released_folders_are_recognised_and_read_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "folds" / "wsol-done-right-pseduo-splits"
    for name, stated in zip(NAMES, ("0.3998", "0.71342", "68.8075"), strict=True):
        write(root / name / "CUB" / "val", stated)
        write(root / name / "ILSVRC" / "val")
    workspace = Workspace(tmp_path / "w")
    done = import_boxes(root, CUB, workspace)
    assert [(one.name, one.split) for one in done] == [
        ("clip-released", "val"),
        ("rpn-released", "val"),
        ("ss-released", "val"),
    ]
    assert [one.card.recipe.supervision for one in done] == [
        "image-text pairs",
        "class-agnostic boxes of another dataset",
        "none",
    ]
    for one, stated in zip(done, ("68.81", "71.34", "39.98"), strict=True):
        assert one.card.notes == (
            f"imported from {NAMES[('ss-released', 'rpn-released', 'clip-released').index(one.name)]}/CUB/val",
            "1 boxes reached beyond the last pixel of their image and were cut",
            f"localization_iou.txt states a mean IoU of {stated}",
        )
        assert one.card.fallbacks["empty_mask"] == 1 and one.card.fallbacks["none"] == 2
        read = read_four_file(one.folder)
        assert read.boxes is not None and read.boxes.boxes.tolist() == [[1, 2, 30, 40], [5, 5, 99, 79], [0, 0, 0, 0]]
        assert problem_with(one.folder) is None and read_card(one.folder) == one.card
    found = parse_source("pseudo=clip-released", dataset="cub", pseudo_roots=[workspace.pseudo_boxes(CUB)])
    assert found.kind == "pseudo" and found.key == "pseudo:clip-released"


def test_boxes_of_ones_own_need_a_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine" / "val")
    workspace = Workspace(tmp_path / "w")
    with pytest.raises(UsageError, match="Expected --name for the boxes in"):
        import_boxes(tmp_path / "mine", CUB, workspace)
    (done,) = import_boxes(folder, CUB, workspace, name="mine")
    assert done.folder == workspace.pseudo_boxes(CUB) / "cub" / "mine" / "val"
    assert done.card.recipe.supervision == "unknown" and len(done.card.notes) == 2
    assert import_boxes(folder, CUB, workspace, name="mine")[0].card == done.card, "again is fine"


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x" / "one" / "val")
    write(tmp_path / "x" / "two" / "val")
    with pytest.raises(UsageError, match="Expected one set 'mine' but got"):
        import_boxes(tmp_path / "x", CUB, Workspace(tmp_path / "w"), name="mine")
    assert not (tmp_path / "w").exists(), "nothing is half imported"


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    with pytest.raises(DataError, match="up to four levels below, but there are none"):
        import_boxes(tmp_path, CUB, workspace, name="mine")
    folder = write(tmp_path / "mine" / "val")
    (folder / "localization.txt").write_text("a,1,2,three,4\n")
    with pytest.raises(DataError, match=r"localization\.txt:1"):
        import_boxes(folder, CUB, workspace, name="mine")
    shutil.move(folder, tmp_path / "mine" / "somewhere")
    with pytest.raises(DataError, match="rename the folder to its split"):
        import_boxes(tmp_path / "mine", CUB, workspace, name="mine")


@pytest.mark.skipif(not RELEASED.is_dir(), reason="the released pseudo-boxes are not here")
def test_the_real_files(tmp_path: Path) -> None:
    done = {one.name: one.card for one in import_boxes(RELEASED, CUB, Workspace(tmp_path))}
    assert set(done) == {"ss-released", "rpn-released", "clip-released"}
    assert all(card.recipe.images == 1000 for card in done.values())
    assert "82 boxes reached beyond" in done["rpn-released"].notes[1]
    assert done["clip-released"].fallbacks["empty_mask"] == 7
    assert [card.notes[-1][-5:] for card in done.values()] == ["68.81", "71.34", "39.99"]
