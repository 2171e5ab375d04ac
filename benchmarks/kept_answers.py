"""What it saves to run frozen encoders once, as Markdown: ``python benchmarks/kept_answers.py [--write]``.

The same sweep of one method with its frozen parts answering from what was kept, and computing at every step, into two
empty workspaces; and whether the records are the same, byte for byte.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import platform
import tempfile
import time
from pathlib import Path

import torch

from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.training.device import make_deterministic
from wsol_bench.training.loop import run_trial
from wsol_bench.training.trial_folder import TrialFolder
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import load_trial_data
from wsol_bench.workflow.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "kept_answers.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--method", default="ted_loc")
    parser.add_argument("-d", "--dataset", default="critters:train=400,val=60,test=60")
    parser.add_argument("--configs", type=int, default=20)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="such as another backbone")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    options = parser.parse_args()
    make_deterministic()
    dataset = open_dataset(options.dataset)
    overrides = dict(one.split("=", 1) for one in options.set)
    request = PlanRequest((options.method,), options.configs, epochs=options.epochs, overrides=overrides)
    trials = enumerate_trials(request, options.dataset, dataset.version)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    seconds: dict[bool, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        roots = {keep: Path(folder) / str(keep) for keep in (True, False)}
        data = load_trial_data(dataset, Workspace(Path(folder)), "error", Screen(quiet=True))
        # Warm up: the first step of a process pays for libraries.
        run_trial(trials[0].config, data, Path(folder) / "warm", device=device, keep_answers=False)
        for keep, root in roots.items():
            seconds[keep] = []
            for trial in trials:
                started = time.perf_counter()
                run_trial(trial.config, data, root, device=device, keep_answers=keep)
                seconds[keep].append(time.perf_counter() - started)
        same = all(_same_records(trial.config, roots[True], roots[False]) for trial in trials)
        kept = sum(path.stat().st_size for path in roots[True].glob("features/**/*.npy")) / 1e6
    lines = [
        "# Frozen encoders run once",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, {name}, torch {torch.__version__}",
        "",
        f"{len(trials)} configurations of {options.method} on {options.dataset}, {trials[0].config.epochs} epochs",
        "",
        "| | first configuration, s | each further one, s | all, s |",
        "|---|---|---|---|",
        *(
            f"| {'kept' if keep else 'computed at every step'} | {one[0]:.1f} "
            f"| {sum(one[1:]) / max(len(one) - 1, 1):.1f} | {sum(one):.0f} |"
            for keep, one in seconds.items()
        ),
        "",
        f"{sum(seconds[False]) / sum(seconds[True]):.1f} times faster; {kept:.0f} MB kept; the records are "
        f"{'' if same else 'not all '}the same, byte for byte.",
    ]
    print("\n".join(lines))
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _same_records(config: object, first: Path, second: Path) -> bool:
    one, other = (TrialFolder.of(root, config).path / "records" for root in (first, second))  # type: ignore[arg-type]
    names = [path.name for path in one.iterdir()]
    return bool(names) and not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


if __name__ == "__main__":
    main()
