"""Decoding image files of any kind to RGB, and what to do with those that cannot be decoded."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.errors import DataError, unknown_choice

OnBadImage = Literal["error", "skip"]
Exif = Literal["ignore", "apply"]

_ORIENTATION = 0x0112

_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_HEAD_BYTES = 64


@dataclass(frozen=True)
class SkippedImage:
    """An image left out because it could not be decoded."""

    image_id: str
    reason: str


@dataclass
class BadImagePolicy:
    """What happens to images that cannot be decoded; safe to share between threads.

    Attributes:
        on_bad_image: ``error`` stops at the first one, ``skip`` leaves it out and remembers it.
        skipped: what was left out so far.
    """

    on_bad_image: OnBadImage = "error"
    skipped: list[SkippedImage] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.on_bad_image not in get_args(OnBadImage):
            raise unknown_choice("--on-bad-image", self.on_bad_image, get_args(OnBadImage))

    def handle(self, image_id: str, error: DataError) -> None:
        """Raises ``error``, or notes that ``image_id`` is skipped because of it."""
        if self.on_bad_image == "error":
            raise error
        with self._lock:
            self.skipped.append(SkippedImage(image_id, str(error)))


@dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of an image file tell.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.
        mode: PIL's name of the colour mode: ``RGB``, ``L``, ``CMYK``, ``I;16``, ...
        orientation: EXIF orientation, 1 (as stored) to 8.
    """

    width: int
    height: int
    mode: str
    orientation: int


def read_header(path: Path) -> ImageHeader:
    """Reads size, colour mode and EXIF orientation without decoding the pixels.

    Raises:
        DataError: the file is missing or not an image. A truncated file may pass.
    """
    with _opened(path) as image:
        orientation = image.getexif().get(_ORIENTATION, 1)
        return ImageHeader(*image.size, image.mode, orientation if orientation in range(1, 9) else 1)


def decode_rgb(path: Path, *, exif: Exif = "ignore") -> NDArray[np.uint8]:
    """Decodes an image file to ``[H, W, 3]`` RGB uint8.

    Grey, palette, CMYK and YCCK images are converted by PIL (which undoes the inversion of Adobe files). An alpha
    channel is dropped, not blended: the colours under it are what other loaders of the field see. 16-bit greys keep
    their upper 8 bits. Of animations the first frame is taken.

    The EXIF orientation is **not** applied by default: boxes of the field's datasets are drawn in the stored pixel
    frame, and its loaders do not rotate either.

    Args:
        path: any format that PIL reads; the file name extension is ignored.
        exif: ``apply`` turns the image as its EXIF orientation says, for boxes that were drawn on the turned image.

    Raises:
        DataError: the file is missing, truncated, not an image, or of a kind with no obvious 8-bit meaning.
    """
    with _opened(path) as image:
        turned = ImageOps.exif_transpose(image) if exif == "apply" else image
        return _to_rgb(turned, path)


def squash(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resizes ``[H, W, 3]`` uint8 to ``[side, side, 3]`` without keeping the aspect ratio.

    Bilinear with antialiasing: the filter widens when shrinking, as torchvision's ``Resize`` does on PIL images, so
    every source pixel counts. An image of the right size is returned as it is.
    """
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def safe_join(root: Path, image_id: str) -> Path:
    """Returns the path of an image id under ``root``.

    Symbolic links are followed as they are: datasets are commonly linked together from several disks.

    Raises:
        DataError: the id would leave ``root``.
    """
    problem = id_problem(image_id)
    if problem is not None:
        raise DataError(f"Expected an image id under the dataset root but got '{image_id}': {problem}.", root)
    return root / image_id


def files_fingerprint(root: Path, ids: tuple[str, ...]) -> str:
    """Returns a hash over names, sizes and modification times of image files; missing ones count as such."""
    digest = hashlib.sha256()
    for image_id in ids:
        try:
            stat = os.stat(root / image_id)  # noqa: PTH116 - a tenth of the cost of Path.stat() over a million files
            digest.update(f"{image_id}\n{stat.st_size} {stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{image_id}\nmissing\n".encode())
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Yields an open image; whatever PIL raises inside becomes a :class:`DataError` that says what the file is."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError("Expected an image but the file does not exist.", path) from None
    except IsADirectoryError:
        raise DataError("Expected an image file but got a folder.", path) from None
    except PermissionError:
        raise DataError("Expected a readable image but access is denied; fix: check its permissions.", path) from None
    except _DECODER_ERRORS as error:
        raise DataError(f"Expected an image but {_what_instead(path, error)}.", path) from error


def is_web_page(head: bytes) -> bool:
    """Tells whether the first bytes of a file are those of an HTML or XML page: a failed download."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return _from_wide_grey(np.asarray(image), path)
    if image.mode == "F":
        raise DataError("Expected 8 or 16 bits per channel but got floats; fix: convert the image to 8 bits.", path)
    # PIL warns about palettes with transparency unless they take the way over RGBA; the colours are the same.
    whole = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
    return np.array(whole.convert("RGB"), dtype=np.uint8)


def _from_wide_grey(grey: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    values = grey.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"Expected greys within 16 bits but got {values.min()}..{values.max()}; fix: convert the image to 8 bits.",
            path,
        )
    return np.repeat((values >> 8).astype(np.uint8)[:, :, None], 3, axis=2)


def _what_instead(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as unreadable:
        return f"the file cannot be read ({unreadable.strerror})"
    if not head:
        return "the file is empty; fix: download or copy it again"
    if is_web_page(head):
        return "got a web page (a failed download?); fix: download the file again"
    if head.startswith(b"version https://git-lfs"):
        return "got a Git LFS pointer; fix: run 'git lfs pull'"
    if isinstance(error, UnidentifiedImageError):
        return "the content is not an image that PIL knows; fix: download or copy it again"
    return f"decoding failed ({error}); the file is truncated or damaged; fix: download or copy it again"
