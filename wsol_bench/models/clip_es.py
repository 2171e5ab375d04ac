r"""CLIP-ES maps: softmax Grad-CAM of a CLIP ViT, spread by the affinity of its own attention; nothing is trained.

Source: Lin et al., CLIP Is Also an Efficient Segmenter, CVPR 2023, and its code; method spec ``clip_es``. The target of
the gradient is the softmax probability ``p`` of the wanted text among itself and a list of background texts. Its
gradient is ``p (1 - p)`` times that of the log-odds ``z - logsumexp(z_background)``, a factor that the final stretch
removes; the log-odds are differentiated here, because ``1 - p`` underflows for a sure ``p``.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.models.clip_prompts import BOX_TAU
from wsol_bench.models.clip_vit import ClipImageTower, MeanStd, TextedTower
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.heads import float32_only, normalised_maps

AFFINITY_BLOCKS = 8
SINKHORN_ROUNDS = 3


def clip_es_maps(
    tower: ClipImageTower,
    images: Tensor,
    wanted: Tensor,
    background: Tensor,
    scale: float,
    *,
    affinity: bool = True,
    box_tau: float = BOX_TAU,
) -> Tensor:
    """Computes one map per image.

    Args:
        tower: frozen image tower.
        images: ``[B, 3, S, S]``, colours in 0..255.
        wanted: ``[B, d]`` unit text features, the class of each image.
        background: ``[b, d]`` unit text features that compete with it; with ``b = 0`` the plain logit is the target.
        scale: factor on the cosine similarity, 100 for CLIP.
        affinity: refine with attention; without it the Grad-CAM itself is returned.
        box_tau: boxes of the Grad-CAM above this share of its maximum are where evidence may spread from.

    Returns:
        ``[B, grid, grid]`` float32 in [0, 1]; all zeros where nothing speaks for the class. The same whatever the
        precision around it: half precision on a GPU for all blocks but the last, float32 for the rest.
    """
    with float32_only(images.device):
        return _maps(tower, images, wanted, background, scale, affinity, box_tau)


def _maps(
    tower: ClipImageTower,
    images: Tensor,
    wanted: Tensor,
    background: Tensor,
    scale: float,
    affinity: bool,
    box_tau: float,
) -> Tensor:
    half = torch.autocast(images.device.type, dtype=torch.float16, enabled=images.device.type == "cuda")
    last = len(tower.blocks) - 1
    weights: list[Tensor] = []
    with torch.no_grad(), half:
        tokens = tower.embed(tower.prepare(images))
        for index in range(last):
            tokens, attention = tower.block(index, tokens, attention=affinity and index > last - AFFINITY_BLOCKS)
            if attention is not None:
                weights.append(attention.float())
    tokens = tokens.float()
    cam, attention = _softmax_grad_cam(tower, tokens, wanted.float(), background.float(), scale, affinity)
    if attention is None:
        return cam
    weights.append(attention)
    mixed = torch.stack(weights).mean(dim=0)[:, 1:, 1:]
    sources = torch.from_numpy(np.stack([spread_sources(one, box_tau) for one in cam.cpu().numpy()])).to(cam.device)
    evidence = (cam * sources).flatten(1)[:, :, None]
    return normalised_maps((patch_affinity(mixed) @ evidence).view_as(cam))


def patch_affinity(attention: Tensor) -> Tensor:
    """Turns attention between patches into a symmetric affinity, squared.

    Args:
        attention: ``[B, n, n]`` non-negative, row = query.

    Returns:
        ``[B, n, n]``; the matrix before squaring is the symmetric part of the attention after alternating
        normalisation of columns and rows (rows last).
    """
    balanced = balance(attention)
    symmetric = (balanced + balanced.transpose(1, 2)) / 2
    return symmetric @ symmetric


def balance(matrices: Tensor) -> Tensor:
    """Divides ``[B, n, n]`` by its column sums, then by its row sums, three times over; the rows then sum to 1."""
    for _ in range(SINKHORN_ROUNDS):
        matrices = matrices / matrices.sum(dim=1, keepdim=True)
        matrices = matrices / matrices.sum(dim=2, keepdim=True)
    return matrices


def spread_sources(cam: NDArray[np.float32], box_tau: float) -> NDArray[np.bool_]:
    """Returns the patches from which evidence may spread: the boxes around all regions of a map above a threshold.

    Args:
        cam: ``[h, w]`` in [0, 1].
        box_tau: share of the maximum, applied to 8-bit levels as in the reference.

    Returns:
        ``[h, w]`` bool. A box that touches the right or bottom border keeps its last column and row, which slices of
        the reference lose.
    """
    levels = (cam * 255).astype(np.uint8)
    above = (levels > int(box_tau * int(levels.max()))).astype(np.uint8)
    sources = np.zeros(cam.shape, dtype=np.bool_)
    contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        x, y, width, height = cv2.boundingRect(contour)
        sources[y : y + height, x : x + width] = True
    return sources


def _softmax_grad_cam(
    tower: ClipImageTower, tokens: Tensor, wanted: Tensor, background: Tensor, scale: float, attend: bool
) -> tuple[Tensor, Tensor | None]:
    """Runs the last block with gradients; returns the maps ``[B, grid, grid]`` and, on demand, its attention."""
    last = len(tower.blocks) - 1
    with torch.enable_grad():
        normed = tower.blocks[last].ln_1(tokens).detach().requires_grad_()
        after, attention = tower.after_norm(last, tokens, normed, attention=attend)
        # The image is the mean of its projected patches; the class token would see patches through attention only.
        pooled = torch.nn.functional.normalize(tower.project(after[:, 1:]).mean(dim=1), dim=-1)
        target = scale * (pooled * wanted).sum(dim=1)
        if len(background):
            target = target - torch.logsumexp(scale * pooled @ background.T, dim=1)
        (gradient,) = torch.autograd.grad(target.sum(), normed)
    evidence, slope = normed.detach()[:, 1:], gradient[:, 1:]
    cam = torch.relu((evidence * slope.mean(dim=1, keepdim=True)).sum(dim=2))
    return normalised_maps(
        cam.view(len(cam), tower.grid, tower.grid)
    ), attention if attention is None else attention.detach()


class ClipEsMaps(FrozenFunction):
    """CLIP-ES maps of the true class as pseudo-labels: ``maps`` ``[B, grid, grid]`` in [0, 1].

    Args:
        tower: frozen image tower.
        texts: ``[C, d]`` unit text features of the classes.
        background: ``[b, d]`` those of background words.
        scale: factor on the cosine similarity.
        mean_std: of the images that it will be given.
    """

    by_label = True

    def __init__(
        self, tower: ClipImageTower, texts: Tensor, background: Tensor, scale: float, mean_std: MeanStd
    ) -> None:
        network = TextedTower(tower, torch.cat([texts, background]), mean_std)
        super().__init__(network, f"clip_es maps@1 classes {len(texts)} scale {scale} of {tower.description}")
        self._classes = len(texts)
        self._scale = scale

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        texted: TextedTower = self.network
        background = texted.texts[self._classes :]
        maps = clip_es_maps(texted.tower, texted.pixels(images), texted.texts[labels], background, self._scale)
        return {"maps": maps}
