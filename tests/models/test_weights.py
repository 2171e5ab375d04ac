from __future__ import annotations

import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, UsageError
from wsol_bench.models.backbones import Backbone, build_backbone
from wsol_bench.models.weights import load_state, without_pretrained

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
