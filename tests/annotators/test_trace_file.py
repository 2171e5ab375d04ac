from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotators.base import AnnotatedImage, Fallback, FunnelOutcome
from wsol_bench.annotators.trace_file import read_trace, write_trace
from wsol_bench.errors import DataError


def outcome(count: int, *, peak: tuple[int, int] | None, ranked: bool) -> FunnelOutcome:
    draw = np.random.default_rng(count)
    boxes = np.sort(draw.integers(0, 64, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.int32)
    return FunnelOutcome(
        frame=64,
        boxes=boxes,
        scores=np.where(draw.random(count) < 0.3, np.nan, draw.random(count)).astype(np.float32),
        objectness=draw.random(count).astype(np.float32) if ranked else None,
        top=draw.random(count) < 0.2,
        hits=draw.random(count) < 0.5,
        peak=peak,
        best_ranked=count - 1,
        final=count - 1,
        fallback=Fallback.NONE if count else Fallback.WHOLE_FRAME,
        proposed=count + 7,
        cleaned=count + 2,
    )


def examples() -> list[AnnotatedImage]:
    funnels = [
        outcome(5, peak=(3, 9), ranked=False),
        None,
        outcome(0, peak=None, ranked=False),
        outcome(300, peak=(0, 0), ranked=True),
    ]
    ids = ["a/1.png", "with, comma and späce.jpg", "b", "c" * 90]
    return [
        AnnotatedImage(image_id, np.zeros(4, np.int32), Fallback.EMPTY_MASK, map=np.eye(3, 5, dtype=np.float16))
        if funnel is None
        else AnnotatedImage(image_id, funnel.box, funnel.fallback, funnel)
        for image_id, funnel in zip(ids, funnels, strict=True)
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "chunk.npz"
    write_trace(path, examples())
    for before, after in zip(examples(), read_trace(path), strict=True):
        assert (before.image_id, before.fallback) == (after.image_id, after.fallback)
        assert before.box.tolist() == after.box.tolist()
        assert (before.map is None) == (after.map is None)
        if before.map is not None and after.map is not None:
            np.testing.assert_array_equal(before.map, after.map)
            assert after.map.dtype == np.float16
        if before.funnel is None or after.funnel is None:
            assert before.funnel is after.funnel
            continue
        for name, value in vars(before.funnel).items():
            restored = getattr(after.funnel, name)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, restored)
                assert value.dtype == restored.dtype
            else:
                assert value == restored


def test_an_empty_chunk_is_fine(tmp_path: Path) -> None:
    write_trace(tmp_path / "chunk.npz", [])
    assert read_trace(tmp_path / "chunk.npz") == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "text"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "chunk.npz"
    write_trace(path, examples())
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[:middle],
                "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
                "text": b"not a trace",
            }[damage]
        )
    with pytest.raises(DataError, match=r"chunk\.npz"):
        read_trace(path)
