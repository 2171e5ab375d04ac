"""All methods under one protocol, as Markdown: ``python benchmarks/methods.py -d critters [--write NAME]``.

Every method runs its recipe once; epoch and threshold are selected with ``ss`` pseudo-boxes (BV-VT), and with ground
truth (BV-VT, and the usual practice BT-TT) beside it. Post-hoc methods read the classifier that CAM trained. What is
finished in the workspace is not run again; the seconds are those of this run.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.methods.posthoc import PostHoc
from wsol_bench.registry import METHODS
from wsol_bench.report.selection_result import SelectionResult
from wsol_bench.search.plan import PlannedTrial, PlanRequest, enumerate_trials
from wsol_bench.workflow.method_cost import method_cost
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.sweep import TrialOutcome, run_sweep
from wsol_bench.workflow.workspace import Workspace

RESULTS = Path(__file__).parent / "results"
CHEAPER: dict[str, dict[str, Any]] = {"score_cam": {}, "is_cam": {"steps": 5}, "ss_cam": {"draws": 5}}
"""One pass of the network per channel and draw is too much for a processor: the strongest channels only."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--dataset", default="critters")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--channels", type=int, default=32, help="of the methods that pass one channel at a time")
    parser.add_argument("--epochs", type=int, help="replaces every recipe's budget")
    parser.add_argument("--workspace", type=Path, default=Path("wsol_workspace"))
    parser.add_argument("--write", metavar="NAME", help="write results/NAME.md beside printing it")
    options = parser.parse_args()
    lines = []
    for line in table(options):
        print(line, flush=True)
        lines.append(line)
        if options.write:
            (RESULTS / f"{options.write}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(options: argparse.Namespace) -> Iterator[str]:
    dataset = open_dataset(options.dataset, root=options.root)
    workspace = Workspace(options.workspace)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    sizes = ", ".join(f"{len(dataset.split(split).ids)} {split}" for split in ("train", "val", "test"))
    yield f"# All methods on {options.dataset}"
    yield ""
    yield f"{dataset.frame} px; {sizes}."
    yield f"{platform.machine()}, {os.cpu_count()} cores, {name}, torch {torch.__version__}."
    yield ""
    yield "Recipe of each method, one run; percent, test set. Seconds: training and recording, with what else ran;"
    yield "post-hoc methods record the classifier of CAM. For speed: " + "; ".join(
        f"{name} with {', '.join(f'{key}={value}' for key, value in {'channels': options.channels, **values}.items())}"
        for name, values in CHEAPER.items()
        if name in options.methods
    )
    yield ""
    yield "| method | epochs | ss BV-VT [95 %] | gt BV-VT | gt BT-TT | Top-1 Loc, ss | params M | MACs G | seconds |"
    yield "|---|---|---|---|---|---|---|---|---|"
    fixed: dict[str, tuple[float, float]] = {}
    for method in options.methods:
        overrides: dict[str, Any] = {}
        if method in CHEAPER:
            overrides = CHEAPER[method] | {"channels": options.channels}
        if issubclass(METHODS.get(method), PostHoc):
            classifier = run(planned("cam", {}, options, dataset), dataset, workspace).folder.best_cls
            overrides |= {"weights": str(classifier), "train": False}
        trial = planned(method, overrides, options, dataset)
        started = time.perf_counter()
        outcome = run(trial, dataset, workspace)
        seconds = time.perf_counter() - started
        request = SelectionRequest(
            options.dataset, [trial], ("gt", "pseudo=ss"), workers=os.cpu_count() or 1, epochs=options.epochs
        )
        result = select(dataset, request, workspace, figures=False, screen=Screen(quiet=True))
        fixed = result.fixed_boxes
        yield row(trial, outcome, result, seconds, dataset.frame, dataset.num_classes)
    yield ""
    yield "Without looking: " + ", ".join(f"{name} {accuracy:.2f}" for name, (accuracy, _) in fixed.items()) + "."


def planned(method: str, overrides: dict[str, Any], options: argparse.Namespace, dataset: Dataset) -> PlannedTrial:
    request = PlanRequest((method,), epochs=options.epochs, overrides=overrides)
    return enumerate_trials(request, options.dataset, dataset.version)[0]


def run(trial: PlannedTrial, dataset: Dataset, workspace: Workspace) -> TrialOutcome:
    return run_sweep(dataset, [trial], workspace, screen=Screen(quiet=True))[0]


def row(
    trial: PlannedTrial, outcome: TrialOutcome, result: SelectionResult, seconds: float, frame: int, classes: int
) -> str:
    config = trial.config
    cost = method_cost(
        config.method, config.dataset, config.hparams, frame=frame, classes=classes, batch_size=1,
        device=torch.device("cpu"),
    )  # fmt: skip

    def value(source: str, policy: str, metric: str = "max_box_acc") -> Any:
        (found,) = (
            one
            for one in result.rows
            if (one.val_boxes, f"{one.selection}-{one.tau_from}", one.metric) == (source, policy, metric)
        )
        return found

    ours = value("ss", "BV-VT")
    epochs = config.epochs if outcome.epochs != (0,) else 0
    return (
        f"| {config.method} | {epochs} | {ours.value:.2f} [{ours.ci_low:.1f}, {ours.ci_high:.1f}] "
        f"| {value('gt', 'BV-VT').value:.2f} | {value('gt', 'BT-TT').value:.2f} "
        f"| {value('ss', 'BV-VT', 'top1_loc').value:.2f} "
        f"| {cost['params_m']:.2f} | {cost['macs_g']:.3f} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
