from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.datasets.base import Dataset, Split
from wsol_bench.datasets.four_file_dataset import FourFileDataset
from wsol_bench.datasets.open_dataset import DEFAULT_DATASET, DatasetSpec, open_dataset, option_names
from wsol_bench.errors import DataError, UsageError
from wsol_bench.registry import DATASETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of two images in the four-file format."""
    root = tmp_path / "images"
    split = root / "metadata" / "val"
    split.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / name)
    (split / "image_ids.txt").write_text("a.png\nb.png\n")
    (split / "class_labels.txt").write_text("a.png,0\nb.png,1\n")
    (split / "image_sizes.txt").write_text("a.png,8,6\nb.png,8,6\n")
    (split / "localization.txt").write_text("a.png,0,0,3,3\nb.png,1,1,2,2\n")
    return root


class Demanding(Dataset):
    name = "demanding"

    def __init__(
        self,
        root: Path,
        count: int,
        *,
        shiny: bool = False,
        words: Sequence[str] | None = None,
        where: Path | None = None,
        ratio: float = 0.5,
    ) -> None:
        self.given = {"root": root, "count": count, "shiny": shiny, "words": words, "ratio": ratio}

    def split(self, name: str) -> Split:
        raise NotImplementedError

    def load_image(self, split: str, index: int) -> Any:
        raise NotImplementedError

    def _read_ground_truth(self, split: str) -> BoxSet:
        raise NotImplementedError


@pytest.fixture
def demanding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    DATASETS.register("demanding")(Demanding)
    yield


@pytest.mark.parametrize(
    ("text", "name", "options", "family"),
    [
        ("critters", "critters", {}, "critters"),
        ("critters:", "critters", {}, "critters"),
        ("critters:224", "critters", {"size": "224"}, "critters"),
        ("critters:size=96, seed = 1", "critters", {"size": "96", "seed": "1"}, "critters"),
        ("folder:name=CUB,frame=224", "folder", {"name": "CUB", "frame": "224"}, "cub"),
        ("folder:class_names=a:b/c=d.txt", "folder", {"class_names": "a:b/c=d.txt"}, "folder"),
    ],
)
def test_specs_are_taken_apart(text: str, name: str, options: dict[str, str], family: str) -> None:
    spec = DatasetSpec.parse(text)
    assert (spec.text, spec.name, spec.options, spec.family) == (text, name, options, family)


@pytest.mark.parametrize("text", ["critters:big", "critters:=3", "critters:size=", "critters:96,", "critters:-3"])
def test_specs_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match=f"'critters:option=value,option=value' but got '{text}'"):
        open_dataset(text)


def test_an_option_given_twice() -> None:
    with pytest.raises(UsageError, match="'size' twice"):
        open_dataset("critters:96,size=96")


def test_generated_datasets_take_their_options() -> None:
    assert open_dataset().name == open_dataset(DEFAULT_DATASET).name == "critters"
    assert open_dataset("critters:96").frame == 96
    assert open_dataset("critters:seed=1,train=20").version != open_dataset("critters").version
    with pytest.raises(UsageError, match=r"Did you mean 'seed'\?"):
        open_dataset("critters:sed=1")


def test_a_folder_has_its_own_name_and_frame(folder: Path, tmp_path: Path) -> None:
    plain = open_dataset("folder", root=folder)
    assert (plain.name, plain.frame, plain.class_names) == ("folder", 224, ("class 0", "class 1"))
    names = tmp_path / "names.txt"
    names.write_text("\ufeffrobin\n\n house sparrow \n", encoding="utf-8")
    mine = open_dataset(f"folder:name=mine,frame=96,class_names={names}", root=folder, metadata=folder / "metadata")
    assert (mine.name, mine.frame, mine.class_names) == ("mine", 96, ("robin", "house sparrow"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("folder:nmae=x", r"option of the dataset 'folder' to be one of \(class_names, frame, name, proxy_train\)"),
        ("folder:frame=big", "folder:frame to be a whole number but got 'big'"),
        ("folder:proxy_train=1", "folder:proxy_train to be true or false but got '1'"),
        ("folder:class_names=nope.txt", "nope.txt: Expected folder:class_names to be a text file"),
        ("folder:name=a b", "name of letters"),
    ],
)
def test_options_of_a_folder_that_do_not_fit(folder: Path, text: str, says: str) -> None:
    with pytest.raises((UsageError, DataError), match=says):
        open_dataset(text, root=folder)


@pytest.mark.parametrize(
    ("text", "folders", "says"),
    [
        ("folder", (), "--root DIR with the files of 'folder'"),
        ("tiny-imagenet", (), "--root DIR with the files of 'tiny-imagenet'"),
        ("critters", ("root",), "no --root for the dataset 'critters'"),
        ("critters", ("metadata",), "no --metadata for the dataset 'critters'"),
        ("tiny-imagenet", ("root", "metadata"), "no --metadata for the dataset 'tiny-imagenet'"),
        ("tiny-imagenet:size=3", ("root",), r"'tiny-imagenet' to be one of \(train\) but got 'size'"),
        ("crittrs", (), r"dataset to be one of .*Did you mean 'critters'\?"),
    ],
)
def test_folders_missing_or_one_too_many(tmp_path: Path, text: str, folders: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_dataset(text, **dict.fromkeys(folders, tmp_path))


def test_options_come_from_the_constructor(demanding: Callable[[], None], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")
    opened: Any = open_dataset(f"demanding:count=3,shiny=TRUE,words={words},ratio=1e-3", root=tmp_path)
    assert opened.given == {"root": tmp_path, "count": 3, "shiny": True, "words": ["one", "two"], "ratio": 1e-3}
    assert option_names(Demanding) == ["count", "shiny", "words", "ratio"]
    assert option_names(FourFileDataset) == ["name", "frame", "class_names", "proxy_train"]


def test_a_needed_option_is_asked_for(demanding: Callable[[], None], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="demanding:ratio to be a number but got 'x'"):
        open_dataset("demanding:ratio=x", root=tmp_path)
    with pytest.raises(UsageError, match=r"'demanding' needs the option count; fix: demanding:count=\.\.\."):
        open_dataset("demanding", root=tmp_path)
