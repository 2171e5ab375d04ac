r"""TS-CAM: token semantic coupled attention maps (Gao et al., ICCV 2021).

The class scores of a ViT come from its patch tokens, through a 3 x 3 convolution whose output is averaged over the
grid. The map of class ``c`` is its output ``S_c``, multiplied by the attention of the class token to every patch,
averaged over heads and summed over all blocks: ``M_c = a * S_c``. ``S`` is used as it is, negative values included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import Fixed, HyperParams, hp
from wsol_bench.models.embedded import EMBEDDED
from wsol_bench.models.heads import in_float32
from wsol_bench.models.vit import MINI, VitTower, build_vit, decay_groups
from wsol_bench.models.weights import NO_WEIGHTS, StateDict


class TransformerParams(HyperParams):
    """What every method on a trained vision transformer has."""

    backbone: str = hp(MINI, Fixed(), "a plain ViT: a model of timm such as deit_small_patch16_224, or the small one")
    weights: str = hp(
        EMBEDDED, Fixed(), "'none', 'timm' (those of the model's name), 'embedded', or FILE[@sha256:<hex>]"
    )
    drop_path: float = hp(0.1, Fixed(), "stochastic depth of the last block, rising from 0 in the first")
    pretrained_head: bool = hp(False, Fixed(), "also start from the head of the weights: a checkpoint of this method")
    train: bool = hp(True, Fixed(), "false: take the weights, head included, as they are")


class TSCAM(Method):
    """Attention of the class token, multiplied by semantic maps of the patches."""

    title = "Token semantic coupled attention map"
    citation = (
        "Gao et al., TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised Object Localization, ICCV 2021"
    )

    class HParams(TransformerParams):
        """Hyper-parameters of TS-CAM: none beyond those of its backbone."""

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        whole = hparams.pretrained_head or not hparams.train
        if whole and hparams.weights in (NO_WEIGHTS, EMBEDDED):
            wish = "pretrained_head=true" if hparams.pretrained_head else "train=false"
            raise UsageError(
                f"Expected a checkpoint of the method for {wish} but got weights={hparams.weights}; fix: name its file."
            )
        vit, others = build_vit(hparams.backbone, hparams.weights, frame, drop_path=hparams.drop_path)
        self.tower = VitTower(vit)
        self.head = nn.Conv2d(self.tower.width, num_classes, 3, padding=1)
        self.build_more()
        if whole and others:
            self.load_official(others, hparams.weights)
        self.requires_grad_(hparams.train)

    def build_more(self) -> None:
        """Creates what a method adds to tower and head."""

    def official_names(self) -> dict[str, str]:
        """Maps names of the official checkpoints, beyond the ViT, to those here."""
        return {"head.weight": "head.weight", "head.bias": "head.bias"}

    def load_official(self, entries: StateDict, source: str) -> None:
        """Fills the head, and what belongs to it, from the entries of a checkpoint that are not the ViT's.

        Raises:
            UsageError: some are missing or of another shape.
        """
        own = self.state_dict()
        names = self.official_names()
        found = {ours: entries[name] for name, ours in names.items() if name in entries}
        # Single numbers are stored with and without a dimension.
        found |= {ours: value.reshape(own[ours].shape) for ours, value in found.items() if value.numel() == 1}
        wrong = [name for name, ours in names.items() if ours not in found or found[ours].shape != own[ours].shape]
        if wrong:
            raise UsageError(
                f"Expected the weights '{source}' to be a checkpoint of this method with {self.head.out_channels} "
                f"classes but '{wrong[0]}' is missing or of another shape; fix: pretrained_head=false."
            )
        self.load_state_dict(found, strict=False)

    @property
    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.tower.mean_std

    def semantic_maps(self, tokens: Tensor) -> Tensor:
        """Returns a map per class ``[B, C, g, g]`` of what the last block returned ``[B, T, width]``."""
        patches = self.tower.norm(tokens)[:, 1 : 1 + self.tower.grid**2]
        return in_float32(self.head, self.tower.on_grid(patches))

    def attended_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns semantic maps ``[B, C, g, g]`` and the summed attention of the class token ``[B, g, g]``."""
        tokens = self.tower.embed(images)
        total = torch.zeros(len(images), self.tower.grid**2, device=tokens.device)
        for index in range(self.tower.depth):
            tokens, attention = self.tower.attending_block(index, tokens)
            total = total + attention.mean(dim=1)[:, 0, 1:]
        return self.semantic_maps(tokens), self.tower.on_grid(total)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        tokens = self.tower.embed(batch.images)
        for index in range(self.tower.depth):
            tokens = self.tower.block(index, tokens)
        logits = self.semantic_maps(tokens).mean(dim=(2, 3))
        return {"cross_entropy": F.cross_entropy(logits, batch.labels)}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        semantic, attention = self.attended_maps(images)
        logits = semantic.mean(dim=(2, 3))
        rows = torch.arange(len(images), device=images.device)
        return Localization(attention * semantic[rows, self.select_labels(logits, labels)], logits)

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return decay_groups(self, lr)
