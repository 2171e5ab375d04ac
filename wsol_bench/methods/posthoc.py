"""What the post-hoc family shares: a classifier trained as CAM's, and maps read off one of its layers afterwards.

Every method of the family is ``M = ReLU(sum_k w_k A_k)`` of the activations ``A`` of a layer, with weights of its own.
``train=false`` with ``weights=FILE`` reads the maps of a classifier that was trained elsewhere or by another trial.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from wsol_bench.methods.base import Localization
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import Fixed, hp

Score = Callable[[Tensor], Tensor]
"""Maps activations ``[B, K, h, w]`` to logits ``[B, C]``."""


class PostHoc(CAM):
    """Base of methods that read maps off a layer of a trained classifier."""

    class HParams(CAM.HParams):
        """Hyper-parameters of the family."""

        layer: str = hp("last", Fixed(), "unit of the backbone whose output is weighed; last: what is pooled")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.layer = self.backbone.units[-1] if hparams.layer == "last" else hparams.layer

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        activations = self.backbone(images, until=self.layer).detach()
        logits = self._score(activations).detach()
        chosen = self.select_labels(logits, labels)
        weights = self.weigh(images, activations.float(), chosen, self._score)
        weighted = (weights * activations.float()).sum(dim=1)
        return Localization(maps=torch.relu(weighted), logits=logits)

    @abstractmethod
    def weigh(self, images: Tensor, activations: Tensor, labels: Tensor, score: Score) -> Tensor:
        """Returns weights ``[B, K, h, w]``, or ``[B, K, 1, 1]`` for weights of whole channels.

        Args:
            images: ``[B, 3, S, S]``, normalised.
            activations: ``[B, K, h, w]`` float32 of the layer, detached.
            labels: ``[B]`` classes whose maps are wanted.
            score: the rest of the network, from these activations to logits.
        """

    def _score(self, activations: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(activations, after=self.layer))
        return logits


class GradientPostHoc(PostHoc):
    """Base of methods whose weights come from derivatives of the class's logit."""

    def weigh(self, images: Tensor, activations: Tensor, labels: Tensor, score: Score) -> Tensor:
        with torch.enable_grad():
            leaf = activations.requires_grad_()
            picked = score(leaf).gather(1, labels[:, None])
            (gradients,) = torch.autograd.grad(picked.sum(), leaf)
        return self.weigh_gradients(leaf.detach(), gradients)

    @abstractmethod
    def weigh_gradients(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Returns weights as :meth:`weigh` does, from activations and gradients ``[B, K, h, w]``."""
