from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import read_four_file, write_four_file
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.errors import DataError, UsageError

Make = Callable[..., Path]


def test_reads_ids_with_commas_and_spaces(make_folder: Make) -> None:
    file = read_four_file(make_folder())
    assert file.ids == ("a/1.jpg", "b, c/2.jpg")
    assert file.labels.tolist() == [0, 1] and file.labels.dtype == np.int64
    assert file.sizes is not None and file.sizes.tolist() == [[100, 80], [50, 60]] and file.sizes.dtype == np.int32
    assert file.boxes is not None and file.boxes.of(1).tolist() == [[0, 0, 49, 59], [5, 6, 7, 8]]
    assert (file.num_sentinels, file.num_clipped, file.proxy_ids, file.masks) == (0, 0, None, None)


@pytest.mark.parametrize("style", ["crlf", "bom", "no last newline", "blank lines", "padded numbers"])
def test_tolerates_what_editors_do(make_folder: Make, style: str) -> None:
    folder = make_folder()
    change: Callable[[str], str] = {
        "crlf": lambda text: text.replace("\n", "\r\n"),
        "bom": lambda text: "\ufeff" + text,
        "no last newline": lambda text: text.rstrip("\n"),
        "blank lines": lambda text: "\n" + text.replace("\n", "\n \n") + "\n\n",
        "padded numbers": lambda text: re.sub(r",(\d)", r", \1", text),
    }[style]
    expected = read_four_file(folder)
    for path in folder.iterdir():
        path.write_bytes(change(path.read_text()).encode())
    got = read_four_file(folder)
    assert got.ids == expected.ids and got.labels.tolist() == expected.labels.tolist()
    assert got.boxes is not None and expected.boxes is not None
    assert got.boxes.boxes.tolist() == expected.boxes.boxes.tolist()


def test_other_files_may_be_in_another_order(make_folder: Make) -> None:
    folder = make_folder(
        class_labels="b, c/2.jpg,1\na/1.jpg,0\n",
        image_sizes="b, c/2.jpg,50,60\na/1.jpg,100,80\n",
        localization="b, c/2.jpg,0,0,49,59\na/1.jpg,1,2,30,40\nb, c/2.jpg,5,6,7,8\n",
    )
    file = read_four_file(folder)
    assert file.labels.tolist() == [0, 1]
    assert file.sizes is not None and file.sizes.tolist() == [[100, 80], [50, 60]]
    assert file.boxes is not None and file.boxes.of(0).tolist() == [[1, 2, 30, 40]]
    assert file.boxes.of(1).tolist() == [[0, 0, 49, 59], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        ({"image_ids": "a\nb\na\n"}, "image_ids.txt:3", "'a' is already on line 1"),
        ({"image_ids": "\n"}, "image_ids.txt", "at least one image id"),
        ({"image_ids": None}, "image_ids.txt", "does not exist"),
        ({"image_ids": b"a\n\xff\xfe\n"}, "image_ids.txt:2", "UTF-8"),
        ({"class_labels": "a/1.jpg,0\n"}, "class_labels.txt", "1 have none: 'b, c/2.jpg'"),
        ({"class_labels": "a/1.jpg,0\nx,1\n"}, "class_labels.txt:2", "listed in image_ids.txt but got 'x'"),
        ({"class_labels": "a/1.jpg,0\na/1.jpg,0\n"}, "class_labels.txt:2", "already on line 1"),
        ({"class_labels": "a/1.jpg,0\nb, c/2.jpg,-1\n"}, "class_labels.txt:2", ">= 0 but got -1"),
        ({"class_labels": "a/1.jpg,0\n\nb, c/2.jpg,cat\n"}, "class_labels.txt:3", "integer for label"),
        ({"class_labels": "a/1.jpg\n"}, "class_labels.txt:1", "1 of 2 fields"),
        ({"class_labels": None}, "class_labels.txt", "does not exist"),
        ({"image_sizes": "a/1.jpg,100,80\nb, c/2.jpg,0,60\n"}, "image_sizes.txt:2", ">= 1 but got 0,60"),
        ({"image_sizes": "a/1.jpg,100\n"}, "image_sizes.txt:1", "2 of 3 fields"),
        ({"image_sizes": ""}, "image_sizes.txt", "width,height"),
        ({"image_sizes": None}, "image_sizes.txt", "width,height"),
        ({"localization": None}, "localization.txt", "does not exist"),
        ({"localization": ""}, "localization.txt", "is empty"),
        ({"localization": "a/1.jpg,1,2,30,40\n"}, "localization.txt", "a box for each of the 2 ids"),
        ({"localization": "a/1.jpg,1,2,30,40\nz,1,2,3,4\n"}, "localization.txt:2", "got 'z'"),
        ({"localization": "a/1.jpg,1,2,30,40\na/1.jpg,1,2,3\n"}, "localization.txt:2", "4 of 5 fields"),
        ({"localization": "a/1.jpg,1,2,30.5,40\n"}, "localization.txt:1", "integer for x1 .* got '30.5'"),
        ({"localization": "a/1.jpg,1,2,99999999999,40\n"}, "localization.txt:1", "32 bits"),
        ({"localization": f"a/1.jpg,1,2,{10**30},40\n"}, "localization.txt", "too large"),
        ({"localization": "a/1.jpg,1,2,100,40\nb, c/2.jpg,0,0,4,5\n"}, "localization.txt:1", "x1 <= 99 .* partly"),
        ({"localization": "a/1.jpg,1,-2,10,40\nb, c/2.jpg,0,0,4,5\n"}, "localization.txt:1", "partly outside"),
        ({"localization": "a/1.jpg,9,2,8,40\n"}, "localization.txt:1", "reversed; fix: swap the corners"),
        ({"localization": "a/1.jpg,100,2,120,40\n"}, "localization.txt:1", "beside the image"),
        ({"localization": "a/1.jpg,m/a.png,\nb, c/2.jpg,m/b.png,\n"}, "localization.txt:1", "read it as masks"),
        ({"image_ids_proxy": "a/1.jpg\nq\n"}, "image_ids_proxy.txt:2", "got 'q'"),
    ],
)
def test_errors_name_file_and_line(make_folder: Make, changes: dict[str, str], place: str, says: str) -> None:
    folder = make_folder(**changes)
    with pytest.raises(DataError, match=says) as caught:
        read_four_file(folder)
    assert str(caught.value).startswith(f"{folder / place}: ")


@pytest.mark.parametrize("bad", ["../up.jpg", "a/../../up.jpg", "/etc/up.jpg", "C:/up.jpg", "a\\up.jpg", "a\tb.jpg"])
def test_ids_must_stay_under_the_root(make_folder: Make, bad: str) -> None:
    folder = make_folder(image_ids=f"a/1.jpg\n{bad}\n")
    with pytest.raises(DataError, match=re.escape(f"{folder / 'image_ids.txt'}:2: ")):
        read_four_file(folder)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_four_file(tmp_path / "nowhere")


def test_unknown_options(make_folder: Make) -> None:
    with pytest.raises(UsageError, match="Did you mean 'boxes'"):
        read_four_file(make_folder(), kind="boxs")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="outside"):
        read_four_file(make_folder(), outside="ignore")  # type: ignore[arg-type]


def test_clips_and_counts_boxes_that_touch_the_far_border(make_folder: Make) -> None:
    folder = make_folder(localization="a/1.jpg,-3,2,100,80\nb, c/2.jpg,0,0,0,0\n")
    file = read_four_file(folder, outside="clip")
    assert file.boxes is not None and file.boxes.boxes.tolist() == [[0, 2, 99, 79], [0, 0, 0, 0]]
    assert (file.num_clipped, file.num_sentinels) == (1, 1)
    (folder / "localization.txt").write_text("a/1.jpg,100,2,120,40\nb, c/2.jpg,0,0,0,0\n")
    with pytest.raises(DataError, match="beside the image"):
        read_four_file(folder, outside="clip")


def test_images_without_boxes_when_boxes_are_optional(make_folder: Make) -> None:
    file = read_four_file(make_folder(localization="b, c/2.jpg,5,6,7,8\n"), need_boxes=False)
    assert file.boxes is not None and file.boxes.of(0).shape == (0, 4) and len(file.boxes.of(1)) == 1
    empty = read_four_file(make_folder(localization="", image_sizes=""), need_boxes=False)
    assert empty.boxes is None and empty.sizes is None


def test_labels_leave_localization_closed(make_folder: Make) -> None:
    file = read_four_file(make_folder(localization=None, image_ids_proxy="b, c/2.jpg\n"), kind="labels")
    assert file.boxes is None and len(file) == 2 and file.proxy_ids == ("b, c/2.jpg",)


def test_reads_masks(make_folder: Make) -> None:
    folder = make_folder(
        image_sizes="",
        localization="a/1.jpg,m/1.png,m/ig.png\na/1.jpg,m/2.png,\nb, c/2.jpg,,\n",
    )
    masks = read_four_file(folder, kind="masks").masks
    assert masks is not None and len(masks) == 2
    assert masks.of(0) == ("m/1.png", "m/2.png") and masks.of(1) == ()
    assert masks.ignore == ("m/ig.png", "")


@pytest.mark.parametrize(
    ("localization", "place", "says"),
    [
        (
            "a/1.jpg,m/1.png,\na/1.jpg,m/2.png,m/ig.png\nb, c/2.jpg,x.png,\n",
            ":2",
            "on the first line of 'a/1.jpg' only",
        ),
        ("a/1.jpg,../1.png,\nb, c/2.jpg,x.png,\n", ":1", "climbs out"),
        ("a/1.jpg,1.png,/ig.png\nb, c/2.jpg,x.png,\n", ":1", "absolute"),
        ("a/1.jpg,1.png,\n", "", "mask line for each"),
        ("a/1.jpg\n", ":1", "1 of 3 fields"),
    ],
)
def test_mask_errors(make_folder: Make, localization: str, place: str, says: str) -> None:
    folder = make_folder(localization=localization)
    with pytest.raises(DataError, match=says) as caught:
        read_four_file(folder, kind="masks")
    assert str(caught.value).startswith(f"{folder / 'localization.txt'}{place}: ")


_ids = st.lists(
    st.from_regex(r"[a-zA-Z0-9é][a-zA-Z0-9é ,._-]{0,8}(/[a-z0-9, ]{1,5})?", fullmatch=True),
    min_size=1,
    max_size=8,
    unique=True,
).filter(lambda ids: not any(part == ".." for image_id in ids for part in image_id.split("/")))


@given(ids=_ids, data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, ids: list[str], data: st.DataObject) -> None:
    size = st.tuples(st.integers(1, 500), st.integers(1, 500))
    sizes = {image_id: data.draw(size) for image_id in ids}

    def box(width: int, height: int) -> st.SearchStrategy[tuple[int, int, int, int]]:
        xs = st.tuples(st.integers(0, width - 1), st.integers(0, width - 1)).map(sorted)
        ys = st.tuples(st.integers(0, height - 1), st.integers(0, height - 1)).map(sorted)
        return st.tuples(xs, ys).map(lambda c: (c[0][0], c[1][0], c[0][1], c[1][1]))

    boxes = BoxSet.from_mapping(
        {image_id: data.draw(st.lists(box(*sizes[image_id]), min_size=1, max_size=3)) for image_id in ids}, sizes
    )
    labels = data.draw(st.lists(st.integers(0, 9), min_size=len(ids), max_size=len(ids)))
    folder = tmp_path / "nested" / "written"
    write_four_file(folder, ids=ids, labels=labels, boxes=boxes, proxy_ids=ids[:1], overwrite=True)
    file = read_four_file(folder)
    assert file.ids == tuple(ids) and file.labels.tolist() == labels and file.proxy_ids == (ids[0],)
    assert file.boxes is not None and file.sizes is not None
    assert file.boxes.boxes.tolist() == boxes.boxes.tolist()
    assert file.boxes.offsets.tolist() == boxes.offsets.tolist()
    assert file.sizes.tolist() == boxes.sizes.tolist()


def test_masks_round_trip(tmp_path: Path) -> None:
    masks = MaskTable(("a", "b", "c"), ("1.png", "2.png"), np.array([0, 2, 2, 2]), ("ig.png", "", "ig2.png"))
    write_four_file(tmp_path / "m", ids=masks.ids, labels=[0, 1, 0], masks=masks)
    got = read_four_file(tmp_path / "m", kind="masks")
    assert got.masks is not None and got.sizes is None
    assert (got.masks.masks, got.masks.offsets.tolist(), got.masks.ignore) == (masks.masks, [0, 2, 2, 2], masks.ignore)


def test_writing_extra_files_and_nothing_else(tmp_path: Path) -> None:
    write_four_file(tmp_path / "x", ids=["a"], labels=[0], extra={"card.yaml": "name: ss\n"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    assert {path.name for path in (tmp_path / "x").iterdir()} == {
        "card.yaml",
        "class_labels.txt",
        "image_ids.txt",
        "image_sizes.txt",
        "localization.txt",
    }
    assert (tmp_path / "x" / "card.yaml").read_text() == "name: ss\n"


def test_writing_refuses_an_existing_folder(tmp_path: Path) -> None:
    write_four_file(tmp_path / "x", ids=["a"], labels=[0])
    with pytest.raises(DataError, match="exists already"):
        write_four_file(tmp_path / "x", ids=["b"], labels=[0])
    assert read_four_file(tmp_path / "x", kind="labels").ids == ("a",)
    write_four_file(tmp_path / "x", ids=["b"], labels=[0], overwrite=True)
    assert read_four_file(tmp_path / "x", kind="labels").ids == ("b",)


def test_failing_half_way_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_four_file(tmp_path / "x", ids=["a"], labels=[0])

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "write_text", fail)
        write_four_file(tmp_path / "x", ids=["b"], labels=[0], overwrite=True)
    assert read_four_file(tmp_path / "x", kind="labels").ids == ("a",)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ids": ["a", "a"], "labels": [0, 0]}, "unique image ids"),
        ({"ids": [], "labels": []}, "unique image ids"),
        ({"ids": ["a\n"], "labels": [0]}, "control character"),
        ({"ids": ["../a"], "labels": [0]}, "climbs out"),
        ({"ids": ["a"], "labels": [0, 1]}, "1 class labels"),
        ({"ids": ["a"], "labels": [-1]}, "minimum -1"),
        ({"ids": ["a"], "labels": [0], "sizes": [[0, 5]]}, "width, height"),
        ({"ids": ["a"], "labels": [0], "proxy_ids": ["b"]}, "proxy ids among the ids but got 'b'"),
        (
            {"ids": ["a"], "labels": [0], "boxes": BoxSet.from_mapping({"b": [(0, 0, 1, 1)]}, {"b": (9, 9)})},
            "other ids",
        ),
        ({"ids": ["a"], "labels": [0], "boxes": BoxSet.from_mapping({"a": [(3, 0, 1, 1)]}, {"a": (9, 9)})}, "reversed"),
        (
            {"ids": ["a"], "labels": [0], "masks": MaskTable(("a",), ("x,y.png",), np.array([0, 1]), ("",))},
            "without commas",
        ),
        (
            {
                "ids": ["a"],
                "labels": [0],
                "boxes": BoxSet.from_mapping({"a": [(0, 0, 1, 1)]}, {"a": (9, 9)}),
                "masks": MaskTable(("a",), (), np.array([0, 0]), ("",)),
            },
            "got both",
        ),
    ],
)
def test_writing_refuses_what_could_not_be_read(tmp_path: Path, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        write_four_file(tmp_path / "x", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "images", "boxes", "classes"),
    [
        ("CUB/train", 5994, 5994, 200),
        ("CUB/val", 1000, 1000, 200),
        ("CUB/test", 5794, 5794, 200),
        ("ILSVRC/val", 10000, 18532, 1000),
        ("ILSVRC/test", 50000, 80477, 1000),
    ],
)
def test_metadata_of_the_field(metadata_root: Path, where: str, images: int, boxes: int, classes: int) -> None:
    file = read_four_file(metadata_root / where)
    assert file.boxes is not None
    assert (len(file), len(file.boxes.boxes), len(set(file.labels.tolist()))) == (images, boxes, classes)
    assert (file.num_sentinels, file.num_clipped) == (0, 0)


@pytest.mark.parametrize(
    ("split", "images", "instances", "single"), [("val", 2500, 3854, 1932), ("test", 5000, 7632, 3919)]
)
def test_masks_of_the_field(metadata_root: Path, split: str, images: int, instances: int, single: int) -> None:
    file = read_four_file(metadata_root / "OpenImages" / split, kind="masks")
    assert file.masks is not None and file.sizes is None
    assert (len(file.masks), len(file.masks.masks)) == (images, instances)
    assert int((np.diff(file.masks.offsets) == 1).sum()) == single
    assert all(file.masks.ignore)
    with pytest.raises(DataError, match="read it as masks"):
        read_four_file(metadata_root / "OpenImages" / split)


def test_examples_of_the_field(metadata_root: Path) -> None:
    file = read_four_file(metadata_root / "ILSVRC" / "test")
    assert file.boxes is not None and file.sizes is not None
    assert file.boxes.of(1).tolist() == [[45, 49, 499, 162], [2, 69, 437, 207]] and file.labels[1] == 970
    assert int(np.diff(file.boxes.offsets).max()) == 20
    assert int((np.diff(file.boxes.offsets) > 1).sum()) == 11715


@pytest.mark.parametrize(
    ("name", "sentinels", "clipped"),
    [("clip_maps", 7, 0), ("rpn_bboxs", 0, 82), ("selective_search_bboxs", 0, 0)],
)
def test_released_pseudo_boxes(released_root: Path, name: str, sentinels: int, clipped: int) -> None:
    file = read_four_file(released_root / f"metadata_generated_by_{name}" / "CUB" / "val", outside="clip")
    assert file.boxes is not None and len(file) == len(file.boxes.boxes) == 1000
    assert (file.num_sentinels, file.num_clipped) == (sentinels, clipped)
