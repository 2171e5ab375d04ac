from __future__ import annotations

import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, UsageError
from wsol_bench.models.backbones import Backbone, build_backbone
from wsol_bench.models.weights import (
    fetched,
    load_state,
    pretrained_unneeded,
    read_state,
    with_pretrained,
    without_pretrained,
)

Wrap = Callable[[dict[str, torch.Tensor]], Any]


def _saved(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


def _assert_equal(one: Backbone, other: Backbone) -> None:
    pairs = zip(one.trunk.state_dict().items(), other.trunk.state_dict().items(), strict=True)
    for (name, value), (_, expected) in pairs:
        assert torch.equal(value, expected), name


def _tiny(seed: int) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone("resnet_tiny")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {f"backbone.trunk.{name}": value for name, value in state.items()},
        lambda state: state | {"fc.weight": torch.zeros(10, 128)},
    ],
    ids=["plain", "state_dict", "model", "data_parallel", "own_checkpoint", "with_head"],
)
def test_round_trip_through_a_file(tmp_path: Path, wrap: Wrap) -> None:
    source = _tiny(1)
    path = _saved(tmp_path / "weights.pt", wrap(source.trunk.state_dict()))
    torch.manual_seed(2)
    _assert_equal(build_backbone("resnet_tiny", path), source)


def test_checksum(tmp_path: Path) -> None:
    path = _saved(tmp_path / "weights.pt", _tiny(1).trunk.state_dict())
    digest = sha256_of(Path(path))
    build_backbone("resnet_tiny", f"{path}@sha256:{digest.upper()}")
    with pytest.raises(DataError, match=f"sha256 {'0' * 64} but the file has {digest}"):
        build_backbone("resnet_tiny", f"{path}@sha256:{'0' * 64}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.pt: Expected weights to be 'none', 'torchvision'"):
        build_backbone("resnet_tiny", str(tmp_path / "nowhere.pt"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n", b"PK\x03\x04broken", b"\x80\x02}q\x00."])
def test_not_a_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pt"):
        build_backbone("resnet_tiny", str(path))


def test_truncated_checkpoint(tmp_path: Path) -> None:
    path = Path(_saved(tmp_path / "weights.pt", _tiny(1).trunk.state_dict()))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        build_backbone("resnet_tiny", str(path))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, torch.zeros(3)], ids=["list", "numbers", "tensor"])
def test_no_state_dict(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match="names to tensors"):
        build_backbone("resnet_tiny", _saved(tmp_path / "weights.pt", content))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "was_here"
    with pytest.raises(DataError):
        build_backbone("resnet_tiny", _saved(tmp_path / "evil.pt", {"x": _RunsCode(marker)}))
    assert not marker.exists()


class _RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_another_architecture(tmp_path: Path) -> None:
    path = _saved(tmp_path / "tiny.pt", _tiny(1).trunk.state_dict())
    with pytest.raises(DataError, match=r"tiny.pt' to fit .* entries are missing or of another shape, first 'conv1"):
        build_backbone("resnet_small", path)


@pytest.mark.parametrize("error", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value")])
def test_torchvision_without_a_network(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", refuse)
    with pytest.raises(UsageError, match=r"'torchvision' but it failed .*weights=FILE.*weights=none"):
        build_backbone("resnet18", "torchvision")


def test_timm_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    class ConnectError(Exception):
        """As the HTTP client's: derived from no class that we know."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise ConnectError("name resolution failed")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UsageError, match=r"'timm:resnet18' but it failed \(ConnectError: name resolution failed\)"):
        build_backbone("resnet18", "timm:resnet18")


def test_unknown_timm_model() -> None:
    with pytest.raises(UsageError, match="no_such_net"):
        build_backbone("resnet18", "timm:no_such_net")


@pytest.mark.parametrize(("name", "part"), [("resnet18", "layer4.1.conv2"), ("vgg16", "features.28")])
def test_names_and_shapes_of_torchvision_and_timm_fit(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        torchvision_shapes = _shapes(getattr(torchvision.models, name)(weights=None))
        timm_shapes = _shapes(timm.create_model(name))
    # The numbers do not matter, only where they end up.
    state = {
        key: torch.full(shape, 0.5) for key, shape in torchvision_shapes.items() if not key.startswith("classifier.")
    }
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_args, **_kwargs: state)
    backbone = build_backbone("vgg16_gap" if name == "vgg16" else name, "torchvision")
    layer = backbone.trunk.get_submodule(part)
    assert isinstance(layer, nn.Conv2d)
    assert (layer.weight == 0.5).all()
    for key, value in backbone.trunk.state_dict().items():
        assert key.startswith("conv6.") or timm_shapes[key] == value.shape, key


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in network.state_dict().items()}


def test_skipped_where_a_checkpoint_follows(tmp_path: Path) -> None:
    with without_pretrained():
        assert load_state("timm:whatever") is None
        backbone = build_backbone("resnet_tiny", str(tmp_path / "gone.pt"))
    assert len(backbone.param_groups(nn.Linear(1, 1), 1.0)) == 2, "still a pretrained network to the optimiser"
    with pytest.raises(DataError):
        load_state(str(tmp_path / "gone.pt"))


def test_classifier_of_the_weights(tmp_path: Path) -> None:
    linear = nn.Linear(128, 10)
    state = _tiny(1).trunk.state_dict() | {f"fc.{name}": value for name, value in linear.state_dict().items()}
    backbone = build_backbone("resnet_tiny", _saved(tmp_path / "weights.pt", state))
    copied = nn.Linear(128, 10)
    backbone.copy_classifier(copied)
    assert torch.equal(copied.weight, linear.weight)
    assert torch.equal(copied.bias, linear.bias)
    with pytest.raises(UsageError, match="11 classes over 128 channels"):
        backbone.copy_classifier(nn.Linear(128, 11))


DINO_HEAD = {"module.head.last_layer.weight": torch.zeros(4)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {
            "teacher": {f"module.backbone.{name}": one for name, one in state.items()} | DINO_HEAD,
            "epoch": 1,
        },
        lambda state: {"teacher": {f"backbone.{name}": one for name, one in state.items()}, "student": {"x": 1}},
        lambda state: {"state_dict": {f"module.{name}": one for name, one in state.items()}, "best": 0.5},
        lambda state: {"model": state, "optimizer": {"lr": 1.0}},
        lambda state: {"state_dict": {"teacher": state}},
        lambda state: {f"tower.vit.{name}": one for name, one in state.items()},
        lambda state: {f"backbone.trunk.{name}": one for name, one in state.items()},
    ],
    ids=["dino", "teacher", "data_parallel", "model", "nested", "own_vit", "own_backbone"],
)
def test_official_checkpoints_are_unwrapped(tmp_path: Path, wrap: Wrap) -> None:
    state = {"blocks.0.norm1.weight": torch.rand(3), "head.module.weight": torch.rand(2, 2)}
    found = read_state(_saved(tmp_path / "weights.pth", wrap(state)), "'none'")
    found.pop("head.last_layer.weight", None)
    assert set(found) == set(state), "prefixes are dropped at the start only"
    assert all(torch.equal(found[name], one) for name, one in state.items())


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"module.backbone.cls_token": torch.arange(3.0), "module.head.bias": torch.ones(2).half()}, path)
    found = read_state(f"{path}@sha256:{sha256_of(path)}", "'none'")
    assert set(found) == {"cls_token", "head.bias"} and found["head.bias"].dtype == torch.float16
    assert torch.equal(found["cls_token"], torch.arange(3.0))
    with pytest.raises(DataError, match=r"Expected sha256 00 but the file has"):
        read_state(f"{path}@sha256:00", "'none'")


@pytest.mark.parametrize("content", [b"", b"not safetensors", None], ids=["empty", "other", "truncated"])
def test_damaged_safetensors(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(DataError, match=r"weights\.safetensors: Expected a file of safetensors but it cannot be read"):
        read_state(str(path), "'none'")


def test_safetensors_fill_a_backbone(tmp_path: Path) -> None:
    source = _tiny(1)
    save_file(source.trunk.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(2)
    _assert_equal(build_backbone("resnet_tiny", str(tmp_path / "weights.safetensors")), source)


def test_the_error_says_what_could_have_been_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected weights to be 'this', 'that' or a file, but this file does not"):
        read_state(str(tmp_path / "gone.safetensors"), "'this', 'that'")


def test_what_is_fetched_is_returned_and_what_is_not_says_why() -> None:
    assert fetched(lambda: 3, "of a test") == 3

    def refuse() -> None:
        raise OSError("first line\nsecond " + "x" * 1000)

    with pytest.raises(UsageError, match=r"weights of a test but it failed \(OSError: first line second x+") as raised:
        fetched(refuse, "of a test")
    assert isinstance(raised.value.__cause__, OSError) and len(str(raised.value)) < 600
    with pytest.raises(KeyboardInterrupt):
        fetched(_interrupted, "of a test")


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_frozen_networks_are_loaded_where_a_checkpoint_follows(tmp_path: Path) -> None:
    path = _saved(tmp_path / "weights.pt", _tiny(1).trunk.state_dict())
    assert not pretrained_unneeded()
    with without_pretrained():
        with with_pretrained():
            assert not pretrained_unneeded() and load_state(path) is not None
            with without_pretrained():
                assert load_state(path) is None
            assert load_state(path) is not None
        assert pretrained_unneeded() and load_state(path) is None
        with pytest.raises(RuntimeError, match="broken"), with_pretrained():
            raise RuntimeError("broken")
        assert pretrained_unneeded(), "also after an exception"
    assert not pretrained_unneeded()
