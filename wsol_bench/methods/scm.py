r"""SCM: spatial calibration of TS-CAM (Bai et al., ECCV 2022).

While training, four diffusion layers spread attention ``F`` and class maps ``S`` over the graph of neighbouring
patches, more where patches differ in their class scores; the loss sees what comes out. For prediction they are gone:
the network and its cost are those of TS-CAM, with the attention stretched to [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization
from wsol_bench.methods.ts_cam import TSCAM
from wsol_bench.models.heads import float32_only, normalised_maps

STEPS = (16, 4, 4, 4)
"""Newton-Schulz steps of the layers. Far from an inverse on purpose: gradients depend on it (spec, pitfall 3)."""

START = 0.002
"""The iteration starts from this multiple of the transposed matrix, and diverges once it times the largest squared
singular value exceeds 2."""

LARGEST_RATE = 2.0
"""Rates are clamped to this magnitude, which keeps all singular values below 24."""

_SMALL = 1e-6


class SCM(TSCAM):
    """TS-CAM, trained through layers that calibrate attention and class maps in space."""

    title = "Spatial calibration module"
    citation = (
        "Bai et al., Weakly Supervised Object Localization via Transformer with Implicit Spatial Calibration, ECCV 2022"
    )

    def build_more(self) -> None:
        self.layers = nn.ModuleList(Diffusion(self.tower.grid, steps) for steps in STEPS)

    def official_names(self) -> dict[str, str]:
        names = super().official_names()
        for i in range(len(STEPS)):
            names |= {f"layers.{i}.thred": f"layers.{i}.threshold", f"layers.{i}.fuse.loss_rate": f"layers.{i}.rate"}
        return names

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        semantic, attention = self.attended_maps(batch.images)
        semantic, attention = semantic.float(), normalised_maps(attention)
        for layer in self.layers:
            semantic, attention = layer(semantic, attention)
        return {"cross_entropy": F.cross_entropy(semantic.mean(dim=(2, 3)), batch.labels)}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        semantic, attention = self.attended_maps(images)
        logits = semantic.mean(dim=(2, 3))
        rows = torch.arange(len(images), device=images.device)
        chosen = semantic[rows, self.select_labels(logits, labels)]
        return Localization(normalised_maps(attention) * chosen, logits)


class Diffusion(nn.Module):
    """One diffusion layer over the 4-connected grid of patches.

    Args:
        grid: patches along each side.
        steps: Newton-Schulz steps.

    Attributes:
        rate: how much similarity counts, 1 at first.
        threshold: what shrinks diffused attention, as a share of its maximum, 0.5 at first.
    """

    laplacian: Tensor

    def __init__(self, grid: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.rate = nn.Parameter(torch.tensor(1.0))
        self.threshold = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("laplacian", grid_laplacian(grid), persistent=False)

    def forward(self, semantic: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Maps class maps ``[B, C, g, g]`` and attention ``[B, g, g]``, not negative, to the same, both in float32."""
        flat = attention.flatten(1)
        # Newton-Schulz steps square the error of the ones before.
        with float32_only(semantic.device):
            spread = torch.einsum("bji,bj->bi", self.diffusion(semantic), flat)
        scale = self.threshold * flat.amax(dim=1, keepdim=True).clamp(min=_SMALL)
        shrunk = normalised_maps(F.tanhshrink(spread / scale).view_as(attention))
        return semantic + semantic * shrunk[:, None], attention + shrunk

    def diffusion(self, semantic: Tensor) -> Tensor:
        """Returns the matrix ``V`` ``[B, N, N]`` of a few Newton-Schulz steps on the weighted Laplacian ``M``."""
        vectors = F.normalize(semantic.flatten(2), dim=1, eps=_SMALL)
        similarity = vectors.transpose(1, 2) @ vectors
        matrix = self.laplacian * (self.rate.clamp(-LARGEST_RATE, LARGEST_RATE) * similarity - 1)
        inverse = START * matrix.transpose(1, 2)
        twice = 2 * torch.eye(matrix.shape[1], device=matrix.device)
        for _ in range(self.steps):
            inverse = inverse @ (twice - matrix @ inverse)
        return inverse


def grid_laplacian(side: int) -> Tensor:
    """Returns degree minus adjacency ``[N, N]`` of a ``side x side`` grid with four neighbours."""
    places = torch.arange(side * side)
    rows, columns = places // side, places % side
    distance = (rows[:, None] - rows).abs() + (columns[:, None] - columns).abs()
    adjacency = (distance == 1).float()
    return torch.diag(adjacency.sum(dim=1)) - adjacency
