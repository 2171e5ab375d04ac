from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotations.noise import noisy_boxes
from wsol_bench.annotations.sources import AnnotationSource, load_boxes, load_source, named_sources, parse_source
from wsol_bench.errors import DataError, FirewallError, UsageError

IDS = ("a.jpg", "b.jpg", "c.jpg")


@dataclass
class _Split:
    ids: tuple[str, ...] = IDS


@dataclass
class _Toy:
    name: str = "toy"
    splits: dict[str, _Split] = field(default_factory=lambda: {"val": _Split(), "test": _Split(("t.jpg",))})

    def split(self, name: str) -> _Split:
        return self.splits[name]

    def ground_truth(self, split: str) -> BoxSet:
        firewall.read("gt", split)
        return _boxes(self.splits[split].ids, 1)


def _boxes(ids: tuple[str, ...], x0: int) -> BoxSet:
    return BoxSet.from_mapping({image_id: [(x0, 0, 9, 9)] for image_id in ids}, dict.fromkeys(ids, (10, 10)))


def _write(folder: Path, ids: tuple[str, ...] = IDS, x0: int = 2) -> Path:
    write_four_file(folder, ids=ids, labels=np.zeros(len(ids), int), boxes=_boxes(ids, x0))
    return folder


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    for i, root in enumerate(("workspace", "shipped")):
        _write(tmp_path / root / "toy" / "ss" / "val", x0=2 + i)
    _write(tmp_path / "shipped" / "toy" / "clip" / "val", x0=5)
    (tmp_path / "shipped" / "toy" / "half-made").mkdir()
    (tmp_path / "shipped" / "toy" / "README.md").write_text("not a source")
    return [tmp_path / "workspace", tmp_path / "shipped", tmp_path / "absent"]


def test_named_sources_of_several_roots(roots: list[Path]) -> None:
    assert named_sources("toy", roots) == {"ss": roots[0] / "toy" / "ss", "clip": roots[1] / "toy" / "clip"}
    assert named_sources("other", roots) == {}


@pytest.mark.parametrize("text", ["ss", "pseudo=ss"])
def test_loads_named_pseudo_boxes(roots: list[Path], text: str) -> None:
    with firewall.ledger() as book:
        boxes = load_boxes(_Toy(), "val", text, pseudo_roots=roots)
    assert boxes.ids == IDS and boxes.boxes[0].tolist() == [2, 0, 9, 9]
    assert book.supervision() == "pseudo:ss"


def test_loads_ground_truth_for_judges_only() -> None:
    with pytest.raises(FirewallError):
        load_boxes(_Toy(), "val", "gt")
    with firewall.ledger() as book, firewall.judging("test"):
        loaded = load_source(_Toy(), "val", "gt", ids=["c.jpg"])
    assert loaded.boxes.ids == ("c.jpg",) and loaded.source.key == "gt"
    assert book.supervision() == "gt:val"


def test_noise_is_made_from_ground_truth_and_says_so() -> None:
    with pytest.raises(FirewallError):
        load_boxes(_Toy(), "val", "noise:25")
    with firewall.ledger() as book, firewall.judging("test"):
        loaded = load_source(_Toy(), "val", "noise:25", ids=["c.jpg", "a.jpg"])
        clean = load_boxes(_Toy(), "val", "gt", ids=["c.jpg", "a.jpg"])
    assert (loaded.source.kind, loaded.source.name, loaded.source.key) == ("noise", "noise:25", "gt:noise:25")
    assert np.array_equal(loaded.boxes.boxes, noisy_boxes(clean, 0.25).boxes)
    assert not np.array_equal(loaded.boxes.boxes, clean.boxes)
    assert book.supervision() == "gt:noise:25+gt:val"


@pytest.mark.parametrize(
    ("text", "name"), [("noise:05", "noise:5"), ("noise:50", "noise:50"), ("noise:2.5", "noise:2.5")]
)
def test_levels_of_noise(text: str, name: str) -> None:
    source = parse_source(text, dataset="toy")
    assert source == AnnotationSource("noise", name, level=float(name.removeprefix("noise:")) / 100)


@pytest.mark.parametrize("text", ["noise:", "noise:much", "noise:0", "noise:51", "noise:-5", "noise:nan"])
def test_no_such_level_of_noise(text: str) -> None:
    with pytest.raises(UsageError, match=rf"above 0 and up to 50 but got '{text}'; fix: 'noise:25'"):
        parse_source(text, dataset="toy")


def test_loads_any_folder(tmp_path: Path) -> None:
    with firewall.ledger() as book:
        for folder in (
            _write(tmp_path / "mine"),
            _write(tmp_path / "with_split" / "val").parent,
            _write(tmp_path / "with_dataset" / "TOY" / "val").parent.parent,
            tmp_path / "with_dataset" / "TOY" / "val",
        ):
            assert load_boxes(_Toy(), "val", str(folder)).ids == IDS
    assert [access.source for access in book.accesses] == [
        "folder:mine",
        "folder:with_split",
        "folder:with_dataset",
        "folder:with_dataset",
    ]


def test_prefers_the_folder_of_the_dataset(tmp_path: Path) -> None:
    for dataset, x0 in (("Toy", 3), ("Other", 4)):
        _write(tmp_path / "boxes" / dataset / "val", x0=x0)
    assert load_boxes(_Toy(), "val", str(tmp_path / "boxes")).boxes[0, 0] == 3
    with pytest.raises(DataError, match=r"Expected one folder for 'val' but got .*Other.*Toy"):
        load_boxes(_Toy(name="third"), "val", str(tmp_path / "boxes"))


def test_subset_and_order_of_ids(roots: list[Path]) -> None:
    loaded = load_source(_Toy(), "val", "clip", pseudo_roots=roots, ids=["c.jpg", "a.jpg"])
    assert loaded.boxes.ids == ("c.jpg", "a.jpg")


def test_clips_and_counts(tmp_path: Path) -> None:
    folder = _write(tmp_path / "rpn")
    (folder / "localization.txt").write_text("a.jpg,0,0,10,10\nb.jpg,0,0,0,0\nc.jpg,1,1,5,5\n")
    loaded = load_source(_Toy(), "val", str(folder))
    assert loaded.boxes.boxes.tolist() == [[0, 0, 9, 9], [0, 0, 0, 0], [1, 1, 5, 5]]
    assert (loaded.num_clipped, loaded.num_sentinels) == (1, 1)


def test_ground_truth_under_another_name_is_ground_truth(tmp_path: Path) -> None:
    folder = _write(tmp_path / "looks_harmless" / "val")
    firewall.protect(folder / "localization.txt")
    (tmp_path / "alias").symlink_to(folder.parent)
    for path in (folder, tmp_path / "alias"):
        with pytest.raises(FirewallError):
            load_boxes(_Toy(), "val", str(path))
        with firewall.ledger() as book, firewall.judging("test"):
            assert load_source(_Toy(), "val", str(path)).source.kind == "gt"
        assert book.supervision() == "gt:val"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sss", "Did you mean 'ss'. Pseudo-boxes of toy: clip, ss"),
        ("pseudo=rpm", "got 'pseudo=rpm'"),
        ("", "got ''"),
        ("no/such/folder", "no folder 'no/such/folder'"),
    ],
)
def test_unknown_sources_list_the_known_ones(roots: list[Path], text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_source(text, dataset="toy", pseudo_roots=roots)


def test_without_any_pseudo_boxes_says_how_to_make_them() -> None:
    with pytest.raises(UsageError, match="none yet; 'wsol-bench annotate' makes them"):
        parse_source("ss", dataset="toy")


def test_a_name_wins_over_a_folder_of_the_same_name(
    roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ss").mkdir()
    (tmp_path / "local").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_source("ss", dataset="toy", pseudo_roots=roots).kind == "pseudo"
    assert parse_source("local", dataset="toy", pseudo_roots=roots) == AnnotationSource(
        "folder", "local", Path("local")
    )


def test_missing_split_names_what_is_there(roots: list[Path]) -> None:
    with pytest.raises(DataError, match=r"boxes for 'test' in test/localization.txt .* folders with boxes: val"):
        load_boxes(_Toy(), "test", "ss", pseudo_roots=roots)


def test_missing_images(tmp_path: Path) -> None:
    folder = _write(tmp_path / "few", ids=IDS[:2])
    with pytest.raises(DataError, match=r"1 are not listed, first 'c.jpg'; fix: check that the folder belongs"):
        load_boxes(_Toy(), "val", str(folder))


@pytest.mark.parametrize(
    ("folder", "name"), [("selective_search_bboxs", "ss"), ("rpn_bboxs", "rpn"), ("clip_maps", "clip")]
)
@pytest.mark.parametrize("depth", ["", "CUB", "CUB/val"])
def test_released_folders_are_known(released_root: Path, folder: str, name: str, depth: str) -> None:
    path = released_root / f"metadata_generated_by_{folder}" / depth
    ids = tuple((released_root / f"metadata_generated_by_{folder}/CUB/val/image_ids.txt").read_text().split())
    cub = _Toy("cub", {"val": _Split(ids)})
    with firewall.ledger() as book:
        assert len(load_boxes(cub, "val", str(path))) == 1000
    assert book.supervision() == f"pseudo:{name}"
