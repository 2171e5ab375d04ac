"""What one prediction of each judged method costs, measured for the backbone of its chosen run."""

from __future__ import annotations

from typing import Any

import torch

from wsol_bench.report.explorer import models_of
from wsol_bench.training.config import TrialConfig
from wsol_bench.workflow.method_cost import method_cost
from wsol_bench.workflow.selection_tables import Study
from wsol_bench.yaml_file import read_yaml


def measured_costs(study: Study, device: torch.device) -> dict[str, dict[str, Any]]:
    """Measures every method at the size and number of classes of the study's dataset.

    Raises:
        DataError: the configuration of a run is damaged.
        UsageError: a method is not registered: name its file with ``--plugin``.
    """
    found = {}
    for judgement in study.judged.judgements:
        run = judgement.runs[models_of(judgement, study.judged.protocol)[0].run]
        config = read_yaml(run.folder / "config.yaml", TrialConfig)
        backbone = {key: value for key, value in config.hparams.items() if key == "backbone"}
        found[judgement.method] = method_cost(
            judgement.method,
            study.plan.dataset,
            backbone,
            frame=study.dataset.frame,
            classes=len(study.dataset.class_names),
            device=device,
        )
    return found
