from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.datasets.images import (
    BadImagePolicy,
    decode_rgb,
    files_fingerprint,
    is_web_page,
    read_header,
    safe_join,
    squash,
)
from wsol_bench.errors import DataError, UsageError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def _save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_rgb_comes_back_exactly(tmp_path: Path) -> None:
    got = decode_rgb(_save(Image.fromarray(RGB), tmp_path / "a.png"))
    assert got.dtype == np.uint8 and got.flags.writeable and np.array_equal(got, RGB)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    suffix = {"CMYK": "tif", "YCbCr": "jpg"}.get(mode, "png")
    got = decode_rgb(_save(image, tmp_path / f"a.{suffix}"))
    assert got.shape == (6, 9, 3) and got.dtype == np.uint8
    if mode in ("1", "L", "LA"):
        assert (got[..., 0] == got[..., 1]).all() and (got[..., 0] == got[..., 2]).all()


def test_alpha_is_dropped_and_not_blended(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.zeros((6, 9), np.uint8)])
    assert np.array_equal(decode_rgb(_save(Image.fromarray(rgba), tmp_path / "a.png")), RGB)


def test_palette_with_transparency_gives_no_warning(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(4)
    path = _save(image, tmp_path / "a.png", transparency=bytes([0, 128, 255, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = decode_rgb(path)
    assert np.array_equal(got, np.asarray(image.convert("RGB")))


def test_cmyk_jpeg_of_adobe_kind_is_not_a_negative(tmp_path: Path) -> None:
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    # PIL writes CMYK JPEGs inverted with an Adobe marker, as Photoshop does.
    path = _save(white, tmp_path / "a.JPEG", format="JPEG")
    assert b"Adobe" in path.read_bytes()
    assert decode_rgb(path).min() >= 250


def test_sixteen_bit_grey_keeps_its_upper_bits(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    got = decode_rgb(_save(Image.fromarray(grey), tmp_path / "a.png"))
    assert got[0, :, 0].tolist() == [0, 0, 1, 128, 255] and got.shape == (1, 5, 3)


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = _save(Image.fromarray(RGB), tmp_path / "a.jpg", exif=exif)
    assert decode_rgb(path).shape == (6, 9, 3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode_rgb(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_png_named_jpeg(tmp_path: Path) -> None:
    assert np.array_equal(decode_rgb(_save(Image.fromarray(RGB), tmp_path / "a.JPEG", format="PNG")), RGB)


def _jpeg_bytes() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"  <!DOCTYPE html><html>404</html>", "a web page"),
        (b"<html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"just text", "not an image that PIL knows"),
        (_jpeg_bytes()[:400], "truncated or damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "Expected an image but"),
    ],
)
def test_what_is_not_an_image(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        decode_rgb(path)
    assert caught.value.path == path and str(caught.value).startswith(f"{path}: ")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        decode_rgb(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="got a folder"):
        decode_rgb(tmp_path)


def test_images_without_an_obvious_eight_bit_meaning(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="floats"):
        decode_rgb(_save(Image.fromarray(np.ones((3, 3), np.float32)), tmp_path / "f.tif"))
    with pytest.raises(DataError, match="16 bits"):
        decode_rgb(_save(Image.fromarray(np.full((3, 3), 70000, np.int32)), tmp_path / "i.tif"))


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(Image.fromarray(RGB), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="pixels"):
        decode_rgb(path)


def test_squash_averages_every_source_pixel() -> None:
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[::2, ::2] = 255
    checks[1::2, 1::2] = 255
    small = squash(checks, 8)
    assert small.shape == (8, 8, 3) and abs(small.astype(int) - 128).max() <= 2
    assert squash(RGB, 5).shape == (5, 5, 3)
    assert squash(small, 8) is small


@pytest.mark.slow  # importing torchvision takes seconds
def test_squash_equals_the_usual_resize() -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2.functional")
    image = Image.fromarray(RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    expected = np.asarray(transforms.resize(image, [32, 32]))
    assert np.array_equal(squash(np.asarray(image), 32), expected)


def test_safe_join() -> None:
    assert safe_join(Path("root"), "a b/c, d.jpg") == Path("root/a b/c, d.jpg")
    assert safe_join(Path("root"), "a/..b/c..jpg") == Path("root/a/..b/c..jpg")
    for bad in ("../x", "a/../x", "/x", "C:x", "a\\b", "", "a\0b"):
        with pytest.raises(DataError, match="under the dataset root"):
            safe_join(Path("root"), bad)


def test_policy_raises_or_remembers() -> None:
    error = DataError("damaged", Path("x.jpg"))
    with pytest.raises(DataError, match="damaged"):
        BadImagePolicy().handle("x", error)
    policy = BadImagePolicy("skip")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: policy.handle(str(i), error), range(100)))
    assert sorted(int(skipped.image_id) for skipped in policy.skipped) == list(range(100))
    assert policy.skipped[0].reason == "x.jpg: damaged"
    with pytest.raises(UsageError, match="--on-bad-image"):
        BadImagePolicy("ignore")  # type: ignore[arg-type]


def test_fingerprint_sees_replaced_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    prints = {files_fingerprint(tmp_path, ("a", "b"))}
    assert prints == {files_fingerprint(tmp_path, ("a", "b"))}
    (tmp_path / "a").write_text("22")
    prints.add(files_fingerprint(tmp_path, ("a", "b")))
    (tmp_path / "a").unlink()
    prints.add(files_fingerprint(tmp_path, ("a", "b")))
    assert len(prints) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_when_asked(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(Image.fromarray(RGB), tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode_rgb(path), RGB)
    flipped = RGB[:, ::-1] if orientation in (2, 4, 5, 7) else RGB
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    assert np.array_equal(decode_rgb(path, exif="apply"), np.rot90(flipped, turns))
    header = read_header(path)
    assert (header.width, header.height, header.mode, header.orientation) == (9, 6, "RGB", orientation)


def test_headers(tmp_path: Path) -> None:
    assert read_header(_save(Image.fromarray(RGB).convert("CMYK"), tmp_path / "a.jpg")).mode == "CMYK"
    exif = Image.Exif()
    exif[0x0112] = 77
    assert read_header(_save(Image.fromarray(RGB), tmp_path / "b.png", exif=exif)).orientation == 1
    (tmp_path / "c.jpg").write_text("<html>")
    with pytest.raises(DataError, match="web page"):
        read_header(tmp_path / "c.jpg")


def test_web_pages() -> None:
    assert all(map(is_web_page, (b"<!DOCTYPE html>", b"\xef\xbb\xbf\n <HTML lang=en>", b"<?xml version", b"<head>")))
    assert not any(map(is_web_page, (b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"<pre>")))
