"""The scripts that train the embedded weights, on a handful of pictures: what they write loads and works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wsol_bench.models.clip import load_clip
from wsol_bench.models.region_proposals import load_proposer

REPOSITORY = Path(__file__).resolve().parents[1]


def _made_by(script: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(REPOSITORY / "scripts" / f"{script}.py"), "--out", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*command, *arguments], check=True, env=environment, capture_output=True)
    card = (folder / "card.yaml").read_text()
    assert "dataset: critters" in card and f"scripts/{script}.py" in card
    return str(folder)


@pytest.mark.slow
def test_a_clip_is_trained(tmp_path: Path) -> None:
    clip = load_clip("", _made_by("train_clip", tmp_path, "--pairs", "96", "--epochs", "1", "--batch", "32"))
    features = clip.text_features(["a photo of a finch", "deserted place in the snow"])
    assert features.shape[0] == 2 and torch.isfinite(features).all()


@pytest.mark.slow
def test_a_proposer_is_trained(tmp_path: Path) -> None:
    folder = _made_by("train_proposer", tmp_path, "--pictures", "64", "--epochs", "1", "--batch", "16")
    proposer = load_proposer("", folder)
    with torch.no_grad():
        ((boxes, scores),) = proposer(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert boxes.shape == (len(scores), 4)
