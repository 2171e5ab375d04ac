from __future__ import annotations

import gzip
import json
from pathlib import Path

import open_clip
import pytest
import torch
from clip_models import TINY, tiny_clip, write_folder

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, UsageError
from wsol_bench.models.clip import load_clip

NAME = "ViT-tiny-test"


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> str:
    """Two small configurations that open_clip knows, without and with QuickGELU."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, TINY)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"{NAME}-quickgelu", TINY | {"quick_gelu": True})
    return NAME


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", refused)


def _torchscript(path: Path, model: torch.nn.Module) -> Path:
    """An archive of the kind that OpenAI published: a script module with three numbers more than the weights."""

    class Archive(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, value in model.named_children():
                setattr(self, name, value)
            for name in ("positional_embedding", "text_projection", "logit_scale"):
                setattr(self, name, getattr(model, name))
            for name in ("input_resolution", "context_length", "vocab_size"):
                self.register_buffer(name, torch.tensor(32))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image

    torch.jit.save(torch.jit.trace(Archive().half(), torch.zeros(1), check_trace=False), str(path))
    return path


def test_a_folder_is_a_model_of_its_own(tmp_path: Path) -> None:
    model = tiny_clip()
    folder = write_folder(tmp_path / "mine", model)
    clip = load_clip("ignored", str(folder))
    assert clip.tower.mean_std[0] == (0.5,) * 3 and clip.tower.mean_std[1] == open_clip.OPENAI_DATASET_STD
    assert clip.sha256 == sha256_of(folder / "open_clip_model.safetensors")
    assert clip.scale == pytest.approx(1 / 0.07, rel=1e-2)
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(clip.tower.encode(pixels), model.encode_image(pixels), atol=5e-3, rtol=0)
    features = clip.text_features(["a photo of a bird", "snow"])
    assert features.shape == (2, 12)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert clip.text_features([]).shape == (0, 12)


def test_a_folder_may_bring_a_smaller_vocabulary(tmp_path: Path) -> None:
    merges = tmp_path / "merges.txt.gz"
    merges.write_bytes(gzip.compress(b"#version: 0.2\nb i\nbi r\nbir d</w>"))
    config = {**TINY, "text_cfg": TINY["text_cfg"] | {"vocab_size": 512 + 3 + 2}}
    torch.manual_seed(0)
    folder = write_folder(tmp_path / "small", open_clip.CLIP(**config))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    merges.rename(folder / merges.name)
    clip = load_clip("ignored", str(folder))
    assert clip._tokenizer(["bird"])[0, 1].item() == 514
    assert torch.isfinite(clip.text_features(["bird", "a word that it never saw"])).all()


def test_a_file_is_loaded_and_checked(tmp_path: Path, configuration: str) -> None:
    model = tiny_clip()
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    clip = load_clip(configuration, f"{path}@sha256:{sha256_of(path)}")
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(clip.tower.encode(pixels), model.encode_image(pixels))
    with pytest.raises(DataError, match=r"Expected sha256 00 but the file has"):
        load_clip(configuration, f"{path}@sha256:00")
    with pytest.raises(DataError, match="Expected weights of this CLIP model but they do not load"):
        load_clip("ViT-B-32", str(path))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="do not load"):
        load_clip(configuration, str(path))
    with pytest.raises(DataError, match="this file does not exist"):
        load_clip(configuration, str(tmp_path / "nothing.pt"))


def test_openai_archives_need_quickgelu(tmp_path: Path, configuration: str) -> None:
    model = tiny_clip()
    path = _torchscript(tmp_path / "ViT-tiny.pt", model)
    with pytest.raises(
        UsageError, match=rf"trained with QuickGELU and '{NAME}' is without it; fix: model={NAME}-quick"
    ):
        load_clip(configuration, str(path))
    clip = load_clip(f"{configuration}-quickgelu", str(path))
    quick = open_clip.CLIP(**TINY, quick_gelu=True).eval()
    quick.load_state_dict({name: value.half().float() for name, value in model.state_dict().items()})
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(clip.tower.encode(pixels), quick.encode_image(pixels))


def test_a_tag_of_another_activation_is_an_error_not_a_warning(offline: None) -> None:
    with pytest.raises(UsageError, match=r"'openai' was trained with QuickGELU .* fix: model=ViT-B-16-quickgelu\."):
        load_clip("ViT-B-16", "openai")
    with pytest.raises(UsageError, match="fix: model=ViT-B-32-quickgelu"):
        load_clip("ViT-B-32", "metaclip_400m")


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(offline: None) -> None:
    checksum = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    with pytest.raises(UsageError) as raised:
        load_clip("ViT-B-16-quickgelu", "openai")
    for part in ("no route to host", f"sha256 {checksum}", "ViT-B-16.pt", "~/.cache/clip/ViT-B-16.pt", "weights=FILE"):
        assert part in str(raised.value)
    with pytest.raises(UsageError, match=r"'laion/CLIP-ViT-B-16-laion2B-s34B-b88K'.* hub into its cache"):
        load_clip("ViT-B-16", "laion2b_s34b_b88k")


def test_a_tag_that_can_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configuration: str) -> None:
    path = _torchscript(tmp_path / "ViT-tiny.pt", tiny_clip())
    asked = {}

    def fetch(tag: dict[str, object], prefer_hf_hub: bool) -> str:
        asked.update(tag, prefer_hf_hub=prefer_hf_hub)
        return str(path)

    monkeypatch.setattr(open_clip, "download_pretrained", fetch)
    monkeypatch.setattr(
        open_clip,
        "get_pretrained_cfg",
        lambda *_: {"url": "https://openaipublic/x/ViT.pt", "quick_gelu": True, "mean": (0.1, 0.2, 0.3)},
    )
    clip = load_clip(f"{configuration}-quickgelu", "openai")
    assert asked["prefer_hf_hub"] is False, "OpenAI's own archive has a checksum known beforehand"
    assert clip.tower.mean_std[0] == (0.1, 0.2, 0.3) and clip.sha256 == sha256_of(path)


@pytest.mark.parametrize(
    ("model", "weights", "says"),
    [
        ("ViT-B-16-quikgelu", "openai", "Did you mean 'ViT-B-16-quickgelu'"),
        ("ViT-B-16", "opnai", "Did you mean 'openai'"),
        ("EVA02-B-16", "some.pt", "plain ViT and text transformer"),
    ],
)
def test_unknown_names(tmp_path: Path, model: str, weights: str, says: str) -> None:
    if "." in weights:
        weights = str(tmp_path / weights)
        torch.save({}, weights)
    with pytest.raises(UsageError, match=says):
        load_clip(model, weights)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one of them is missing"):
        load_clip("x", str(tmp_path))
    folder = write_folder(tmp_path / "broken", tiny_clip())
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(DataError, match="open_clip configuration but it cannot be read"):
        load_clip("x", str(folder))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY | {"embed_dim": 13}}))
    with pytest.raises(DataError, match="do not load"):
        load_clip("x", str(folder))


def test_moving_moves_everything(tmp_path: Path) -> None:
    clip = load_clip("x", str(write_folder(tmp_path / "mine", tiny_clip()))).to("meta")
    assert next(clip.tower.parameters()).device.type == "meta"
