"""What defines a trial: one run of one method on one dataset, with one configuration and one seed."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import Fixed, HyperParams, IntUniform, LogUniform, Value, hp

Precision = Literal["fp32", "bf16"]


class OptimizerParams(HyperParams):
    """What all methods share, with the ranges of the realistic protocol (Murtaza, PhD thesis, 2025, Table 4.4)."""

    lr: float = hp(1e-3, LogUniform(1e-5, 1.0), "learning rate of the trunk")
    weight_decay: float = hp(1e-4, LogUniform(1e-5, 1.0), "L2 penalty on all weights")
    gamma: float = hp(0.1, LogUniform(1e-5, 1.0), "factor on the learning rate at each step")
    step_size: int = hp(15, IntUniform(5, 45), "epochs between two steps of the learning rate")
    optimizer: str = hp("sgd", Fixed(("sgd", "adamw")), "sgd (momentum 0.9, Nesterov) or adamw")

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.step_size < 1:
            raise UsageError(f"Expected lr above 0 and step_size of at least 1 but got {self.lr} and {self.step_size}.")


class TrialConfig(BaseModel):
    """A trial, complete: equal configurations give equal records.

    Attributes:
        method: registered name.
        dataset: dataset as the user names it (``critters``, ``critters:224``, ``tiny-imagenet``).
        dataset_version: version of the dataset's content.
        hparams: the method's own hyper-parameters, all of them.
        optimizer: the shared ones, all of them.
        epochs: training epochs; epoch 0 is the network before any step.
        batch_size: images per step.
        seed: initialisation, data order and augmentation.
        precision: of the networks' arithmetic, ``fp32`` or ``bf16``; weights and losses are float32 in either case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    dataset: str
    dataset_version: str
    hparams: dict[str, Value]
    optimizer: dict[str, Value]
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0, default=32)
    seed: int = Field(ge=0, default=0)
    precision: Precision = "fp32"

    @property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical configuration."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:12]

    def canonical(self) -> str:
        """Returns the configuration as JSON with sorted keys and no white space: what the id is made of.

        The default precision is left out: trials from before there was a choice keep their ids.
        """
        content = self.model_dump()
        if self.precision == "fp32":
            del content["precision"]
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def summary(self) -> dict[str, Value]:
        """Returns the hyper-parameters in one flat dictionary, for listings."""
        return {**self.optimizer, **self.hparams}
