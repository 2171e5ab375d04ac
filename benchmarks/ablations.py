"""Ablations of TeD-Loc, DiPS and F-CAM, as Markdown: ``python benchmarks/ablations.py ted_loc dips [--write]``.

The tables of the papers at a small scale: MaxBoxAcc at the best threshold and epoch of the test set, as printed there,
and with everything chosen by ``ss`` pseudo-boxes; class accuracy is the best of any epoch. Every row is one run of the
recipe.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsol_bench.annotations import firewall
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes, score_run
from wsol_bench.protocol import load_protocol
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.sweep import run_sweep
from wsol_bench.workflow.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "ablations.md"
DISTILLATION = {"patch_weight": 0.0, "image_weight": 0.0}
STUDIES: dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]] = {
    "ted_loc": (
        "TeD-Loc (thesis Tables 3.2, 3.4, 3.5)",
        [
            ("distillation only, map of the patch classifier", DISTILLATION),
            ("distillation only, anchor map", DISTILLATION | {"map": "anchor"}),
            ("+ patch loss", {"image_weight": 0.0}),
            ("+ image loss: TeD-Loc", {}),
            ("anchor map", {"map": "anchor"}),
            ("uniform pooling", {"pooled_by": "uniform"}),
            ("texts as they are, not orthogonal", {"anchors": "off"}),
            ("polar factor", {"anchors": "polar"}),
            ("random orthonormal anchors", {"anchors": "random"}),
        ],
    ),
    "dips": (
        "DiPS (paper, Table 2.6 of the thesis)",
        [
            ("DiPS", {}),
            ("without CRF", {"crf_weight": 0.0}),
            ("one proposal", {"boxes": 1}),
            ("workshop version", {"version": "workshop"}),
        ],
    ),
    "fcam": (
        "F-CAM",
        [("F-CAM", {}), ("without CRF", {"crf_weight": 0.0}), ("without size", {"size_weight": 0.0})],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(STUDIES))
    parser.add_argument("-d", "--dataset", default="critters")
    parser.add_argument("--workspace", type=Path, default=Path("wsol_workspace"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    options = parser.parse_args()
    lines = [f"# Ablations on {options.dataset}", ""]
    for method in options.methods:
        for line in study(method, options.dataset, Workspace(options.workspace)):
            print(line, flush=True)
            lines.append(line)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def study(method: str, spec: str, workspace: Workspace) -> Iterator[str]:
    title, variants = STUDIES[method]
    yield f"## {title}"
    yield ""
    yield "| variant | best of test (gt BT-TT) | ss BV-VT | class accuracy |"
    yield "|---|---|---|---|"
    dataset, protocol = open_dataset(spec), load_protocol("realistic")
    for label, overrides in variants:
        trials = enumerate_trials(PlanRequest((method,), overrides=overrides), spec, dataset.version)
        (outcome,) = run_sweep(dataset, trials, workspace, screen=Screen(quiet=True))
        request = SelectionRequest(spec, trials, ("gt", "pseudo=ss"), workers=os.cpu_count() or 1)
        result = select(dataset, request, workspace, figures=False, screen=Screen(quiet=True))
        values = {
            (row.val_boxes, f"{row.selection}-{row.tau_from}"): row.value
            for row in result.rows
            if row.metric == "max_box_acc"
        }
        with firewall.judging("an ablation"):
            boxes = ScoringBoxes({"gt": dataset.ground_truth("val")}, {"gt": "gt"}, dataset.ground_truth("test"))
            run = RecordedRun(label, outcome.folder.path, outcome.epochs)
            top1 = max(one.top1 for one in score_run(run, boxes, protocol).test.values())
        yield f"| {label} | {values['gt', 'BT-TT']:.2f} | {values['ss', 'BV-VT']:.2f} | {top1:.2f} |"
    yield ""


if __name__ == "__main__":
    main()
