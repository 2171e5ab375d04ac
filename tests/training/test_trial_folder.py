from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_trial import make_config

from wsol_bench.errors import RecordError
from wsol_bench.registry import Registry
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.trial_folder import DIVERGED, TrialFolder, dataset_slug

LINES = [{"epoch": 0, "val_top1": 10.0}, {"epoch": 1, "val_top1": 20.0}, {"epoch": 2, "val_top1": 15.0}]


@pytest.fixture
def config(methods: Registry[Any]) -> TrialConfig:
    return make_config(epochs=2)


@pytest.mark.parametrize(
    ("spec", "slug"), [("critters", "critters"), ("critters:224", "critters-224"), ("a:b=1,c=2/../d", "a-b-1-c-2-..-d")]
)
def test_slug(spec: str, slug: str) -> None:
    assert dataset_slug(spec) == slug


def test_places(tmp_path: Path, config: TrialConfig) -> None:
    folder = TrialFolder.of(tmp_path, config.model_copy(update={"dataset": "critters:96"}))
    assert folder.path.relative_to(tmp_path).parts[:3] == ("trials", "critters-96", "quick")
    assert folder.record("val", 7).name == "val-007.parquet"
    assert len({folder.checkpoint, folder.best_cls, folder.provenance, folder.lock}) == 4


def test_status(tmp_path: Path, config: TrialConfig) -> None:
    folder = TrialFolder(tmp_path)
    assert folder.status(config) == "missing"
    for lines, expected in [(LINES[:1], "partial"), (LINES[:2], "partial"), (LINES, "complete")]:
        folder.write_history(lines)
        assert folder.history() == lines
        assert folder.status(config) == expected
    folder.write_history([LINES[0] | {DIVERGED: 1}])
    assert folder.status(config) == "diverged"


@pytest.mark.parametrize(
    "text",
    [
        '{"epoch": 0}\n{"epo',
        "[]\n",
        '"x"\n',
        '{"loss": 1}\n',
        '{"epoch": 1}\n',
        '{"epoch": 0}\n{"epoch": 0}\n',
        "\x00\n",
    ],
)
def test_damaged_history(tmp_path: Path, config: TrialConfig, text: str) -> None:
    (tmp_path / "epochs.jsonl").write_text(text)
    with pytest.raises(RecordError, match=r"epochs\.jsonl: damaged .*fix: delete"):
        TrialFolder(tmp_path).status(config)


def test_history_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "epochs.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="damaged"):
        TrialFolder(tmp_path).history()


def test_the_configuration_can_be_read_back(tmp_path: Path, config: TrialConfig) -> None:
    TrialFolder(tmp_path).write_config(config)
    assert TrialConfig(**yaml.safe_load((tmp_path / "config.yaml").read_text())) == config


def test_times_of_epochs_come_from_the_log(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    assert folder.epoch_seconds() == []
    folder.log.write_text(
        "2026-01-01T00:00:00+00:00 started on host, attempt 1\n"
        "2026-01-01T00:00:01+00:00 epoch 0: lr 0.05, val top-1 12.5 %, 1.7 s\n"
        "2026-01-01T00:00:03+00:00 epoch 1: loss 2.32, lr 0.05, val top-1 6.2 %, 1.5 s\n"
        "2026-01-01T00:00:15+00:00 epoch 2: loss 2.29, lr 0.05, val top-1 6.2 %, 12.0 s\n"
        "2026-01-01T00:00:15+00:00 complete\n"
    )
    assert folder.epoch_seconds() == [1.5, 12.0]
