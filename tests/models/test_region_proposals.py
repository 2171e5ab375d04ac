from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import detection, get_model_weights

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, UsageError
from wsol_bench.models.region_proposals import (
    CONFIG,
    WEIGHTS,
    ProposerConfig,
    RegionProposer,
    build_proposer,
    load_proposer,
)

SMALL = ProposerConfig(
    side=64, backbone="resnet_tiny", anchors=(16, 32), ratios=(0.5, 1.0), mean=(0.5,) * 3, std=(0.25,) * 3
)
MOBILE = "fasterrcnn_mobilenet_v3_large_fpn"


def images(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def detector() -> detection.FasterRCNN:
    torch.manual_seed(0)
    return detection.fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None).eval()


def test_proposals_are_those_of_the_detector(detector: detection.FasterRCNN) -> None:
    """The library's own forward pass returns the same boxes, without objectness and at its own scale."""
    proposer = RegionProposer(detector.transform, detector.backbone, detector.rpn)
    found = proposer(images())
    scaled, _ = detector.transform([image.permute(2, 0, 1) / 255 for image in images()])
    with torch.no_grad():
        expected, _ = detector.rpn(scaled, detector.backbone(scaled.tensors))
    for (boxes, objectness), own in zip(found, expected, strict=True):
        torch.testing.assert_close(boxes, own * 64 / scaled.image_sizes[0][0])
        assert objectness.shape == (len(boxes),) and ((objectness >= 0) & (objectness <= 1)).all()
        assert (objectness.diff() <= 0).all(), "best first"


def test_boxes_are_in_pixels_of_the_image_given() -> None:
    torch.manual_seed(0)
    proposer = build_proposer(SMALL).eval()
    large = images(side=128)
    for boxes, _ in proposer(large):
        assert len(boxes) and boxes.min() >= 0 and 64 < boxes.max() <= 128


def test_an_image_depends_on_itself_alone() -> None:
    torch.manual_seed(0)
    proposer = build_proposer(SMALL).eval()
    together = proposer(images(4))
    for i, (boxes, objectness) in enumerate(together):
        alone = proposer(images(4)[i : i + 1])[0]
        torch.testing.assert_close(alone, (boxes, objectness))


def test_a_folder_of_a_small_proposer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    proposer = build_proposer(SMALL).eval()
    (tmp_path / CONFIG).write_text(SMALL.model_dump_json())
    save_file({name: value.contiguous() for name, value in proposer.state_dict().items()}, tmp_path / WEIGHTS)
    loaded = load_proposer("ignored", str(tmp_path))
    torch.testing.assert_close(loaded(images()), proposer(images()))
    assert loaded.sha256 == sha256_of(tmp_path / WEIGHTS) and not loaded.training
    (tmp_path / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(DataError, match="Expected the weights of the proposer"):
        load_proposer("ignored", str(tmp_path))
    (tmp_path / CONFIG).write_text('{"side": 64}')
    with pytest.raises(DataError, match="backbone"):
        load_proposer("ignored", str(tmp_path))


def test_a_file_of_a_detector(tmp_path: Path, detector: detection.FasterRCNN) -> None:
    path = tmp_path / "detector.pth"
    torch.save(detector.state_dict(), path)
    loaded = load_proposer(MOBILE, f"{path}@sha256:{sha256_of(path)}")
    expected = RegionProposer(detector.transform, detector.backbone, detector.rpn)(images())
    torch.testing.assert_close(loaded(images()), expected)
    with pytest.raises(DataError, match="but they do not fit"):
        load_proposer("fasterrcnn_resnet50_fpn", str(path))
    with pytest.raises(DataError, match="Expected sha256"):
        load_proposer(MOBILE, f"{path}@sha256:00")


@pytest.mark.parametrize(
    ("model", "checksum"),
    [
        ("fasterrcnn_resnet50_fpn", "sha256 258fb6c638b15964ddcdd1ae0748c5eef1be9e732750120cc857feed3faac384"),
        (MOBILE, "its sha256 begins with fb6a3cc7"),
    ],
)
def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, model: str, checksum: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(type(get_model_weights(model)["COCO_V1"]), "get_state_dict", refused)
    with pytest.raises(UsageError) as raised:
        load_proposer(model, "coco")
    url = get_model_weights(model)["COCO_V1"].url
    for part in ("no route to host", checksum, url, f"checkpoints/{url.rsplit('/', 1)[1]}", "weights=FILE"):
        assert part in str(raised.value)


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="Did you mean 'fasterrcnn_resnet50_fpn'"):
        load_proposer("fastercnn_resnet50_fpn", "coco")
    with pytest.raises(DataError, match="to be 'coco', 'embedded', a folder or a file, but this file does not exist"):
        load_proposer("fasterrcnn_resnet50_fpn", "cocoo")
