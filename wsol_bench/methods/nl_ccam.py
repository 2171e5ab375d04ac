"""NL-CCAM: non-local blocks and combinational class activation maps (Yang et al., WACV 2020).

The map is not that of one class but a combination of all, weighted by the rank of their scores: classes on top add,
those at the bottom subtract. In the published form the label plays no part, so even GT-known numbers rest on the
prediction; ``label_first=true`` puts the label on top, which is a variant of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Localization
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.models.heads import in_float32
from wsol_bench.models.non_local import NonLocalBlock

LEAK = 0.2
_VGG_BLOCKS = ("features.9", "features.16", "features.23", "features.29")
"""Behind pool2, pool3, pool4 and conv5_3."""


class NLCCAM(CAM):
    """A classifier with non-local blocks, and the combination of all its class maps."""

    title = "Non-local combinational class activation maps"
    citation = "Yang et al., Combinational Class Activation Maps for Weakly Supervised Object Localization, WACV 2020"

    class HParams(CAM.HParams):
        """Hyper-parameters of NL-CCAM."""

        combination: str = hp("quadratic", Fixed(("quadratic", "linear", "top")), "weights of ranks; top is plain CAM")
        positive_share: float = hp(0.5, Fixed(), "share of the ranks that add, 0.5 is 100 of 200 classes")
        label_first: bool = hp(False, Fixed(), "put the label on top of the ranking (not in the paper)")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        if hparams.combination != "top" and num_classes < 2:
            raise UsageError("Expected at least two classes to combine but got one; fix: combination=top.")
        places = self.backbone.points.erase
        if hparams.backbone == "vgg16_gap":
            places = tuple(unit for unit in _VGG_BLOCKS if unit in self.backbone.units)
            for module in list(self.backbone.trunk.modules()):
                for name, child in module.named_children():
                    if isinstance(child, nn.ReLU):
                        setattr(module, name, nn.LeakyReLU(LEAK))
        _, shapes = self.backbone.shapes(frame, places)
        self.blocks = nn.ModuleDict({unit.replace(".", "/"): NonLocalBlock(shapes[unit][0]) for unit in places})
        self.combination, self.label_first = hparams.combination, hparams.label_first
        self.positive = min(max(2, round(hparams.positive_share * num_classes)), max(num_classes - 2, 1))
        self.requires_grad_(hparams.train)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images, self._look_around)
        return features

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        features = self.features(images)
        logits = self.head(features)
        if self.combination == "top":
            return Localization(self.head.class_maps(features, self.select_labels(logits, labels)), logits)
        ranking = logits.argsort(dim=1, descending=True, stable=True)
        if self.label_first and labels is not None:
            raised = logits.scatter(1, labels[:, None], torch.inf)
            ranking = raised.argsort(dim=1, descending=True, stable=True)
        by_rank = rank_weights(logits.shape[1], self.positive, self.combination).to(logits)
        by_class = torch.zeros_like(logits).scatter_(1, ranking, by_rank.expand_as(logits))
        weights = in_float32(lambda x: x @ self.head.linear.weight, by_class)
        maps = in_float32(lambda x: torch.einsum("bkhw,bk->bhw", x, weights), features)
        return Localization(maps=maps, logits=logits)

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        # One rate for everything: the ten times faster head of CAM is not part of this method.
        return [{"params": list(self.parameters()), "lr": lr}]

    def _look_around(self, unit: str, features: Tensor) -> Tensor | None:
        name = unit.replace(".", "/")
        return self.blocks[name](features) if name in self.blocks else None


def rank_weights(num_classes: int, positive: int, combination: str = "quadratic") -> Tensor:
    """Returns the weight of every rank ``[C]``, from 1 for the highest score to -1 for the lowest.

    Args:
        num_classes: C, at least 2.
        positive: number of ranks with a positive weight; ``quadratic`` only.
        combination: ``quadratic`` (falls to 0 at the last positive rank, then to -1) or ``linear``.
    """
    ranks = torch.arange(num_classes, dtype=torch.float32)
    if combination == "linear":
        return 1 - 2 * ranks / (num_classes - 1)
    above = (1 - ranks / max(positive - 1, 1)).square()
    below = -((ranks - positive) / max(num_classes - positive - 1, 1)).square()
    return torch.where(ranks < positive, above, below)
