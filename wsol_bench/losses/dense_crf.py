r"""The dense CRF loss: low when pixels that are near in place and colour get the same label.

Source: Tang et al., On Regularized Losses for Weakly-supervised CNN Segmentation, ECCV 2018; method spec
``crf_loss``. For soft labels ``S`` with channels that sum to one, ``R(S) = sum_r S_r^T W (1 - S_r)`` differs from
``-sum_r S_r^T W S_r`` by a constant; the latter is what is implemented here and elsewhere, so the loss is negative.

``W_ij = exp(-|x_i - x_j|^2 / (2 sigma_xy^2) - |I_i - I_j|^2 / (2 sigma_rgb^2))``, a Gaussian of peak 1. The
permutohedral lattice behind the published numbers is weaker (about 0.6 of it on photographs), so their factor of 2e-9
corresponds to 1.2e-9 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

SIGMA_RGB, SIGMA_XY = 15.0, 100.0
REFERENCE_SIDE = 224
"""The sigmas and the published factor belong to images of this side."""

PUBLISHED_WEIGHT = 1.2e-9
"""Factor on the loss at 224 pixels that matches 2e-9 with the lattice."""

EXACT_PIXELS = 1024
"""Up to so many pixels an image is filtered exactly; more go through the grid."""

_PAIRS_AT_ONCE = 1 << 24
_SPACING = 0.8
"""Side of a cell of the grid, in sigmas."""

Filter = Literal["auto", "exact", "grid"]


def dense_crf_loss(
    probabilities: Tensor,
    images: Tensor,
    *,
    sigma_rgb: float = SIGMA_RGB,
    sigma_xy: float = SIGMA_XY,
    scale: float = 1.0,
    how: Filter = "auto",
) -> Tensor:
    """Returns the mean over images of ``-sum_r S_r^T W S_r``, to be multiplied by a small factor.

    Only the number of images divides, not that of pixels: the value grows with the fourth power of the side. At
    ``scale`` below 1 it is multiplied by ``scale ** -4``, so that it keeps its size.

    Args:
        probabilities: ``[B, R, H, W]`` soft labels, summing to 1 over ``R`` (background included).
        images: ``[B, 3, H, W]`` in 0..255, with the crop and flip of the network's input, not normalised.
        sigma_rgb: width in grey levels.
        sigma_xy: width in pixels, at the size given.
        scale: both are resized by this factor in (0, 1] first, images to the nearest pixel, labels bilinearly.
        how: ``exact`` over all pairs, ``grid`` (linear in the number of pixels, within ten percent, mostly within
        five), or ``auto``.

    Returns:
        A scalar, negative. Its gradient is that of the quadratic form; images get none. Computed in float32.
    """
    probabilities = probabilities.float()
    if scale != 1.0:
        size = tuple(max(1, round(side * scale)) for side in images.shape[2:])
        images = F.interpolate(images.float(), size, mode="nearest")
        probabilities = F.interpolate(probabilities, size, mode="bilinear", align_corners=False)
    if how == "auto":
        how = "exact" if images.shape[2] * images.shape[3] <= EXACT_PIXELS else "grid"
    spread = spread_exactly if how == "exact" else spread_by_grid
    # Differences of large squares: half precision would leave nothing of them.
    with torch.autocast(images.device.type, enabled=False):
        energy: Tensor = _DenseCrf.apply(probabilities, images.float(), sigma_rgb, sigma_xy * scale, spread)
    return energy * scale**-4


def framed_crf_loss(probabilities: Tensor, images: Tensor, scale: float = 1.0) -> Tensor:
    """Returns the loss with sigmas and strength of the field's setting at 224 pixels, whatever the size of the images.

    The energy grows with the fourth power of the side, and its place kernel is as wide as the image is.

    Args:
        probabilities: ``[B, R, S, S]`` soft labels.
        images: ``[B, 3, S, S]`` in 0..255.
        scale: see :func:`dense_crf_loss`.
    """
    size = images.shape[2] / REFERENCE_SIDE
    return dense_crf_loss(probabilities, images, sigma_xy=SIGMA_XY * size, scale=scale) * size**-4


def spread_exactly(values: Tensor, features: Tensor) -> Tensor:
    """Multiplies values by the affinity matrix, pair by pair, in blocks of bounded memory.

    Args:
        values: ``[B, R, N]``.
        features: ``[B, D, N]``, places and colours in units of their sigmas.

    Returns:
        ``[B, R, N]``, ``W S``.
    """
    spread = torch.empty_like(values)
    count = features.shape[2]
    block = max(1, _PAIRS_AT_ONCE // count)
    for image in range(len(values)):
        points = features[image].T
        squares = points.square().sum(dim=1)
        for start in range(0, count, block):
            part = slice(start, start + block)
            distances = squares[:, None] + squares[None, part] - 2 * points @ points[part].T
            spread[image][:, part] = values[image] @ torch.exp(-0.5 * distances.clamp(min=0))
    return spread


def spread_by_grid(values: Tensor, features: Tensor) -> Tensor:
    """Multiplies values by the affinity matrix through a coarse grid over the feature space.

    Values are splatted to the corners of the cells that hold them, blurred along each axis, and read back at the same
    corners. The tent of splatting and that of reading widen the blur, which is narrower by that; area and variance of
    the whole are those of the Gaussian. Arguments and result are those of :func:`spread_exactly`.
    """
    batch, channels, _ = values.shape
    low = features.amin(dim=2, keepdim=True)
    places = (features - low) / _SPACING
    sides = [int(side) + 2 for side in places.amax(dim=(0, 2)).floor().tolist()]
    strides = [math.prod(sides[axis + 1 :]) for axis in range(len(sides))]
    cells = math.prod(sides)
    base = places.floor()
    inside = (places - base).unbind(dim=1)
    origin = sum(base[:, axis].long() * stride for axis, stride in enumerate(strides))
    origin = origin + torch.arange(batch, device=values.device)[:, None] * cells
    grid = values.new_zeros(batch * cells, channels)
    flat = values.transpose(1, 2)
    for step, weight in _corners(inside, strides):
        grid.index_add_(0, (origin + step).flatten(), (flat * weight[:, :, None]).reshape(-1, channels))
    grid = grid.view(batch, *sides, channels)
    for axis in range(len(sides)):
        grid = _blurred(grid, axis + 1)
    grid = grid.reshape(batch * cells, channels)
    spread = torch.zeros_like(flat)
    for step, weight in _corners(inside, strides):
        spread += grid[origin + step] * weight[:, :, None]
    return spread.transpose(1, 2)


def _corners(
    inside: Sequence[Tensor], strides: Sequence[int], step: int = 0, weight: Tensor | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yields the step from the lowest corner of a point's cell to each corner, and the point's weights there."""
    if not inside:
        if weight is not None:
            yield step, weight
        return
    for share, further in ((1 - inside[0], step), (inside[0], step + strides[0])):
        yield from _corners(inside[1:], strides[1:], further, share if weight is None else weight * share)


def _blurred(grid: Tensor, axis: int) -> Tensor:
    """Blurs one axis; its taps sum to the area of a Gaussian of unit peak, in cells."""
    variance = 1 / _SPACING**2 - 1 / 3
    reach = min(math.ceil(4 * math.sqrt(variance)), grid.shape[axis] - 1)
    taps = [math.exp(-0.5 * step * step / variance) for step in range(math.ceil(4 * math.sqrt(variance)) + 1)]
    factor = math.sqrt(2 * math.pi) / _SPACING / (taps[0] + 2 * sum(taps[1:]))
    blurred = grid * (taps[0] * factor)
    length = grid.shape[axis]
    for step in range(1, reach + 1):
        ahead, behind = grid.narrow(axis, step, length - step), grid.narrow(axis, 0, length - step)
        blurred.narrow(axis, 0, length - step).add_(ahead, alpha=taps[step] * factor)
        blurred.narrow(axis, step, length - step).add_(behind, alpha=taps[step] * factor)
    return blurred


class _DenseCrf(torch.autograd.Function):
    """The energy of a batch, with the gradient ``-2 W S / B``, for which ``W S`` is kept."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        probabilities: Tensor,
        images: Tensor,
        sigma_rgb: float,
        sigma_xy: float,
        spread: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        batch, _, height, width = probabilities.shape
        rows = torch.arange(height, device=images.device, dtype=torch.float32)[:, None].expand(height, width)
        columns = torch.arange(width, device=images.device, dtype=torch.float32)[None].expand(height, width)
        places = torch.stack([columns, rows]) / sigma_xy
        features = torch.cat([places.expand(batch, -1, -1, -1), images / sigma_rgb], dim=1).flatten(2)
        around = spread(probabilities.detach().flatten(2), features).view_as(probabilities)
        ctx.save_for_backward(around)
        return -(probabilities.detach() * around).sum() / batch

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (around,) = ctx.saved_tensors
        return gradients[0] * (-2 / len(around)) * around, None, None, None, None
