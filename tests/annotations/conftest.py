"""Miniature metadata folders, and the field's real ones where a checkout has them beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"

MINIATURE = {
    "image_ids.txt": "a/1.jpg\nb, c/2.jpg\n",
    "class_labels.txt": "a/1.jpg,0\nb, c/2.jpg,1\n",
    "image_sizes.txt": "a/1.jpg,100,80\nb, c/2.jpg,50,60\n",
    "localization.txt": "a/1.jpg,1,2,30,40\nb, c/2.jpg,0,0,49,59\nb, c/2.jpg,5,6,7,8\n",
}


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes the miniature, with some files replaced by text or bytes, or left out (None)."""

    def make(**changes: str | bytes | None) -> Path:
        folder = tmp_path / "metadata"
        folder.mkdir(exist_ok=True)
        files: dict[str, str | bytes | None] = {**MINIATURE, **{f"{stem}.txt": text for stem, text in changes.items()}}
        for name, content in files.items():
            if content is not None:
                (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make


@pytest.fixture(scope="session")
def metadata_root() -> Path:
    root = SHARED / "wsol-metadata"
    if not root.is_dir():
        pytest.skip("the field's metadata is not beside this checkout")
    return root


@pytest.fixture(scope="session")
def released_root() -> Path:
    root = SHARED / "released-pseudo-boxes"
    if not root.is_dir():
        pytest.skip("the released pseudo-boxes are not beside this checkout")
    return root
