"""Score-CAM (Wang et al., CVPR Workshops 2020): a channel weighs as much as the image that it lets through scores.

Each channel's activation, stretched to [0, 1] and enlarged, masks the normalised image; the class's logits of the
masked images, through a softmax over the channels, are the weights. This costs one pass of the network per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.methods.posthoc import PostHoc, Score
from wsol_bench.models.heads import normalised_maps


class ScoreCAM(PostHoc):
    """Weights from the scores of masked images."""

    title = "Score-CAM"
    citation = (
        "Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPRW 2020"
    )

    class HParams(PostHoc.HParams):
        """Hyper-parameters of the masking."""

        channels: int = hp(0, Fixed(), "channels tried, those with the highest mean activation; 0: all, as published")
        masked_batch: int = hp(128, Fixed(), "masked images in one pass; bounds the memory")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.tried: int = hparams.channels
        self.masked_batch: int = hparams.masked_batch

    def weigh(self, images: Tensor, activations: Tensor, labels: Tensor, score: Score) -> Tensor:
        batch, channels = activations.shape[:2]
        tried = min(self.tried or channels, channels)
        chosen = activations.mean(dim=(2, 3)).topk(tried, dim=1).indices
        rows = torch.arange(batch, device=images.device)[:, None].expand(-1, tried).flatten()
        columns = chosen.flatten()
        scores = [
            self.masked_scores(images[part], _masks(activations[part, which], images.shape[2:]), labels[part])
            for part, which in zip(*(torch.split(x, self.masked_batch) for x in (rows, columns)), strict=True)
        ]
        weights = torch.softmax(torch.cat(scores).view(batch, tried).float(), dim=1)
        return torch.zeros(batch, channels, device=images.device).scatter_(1, chosen, weights)[:, :, None, None]

    def masked_scores(self, images: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        """Returns the logit ``[N]`` of each label for its masked image.

        Args:
            images: ``[N, 3, S, S]``, normalised.
            masks: ``[N, 1, S, S]`` in [0, 1].
            labels: ``[N]``.
        """
        return self.class_scores(images * masks, labels)

    def class_scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """Returns the logit ``[N]`` of each label for images ``[N, 3, S, S]``."""
        logits: Tensor = self.head(self.features(images))
        return logits.gather(1, labels[:, None])[:, 0].detach()


def _masks(activations: Tensor, size: Sequence[int]) -> Tensor:
    """Stretches ``[N, h, w]`` to [0, 1] and enlarges them to ``[N, 1, *size]``."""
    return F.interpolate(normalised_maps(activations)[:, None], tuple(size), mode="bilinear", align_corners=False)
