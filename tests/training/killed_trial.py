"""Runs the tiny trial in a process of its own and, if told so, stops dead at a moment where it can be killed.

Usage: ``killed_trial.py WORKSPACE [step|save]``: in the middle of epoch 1, or while the checkpoint of epoch 2 is being
written, after its records. Prints a line per epoch, and ``waiting`` when it has stopped.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from tiny_trial import Quick, make_config

from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.packed import pack
from wsol_bench.registry import METHODS
from wsol_bench.training.batches import training_side
from wsol_bench.training.loop import TrialData, run_trial


def _wait() -> None:
    print("waiting", flush=True)
    time.sleep(600)


class Printer:
    """Prints finished epochs; waits in the middle of epoch 1 if that is the moment."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        if self.moment == "step" and (epoch, step) == (1, 2):
            _wait()

    def on_epoch(self, summary: dict[str, Any]) -> None:
        print(f"epoch {summary['epoch']}", flush=True)
        if self.moment == "save" and summary["epoch"] == 1:
            _wait_in_the_next_checkpoint()


def _wait_in_the_next_checkpoint() -> None:
    write_bytes = Path.write_bytes

    def half(self: Path, content: Any) -> int:
        if ".last.pt." not in self.name:
            return write_bytes(self, content)
        write_bytes(self, bytes(content)[:100])
        _wait()
        return 0

    Path.write_bytes = half  # type: ignore[assignment, method-assign]


def main(workspace: Path, moment: str = "") -> None:
    torch.set_num_threads(1)
    METHODS.register("quick")(Quick)
    critters = Critters(size=64, train=32, val=16, test=16)
    splits = {name: pack(critters, name, side) for name, side in sides(critters.frame).items()}
    data = TrialData(**splits, class_names=critters.class_names)
    print(run_trial(make_config(), data, workspace, device=torch.device("cpu"), observer=Printer(moment)), flush=True)


def sides(frame: int) -> dict[str, int]:
    return {"train": training_side(frame), "val": frame, "test": frame}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
