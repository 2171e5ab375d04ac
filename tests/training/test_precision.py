from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from frozen_parts import Colours, OnColours
from tiny_trial import artefacts, make_config

from wsol_bench.errors import UsageError
from wsol_bench.records.run_record import read_record
from wsol_bench.registry import Registry
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.kept_answers import KeptAnswers, View
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.precision import autocast, check_precision
from wsol_bench.training.trial_folder import TrialFolder

CPU = torch.device("cpu")


def _in_bf16(config: TrialConfig) -> TrialConfig:
    return config.model_copy(update={"precision": "bf16"})


def test_autocast_is_on_for_bf16_only() -> None:
    ones = torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(precision, CPU):  # type: ignore[arg-type]
            assert (ones @ ones).dtype == dtype


def test_a_gpu_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    check_precision("fp32", torch.device("cuda"))
    with pytest.raises(UsageError, match=r"bfloat16 for --precision bf16 but Tesla V100 has none.*--precision fp32"):
        check_precision("bf16", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    check_precision("bf16", torch.device("cuda"))


def test_a_device_that_cannot_compute_in_it_is_refused() -> None:
    check_precision("bf16", CPU)
    with pytest.raises(UsageError, match="but meta has none"):
        check_precision("bf16", torch.device("meta"))


@pytest.mark.usefixtures("methods")
def test_a_trial_in_bf16(tmp_path: Path, data: TrialData) -> None:
    full, half = make_config(), _in_bf16(make_config())
    for config in (full, half):
        assert run_trial(config, data, tmp_path, device=CPU) == "complete"
    folders = [TrialFolder.of(tmp_path, config) for config in (full, half)]
    assert folders[0].path != folders[1].path
    assert "precision: bf16" in (folders[1].path / "config.yaml").read_text()
    for line, other in zip(folders[0].history(), folders[1].history(), strict=True):
        assert line["epoch"] == other["epoch"]
        if line["loss"] is not None:
            assert other["loss"] == pytest.approx(line["loss"], rel=0.05)
            assert other["loss"] != line["loss"], "nothing was computed in bfloat16"
    saved = torch.load(folders[1].checkpoint, weights_only=True)
    stored = {value.dtype for value in saved["method"].values() if value.is_floating_point()}
    assert stored == {torch.float32}, "weights stay in float32"
    scores = [read_record(folder.record("val", 0)).top5_scores for folder in folders]
    assert np.allclose(scores[0], scores[1], atol=0.01)


@pytest.mark.usefixtures("methods")
def test_bf16_is_repeatable(tmp_path: Path, data: TrialData) -> None:
    config = _in_bf16(make_config())
    for name in "ab":
        run_trial(config, data, tmp_path / name, device=CPU)
    one, other = (artefacts(TrialFolder.of(tmp_path / name, config).path) for name in "ab")
    assert one == other


def test_the_loop_asks_for_the_device_first(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, methods: Registry[type]
) -> None:
    monkeypatch.setattr("wsol_bench.training.precision._computes", lambda device: False)
    with pytest.raises(UsageError, match="--precision fp32"):
        run_trial(_in_bf16(make_config()), data, tmp_path, device=CPU)
    assert not list(tmp_path.iterdir())


def test_kept_answers_of_two_precisions_do_not_mix(tmp_path: Path, data: TrialData) -> None:
    part = Colours()

    def images(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(rows), 3, 8, 8), torch.zeros(len(rows), dtype=torch.long)

    computing: list[bool] = []
    compute = part.compute
    part.compute = lambda x, y: (computing.append(torch.is_autocast_enabled("cpu")), compute(x, y))[1]  # type: ignore[method-assign]
    for precision in ("fp32", "bf16"):
        kept = KeptAnswers(tmp_path, CPU, precision=precision)  # type: ignore[arg-type]
        kept.of(part, data.val, View("frame", "", images)).take(np.arange(4))
    assert len(list(tmp_path.iterdir())) == 2
    assert computing == [False, False, True, True], "the first answer of each shows what is to be kept"


def test_frozen_parts_train_in_bf16(tmp_path: Path, data: TrialData, methods: Registry[type]) -> None:
    methods.register("on_colours")(OnColours)
    trial = _in_bf16(make_config("on_colours"))
    assert run_trial(trial, data, tmp_path, device=CPU) == "complete"
