"""SPG: self-produced guidance (Zhang et al., ECCV 2018).

The class attention, thresholded into sure foreground, sure background and unknown, teaches a side branch on late
features, whose output teaches a branch on earlier ones; what both agree on teaches a last branch. These pixel losses
push the shared features to tell object from background. At test time only the class map is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.cam import BackboneParams
from wsol_bench.methods.hparams import Fixed, Uniform, hp
from wsol_bench.models.backbones import build_backbone
from wsol_bench.models.backbones.backbone import initialise
from wsol_bench.models.heads import ConvHead, in_float32, normalised_maps

MIN_FOREGROUND = 30 / 224**2
"""With a smaller share of sure foreground, the pixels above 0.7 of the maximum are taken."""

FALLBACK_SHARE = 0.7


class SPG(Method):
    """A classifier whose own attention supervises side branches pixel by pixel."""

    title = "Self-produced guidance"
    citation = "Zhang et al., Self-produced Guidance for Weakly-supervised Object Localization, ECCV 2018"

    class HParams(BackboneParams):
        """Hyper-parameters of SPG: for each of its three pixel losses, what is foreground and what background.

        The low threshold is given relative to the high one, so that every draw is valid.
        """

        high_1: float = hp(0.7, Uniform(0.0, 1.0), "attention above this is foreground for the late branch, 0 to 1")
        low_1: float = hp(0.01, Uniform(0.0, 1.0), "below this share of high_1 it is background, 0 to 1")
        high_2: float = hp(0.5, Uniform(0.0, 1.0), "the same for what the late branch teaches the early one, 0 to 1")
        low_2: float = hp(0.1, Uniform(0.0, 1.0), "share of high_2, 0 to 1")
        high_3: float = hp(0.7, Uniform(0.0, 1.0), "the same for what both teach the last branch, 0 to 1")
        low_3: float = hp(0.14, Uniform(0.0, 1.0), "share of high_3, 0 to 1")
        branch_channels: int = hp(
            0, Fixed(), "channels of the branches; 0: 1,024 (ResNets) or 512 on the sides, 512 last"
        )

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        # Two convolutions stand before the class maps: those of InceptionV3's own end, new ones for VGG16, none for
        # others.
        bare, new = hparams.backbone == "vgg16_gap", 2 if hparams.backbone == "vgg16_gap" else 0
        self.backbone = build_backbone(hparams.backbone, hparams.weights, hparams.large_feature_map, bare=bare)
        early, late = self._guide_channels(frame)
        width = hparams.branch_channels or (1024 if hparams.backbone.startswith("resnet") else 512)
        channels = self.backbone.channels
        extra = [layer for _ in range(new) for layer in (nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())]
        self.heads = nn.ModuleDict(
            {
                "extra": nn.Sequential(*extra),
                "classes": nn.Conv2d(channels, num_classes, 1),
                "early": nn.Sequential(nn.Conv2d(early, width, 3, padding=1), nn.ReLU()),
                "late": nn.Sequential(nn.Conv2d(late, width, 3, padding=1), nn.ReLU()),
                # One tail for both branches.
                "tail": ConvHead(width, width, 1, depth=1),
                "last": ConvHead(channels, hparams.branch_channels or 512, 1, depth=1),
            }
        )
        initialise(self.heads, nn.init.xavier_uniform_)
        self.slow_head = hparams.backbone.startswith("resnet")
        pairs = [(getattr(hparams, f"high_{i}"), getattr(hparams, f"low_{i}")) for i in (1, 2, 3)]
        self.thresholds = [(high, high * low) for high, low in pairs]

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        size = batch.images.shape[2:]
        features, kept = self.backbone.with_features(batch.images, self.backbone.points.guides)
        deep = self.heads["extra"](features)
        class_maps = in_float32(self.heads["classes"], deep)
        guides = zip(("early", "late"), self.backbone.points.guides, strict=True)
        early, late = (self._upsampled(self.heads["tail"](self.heads[name](kept[unit])), size) for name, unit in guides)
        last = self._upsampled(self.heads["last"](deep), size)
        rows = torch.arange(len(batch.labels), device=batch.labels.device)
        # The class is taken first: upsampling all of them would need gigabytes.
        attention = normalised_maps(self._upsampled(class_maps[rows, batch.labels][:, None].detach(), size))
        early_seen, late_seen = early.detach().sigmoid(), late.detach().sigmoid()
        return {
            "cross_entropy": F.cross_entropy(class_maps.mean(dim=(2, 3)), batch.labels),
            "late": guidance_loss(late, attention, *self.thresholds[0]),
            "early": guidance_loss(early, late_seen, *self.thresholds[1]),
            "last": guidance_loss(last, (early_seen + late_seen) / 2, *self.thresholds[2]),
        }

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        class_maps = in_float32(self.heads["classes"], self.heads["extra"](self.backbone(images)))
        logits = class_maps.mean(dim=(2, 3))
        rows = torch.arange(len(images), device=images.device)
        return Localization(maps=class_maps[rows, self.select_labels(logits, labels)], logits=logits)

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return self.backbone.param_groups(self.heads, lr, slow_head=self.slow_head)

    def _guide_channels(self, frame: int) -> tuple[int, int]:
        _, shapes = self.backbone.shapes(frame, self.backbone.points.guides)
        early, late = (shapes[unit][0] for unit in self.backbone.points.guides)
        return early, late

    @staticmethod
    def _upsampled(maps: Tensor, size: Sequence[int]) -> Tensor:
        """Resizes ``[B, 1, h, w]`` to ``[B, H, W]``."""
        return F.interpolate(maps.float(), tuple(size), mode="bilinear", align_corners=False)[:, 0]


def guidance_loss(logits: Tensor, teacher: Tensor, high: float, low: float) -> Tensor:
    """Returns the mean binary cross-entropy of logits ``[B, H, W]`` over the pixels about which the teacher is sure.

    Above ``high`` the teacher means foreground, below ``low`` background, which wins where both hold. An image with
    next to no foreground takes that above 0.7 of its maximum instead. Without any sure pixel the loss is 0.
    """
    foreground = teacher > high
    few = foreground.float().mean(dim=(1, 2), keepdim=True) < MIN_FOREGROUND
    fallback = teacher > FALLBACK_SHARE * teacher.amax(dim=(1, 2), keepdim=True)
    foreground = torch.where(few, fallback, foreground)
    background = teacher < low
    sure = (foreground | background).float()
    target = (foreground & ~background).float()
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * sure).sum() / sure.sum().clamp(min=1)
