from __future__ import annotations

import subprocess
import sys

from wsol_bench.metrics import evaluator


def test_tags_name_evaluator_and_version():
    assert f"{evaluator.EVALUATOR_ID}@{evaluator.EVALUATOR_VERSION}" == evaluator.BOX_EVALUATOR == "box@1"
    assert f"{evaluator.PX_EVALUATOR_ID}@{evaluator.PX_EVALUATOR_VERSION}" == evaluator.PX_EVALUATOR == "px@1"


def test_metrics_need_no_deep_learning_stack():
    modules = ["box_acc", "px_ap", "error_types", "pointing", "corloc", "bootstrap", "top_k"]
    code = (
        f"import sys; {'; '.join(f'import wsol_bench.metrics.{name}' for name in modules)}; print(sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not any(f"'{name}'" in loaded for name in ("torch", "matplotlib", "optuna"))
