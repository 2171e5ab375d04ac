"""Class-agnostic region proposals with objectness: the first stage of a Faster R-CNN, its second stage left out.

Source: Ren et al., Faster R-CNN, NeurIPS 2015; torchvision's implementation, whose parts are used as they are.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import detection, get_model_weights
from torchvision.models.detection.rpn import (
    AnchorGenerator,
    RegionProposalNetwork,
    RPNHead,
    concat_box_prediction_layers,
)
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, unknown_choice
from wsol_bench.models.backbones import build_backbone
from wsol_bench.models.embedded import EMBEDDED, embedded_folder
from wsol_bench.models.weights import checked_file, failed_fetch, read_torch_file
from wsol_bench.yaml_file import StrictModel, read_yaml

COCO = "coco"
CONFIG, WEIGHTS = "proposer.json", "proposer.safetensors"
NMS_IOU, PROPOSALS = 0.7, 1000
"""torchvision's values at test time: boxes with a larger IoU to a better one go, and so many stay."""

DETECTORS = ("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_fpn")
"""Detectors of torchvision with COCO weights."""

_SHA256 = {
    "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth": "258fb6c638b15964ddcdd1ae0748c5eef1be9e732750120cc857feed3faac384"
}
"""Whole checksums of official files; their names carry the first eight digits only."""


class ProposerConfig(StrictModel):
    """A small proposer: what ``proposer.json`` holds.

    Attributes:
        side: to which images are resized, in pixels.
        backbone: one of the small networks of ``models.backbones``.
        anchors: sides of square anchors, in pixels at ``side``.
        ratios: heights over widths of the anchors.
        mean: channel means, for pixel values in [0, 1].
        std: channel deviations.
    """

    side: int
    backbone: str
    anchors: tuple[int, ...]
    ratios: tuple[float, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class RegionProposer(nn.Module):
    """Backbone and region proposal network of a detector, in evaluation mode.

    Args:
        transform: resizes and normalises images.
        backbone: maps images to feature maps.
        rpn: torchvision's region proposal network.
    """

    def __init__(
        self, transform: GeneralizedRCNNTransform, backbone: nn.Module, rpn: RegionProposalNetwork, sha256: str = ""
    ) -> None:
        super().__init__()
        self.transform = transform
        self.backbone = backbone
        self.rpn = rpn
        self.sha256 = sha256

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Proposes boxes.

        Args:
            images: ``[B, S, S, 3]`` uint8.

        Returns:
            For each image boxes ``[K, 4]`` float, ``x0, y0, x1, y1`` as edges in pixels of the image given, and their
            objectness ``[K]`` in [0, 1], best first.
        """
        scaled, _ = self.transform([image.permute(2, 0, 1).float() / 255 for image in images])
        features = self.backbone(scaled.tensors)
        levels = [features] if isinstance(features, Tensor) else list(features.values())
        objectness, deltas = self.rpn.head(levels)
        anchors = self.rpn.anchor_generator(scaled, levels)
        per_level = [level[0].numel() for level in objectness]
        flat_objectness, flat_deltas = concat_box_prediction_layers(objectness, deltas)
        boxes = self.rpn.box_coder.decode(flat_deltas, anchors).view(len(images), -1, 4)
        kept, scores = self.rpn.filter_proposals(boxes, flat_objectness, scaled.image_sizes, per_level)
        side = images.shape[1]
        back = [torch.tensor([side / w, side / h] * 2, device=images.device) for h, w in scaled.image_sizes]
        return [(box * factor, score) for box, factor, score in zip(kept, back, scores, strict=True)]


def load_proposer(model: str, weights: str) -> RegionProposer:
    """Loads a region proposer for inference.

    Args:
        model: one of :data:`DETECTORS`; not used where ``weights`` is a folder.
        weights: ``coco`` for torchvision's weights, a file ``PATH[@sha256:<hex>]`` of a detector of this architecture,
            a folder as ``scripts/train_proposer.py`` writes it, or ``embedded`` for the small model of this package.

    Raises:
        UsageError: a name is unknown, or weights cannot be fetched.
        DataError: a file is missing, damaged, of another model, or has another checksum.
    """
    folder = embedded_folder("proposer") if weights == EMBEDDED else Path(weights).expanduser()
    if folder.is_dir():
        return _from_folder(folder)
    if model not in DETECTORS:
        raise unknown_choice("a detector", model, DETECTORS)
    path = _coco_file(model) if weights == COCO else checked_file(weights, f"'{COCO}', '{EMBEDDED}', a folder")
    detector = getattr(detection, model)(weights=None, weights_backbone=None)
    try:
        detector.load_state_dict(read_torch_file(path))
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"Expected the weights of a {model} but they do not fit: {reason}", path) from error
    return RegionProposer(detector.transform, detector.backbone, detector.rpn, sha256_of(path)).eval()


def build_proposer(config: ProposerConfig) -> RegionProposer:
    """Builds a small proposer with fresh weights: one feature map, torchvision's anchors, head and losses."""
    backbone = build_backbone(config.backbone)
    anchors = AnchorGenerator((config.anchors,), (config.ratios,))
    rpn = RegionProposalNetwork(
        anchors,
        RPNHead(backbone.channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=64,
        positive_fraction=0.5,
        pre_nms_top_n={"training": PROPOSALS, "testing": PROPOSALS},
        post_nms_top_n={"training": PROPOSALS, "testing": PROPOSALS},
        nms_thresh=NMS_IOU,
    )
    transform = GeneralizedRCNNTransform(config.side, config.side, list(config.mean), list(config.std))
    return RegionProposer(transform, backbone, rpn)


def _from_folder(folder: Path) -> RegionProposer:
    config = read_yaml(folder / CONFIG, ProposerConfig)
    proposer = build_proposer(config)
    path = folder / WEIGHTS
    try:
        proposer.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"Expected the weights of the proposer of {CONFIG} but: {reason}", path) from error
    proposer.sha256 = sha256_of(path)
    return proposer.eval()


def _coco_file(model: str) -> Path:
    weights = get_model_weights(model)["COCO_V1"]
    name = weights.url.rsplit("/", 1)[1]
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        weights.get_state_dict(check_hash=True, progress=True)
    # torch.hub raises OSErrors (URLError) and RuntimeErrors (checksum); the way out is the same.
    except (OSError, RuntimeError) as error:
        digits = name.removesuffix(".pth").rsplit("-", 1)[1]
        checksum = f"sha256 {_SHA256[name]}" if name in _SHA256 else f"its sha256 begins with {digits}"
        fix = f"download {weights.url} ({checksum}) to {path}, or pass the file as weights=FILE[@sha256:<hex>]"
        raise failed_fetch(f"'{COCO}' of {model}", error, fix) from error
    return path
