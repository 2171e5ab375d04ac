"""CLIP models by name, by local file, or the embedded one: weights, image tower and text features.

Weights of the hub go through open_clip and its caches. A folder in open_clip's ``local-dir:`` layout (a configuration,
weights, and optionally byte-pair merges of a smaller vocabulary) is a model of its own; the embedded one is such a
folder.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_checkpoint
from torch import Tensor, nn

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, UsageError, unknown_choice
from wsol_bench.models.clip_vit import ClipImageTower
from wsol_bench.models.embedded import EMBEDDED, embedded_folder
from wsol_bench.models.weights import NO_WEIGHTS, checked_file, failed_fetch, pretrained_unneeded

CONFIG, WEIGHTS, MERGES = "open_clip_config.json", "open_clip_model.safetensors", "merges.txt.gz"
_OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True, eq=False)
class Clip:
    """A frozen CLIP model.

    Attributes:
        tower: the image tower.
        scale: factor on cosine similarities, ``exp(logit_scale)``.
        sha256: of the weights file.
    """

    tower: ClipImageTower
    scale: float
    sha256: str
    _model: nn.Module
    _tokenizer: Any

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Returns unit text features ``[P, d]`` on the model's device; ``[0, d]`` for no prompt."""
        device = next(self._model.parameters()).device
        tokens = self._tokenizer(list(prompts) or [""]).to(device)
        features: Tensor = self._model.encode_text(tokens, normalize=True)  # type: ignore[operator]
        return features.float()[: len(prompts)]

    def to(self, device: torch.device | str) -> Clip:
        """Moves the model and returns it."""
        self._model.to(device)
        return self


def load_clip(model: str, weights: str) -> Clip:
    """Loads a CLIP model for inference.

    Args:
        model: name of an open_clip configuration (``ViT-B-16-quickgelu``); not used where ``weights`` is a folder.
        weights: a tag of open_clip (``openai``), a file ``PATH[@sha256:<hex>]``, a folder in the ``local-dir:`` layout,
            or ``embedded`` for the small model of this package; ``none``, random ones, where
            :func:`~wsol_bench.models.weights.pretrained_unneeded` says so.

    Raises:
        UsageError: a name is unknown, weights cannot be fetched, or activation functions of configuration and weights
            differ (OpenAI's weights need a ``-quickgelu`` configuration; the result would be silently wrong).
        DataError: a file is missing, damaged, of another model, or has another checksum.
    """
    folder = embedded_folder("clip") if weights == EMBEDDED else Path(weights).expanduser()
    if folder.is_dir():
        return _from_folder(folder)
    config = open_clip.get_model_config(model)
    if config is None:
        raise unknown_choice("a CLIP model", model, open_clip.list_models())
    if weights == NO_WEIGHTS and pretrained_unneeded():
        return _clip(_build(config, None), open_clip.get_tokenizer(model), {}, None)
    quick = bool(config.get("quick_gelu"))
    tag = open_clip.get_pretrained_cfg(model, weights)
    if tag:
        _check_activation(model, weights, quick, bool(tag.get("quick_gelu")))
        path = _fetched(model, weights, tag)
    else:
        path = _named_file(model, weights)
        # OpenAI published TorchScript archives; nobody else's CLIP weights come as such.
        if _is_torchscript(path):
            _check_activation(model, weights, quick, True)
    return _clip(_build(config, path), open_clip.get_tokenizer(model), tag or {}, path)


def _from_folder(folder: Path) -> Clip:
    path = folder / WEIGHTS
    if not (folder / CONFIG).is_file() or not path.is_file():
        raise DataError(f"Expected a folder with {CONFIG} and {WEIGHTS} but one of them is missing.", folder)
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, preprocess = content["model_cfg"], content.get("preprocess_cfg", {})
        merges = {"bpe_path": str(folder / MERGES)} if (folder / MERGES).is_file() else {}
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}", **merges)
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"Expected an open_clip configuration but it cannot be read: {error}.", folder) from error
    return _clip(_build(config, path), tokenizer, preprocess, path)


def _build(config: dict[str, Any], path: Path | None) -> nn.Module:
    if config.get("custom_text") or "timm_model_name" in config["vision_cfg"]:
        raise UsageError("Expected a CLIP model with a plain ViT and text transformer; fix: one such as ViT-B-16.")
    try:
        model = open_clip.CLIP(**config)
        if path is not None:
            _fill(model, path)
    # Damaged pickles, archives of other architectures, and unknown keys of a configuration raise nearly any class.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"Expected weights of this CLIP model but they do not load: {reason}", path) from error
    frozen: nn.Module = model.eval().requires_grad_(False)
    return frozen


def _fill(model: nn.Module, path: Path) -> None:
    if not _is_torchscript(path):
        load_checkpoint(model, str(path))
        return
    script = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    model.load_state_dict({name: value.float() for name, value in script.items() if name not in _OPENAI_EXTRAS})


def _clip(model: nn.Module, tokenizer: Any, preprocess: dict[str, Any], path: Path | None) -> Clip:
    mean = tuple(preprocess.get("mean") or open_clip.OPENAI_DATASET_MEAN)
    std = tuple(preprocess.get("std") or open_clip.OPENAI_DATASET_STD)
    tower = ClipImageTower(model.visual, mean, std)
    scale = float(model.logit_scale.exp())  # type: ignore[operator]
    return Clip(tower, scale, sha256_of(path) if path else "", model, tokenizer)


def _check_activation(model: str, weights: str, quick: bool, trained_quick: bool) -> None:
    if quick != trained_quick:
        fitting = f"{model}-quickgelu" if trained_quick else model.removesuffix("-quickgelu")
        raise UsageError(
            f"Expected the configuration and the weights to use the same activation, but '{weights}' was trained "
            f"{'with' if trained_quick else 'without'} QuickGELU and '{model}' is {'with' if quick else 'without'} it; "
            f"fix: model={fitting}."
        )


def _fetched(model: str, weights: str, tag: dict[str, Any]) -> Path:
    """Returns the cached file of a tag; OpenAI's own archive where there is one, because its checksum is known."""
    url = str(tag.get("url", ""))
    try:
        return Path(open_clip.download_pretrained(tag, prefer_hf_hub="openaipublic" not in url))
    # Whatever the network, the hub's client or the disk raises, the way out is the same.
    except Exception as error:
        fix = f"{_where(tag)}, or pass the file as weights=FILE[@sha256:<hex>]"
        raise failed_fetch(f"'{weights}' of CLIP {model}", error, fix) from error


def _where(tag: dict[str, Any]) -> str:
    url = str(tag.get("url", ""))
    if "openaipublic" in url:
        name, checksum = url.rsplit("/", 1)[1], url.rsplit("/", 2)[1]
        return f"download {url} (sha256 {checksum}) to ~/.cache/clip/{name}"
    hub = str(tag.get("hf_hub", "")).rstrip("/")
    return f"fetch '{hub}' of the Hugging Face hub into its cache" if hub else f"download {url}"


def _named_file(model: str, weights: str) -> Path:
    if not Path(weights.partition("@sha256:")[0]).expanduser().is_file() and "/" not in weights and "." not in weights:
        tags = [*open_clip.list_pretrained_tags_by_model(model), EMBEDDED, "FILE", "FOLDER"]
        raise unknown_choice(f"the weights of CLIP {model}", weights, tags)
    return checked_file(weights, f"a tag of open_clip, '{EMBEDDED}', a folder")


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
