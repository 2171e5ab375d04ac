"""Small CLIP models with random weights, and folders of them as open_clip reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

TINY: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def tiny_clip(seed: int = 0, **vision: Any) -> torch.nn.Module:
    """A model of 32-pixel images and a 4 x 4 grid."""
    torch.manual_seed(seed)
    return open_clip.CLIP(**(TINY | {"vision_cfg": TINY["vision_cfg"] | vision})).eval()


def write_folder(folder: Path, model: torch.nn.Module) -> Path:
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5] * 3}})
    )
    save_file(
        {name: value.half() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return folder
