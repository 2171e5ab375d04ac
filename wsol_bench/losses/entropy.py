"""Entropy of soft labels: low when every pixel is decided."""

from __future__ import annotations

import torch
from torch import Tensor


def entropy_loss(logits: Tensor) -> Tensor:
    """Returns the mean entropy, in nats, of the softmax over axis 1 of ``[B, R, ...]`` logits."""
    logs = torch.log_softmax(logits.float(), dim=1)
    return -(logs.exp() * logs).sum(dim=1).mean()
