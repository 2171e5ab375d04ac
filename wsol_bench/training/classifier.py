"""A trained trial as the classifier that annotators ask: probabilities and true-class maps, nothing else."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.checksum import sha256_of
from wsol_bench.methods.base import Method
from wsol_bench.training.batches import normalise
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.training_state import load_method
from wsol_bench.training.trial_folder import TrialFolder


class TrainedClassifier:
    """The weights of a trial at its best epoch by validation classification accuracy.

    Args:
        folder: the finished trial.
        config: its configuration.
        class_names: C names in label order.
        frame: side of the square input.
        device: where to compute.

    Raises:
        RecordError: the trial has no such weights, or they do not fit.
    """

    def __init__(
        self, folder: TrialFolder, config: TrialConfig, class_names: tuple[str, ...], frame: int, device: torch.device
    ) -> None:
        self._method: Method = load_method(config, class_names, frame, folder.best_cls).to(device)
        self._device = device
        self._frame = frame
        self._identity = f"{config.method} trial {config.trial_id} sha256:{sha256_of(folder.best_cls)}"

    @property
    def frame(self) -> int:
        """Side in pixels of the square images that it takes."""
        return self._frame

    @property
    def identity(self) -> str:
        """Method, trial id and SHA-256 of the weights."""
        return self._identity

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns softmax probabilities ``[B, C]`` of ``[B, S, S, 3]`` RGB images."""
        with torch.no_grad():
            logits = self._method.localize(self._inputs(images)).logits
            probabilities: NDArray[np.float32] = torch.softmax(logits.float(), dim=1).cpu().numpy()
        return probabilities

    def maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns class activation maps ``[B, h, w]`` of ``labels`` ``[B]``, low resolution, in any scale."""
        with torch.no_grad():
            targets = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(self._device)
            maps: NDArray[np.float32] = self._method.localize(self._inputs(images), targets).maps.float().cpu().numpy()
        return maps

    def _inputs(self, images: NDArray[np.uint8]) -> Tensor:
        return normalise(torch.from_numpy(np.array(images)).to(self._device), self._method.mean_std)
