from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_trial import make_config

from wsol_bench.annotators.base import ScoringClassifier
from wsol_bench.errors import RecordError
from wsol_bench.maps.normalise import quantise, score_maps
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.records.run_record import RunRecord, read_record
from wsol_bench.training.classifier import TrainedClassifier
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.trial_folder import TrialFolder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, data: TrialData) -> Path:
    path = tmp_path_factory.mktemp("workspace")
    assert run_trial(make_config("cam", epochs=1), data, path, device=CPU) == "complete"
    return path


def _classifier(workspace: Path, data: TrialData) -> TrainedClassifier:
    config = make_config("cam", epochs=1)
    return TrainedClassifier(TrialFolder.of(workspace, config), config, data.class_names, data.frame, CPU)


def _best_record(workspace: Path) -> RunRecord:
    folder = TrialFolder.of(workspace, make_config("cam", epochs=1))
    top1 = [line["val_top1"] for line in folder.history()]
    return read_record(folder.record("val", top1.index(max(top1))))


def test_it_predicts_what_was_recorded_in_its_epoch(workspace: Path, data: TrialData) -> None:
    classifier = _classifier(workspace, data)
    record = _best_record(workspace)
    probabilities = classifier.probabilities(data.val.images)
    assert probabilities.shape == (16, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.sort(probabilities, axis=1)[:, :-6:-1], record.top5_scores, rtol=1e-5)
    maps = classifier.maps(data.val.images, data.val.labels)
    assert maps.shape == (16, 8, 8)
    curves = sweep_largest(quantise(score_maps(maps, 64)))
    assert np.array_equal(curves.boxes_at(range(255)), record.curves.boxes_at(range(255)))


def test_it_takes_images_from_a_read_only_memory_map(workspace: Path, data: TrialData, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", data.val.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    classifier = _classifier(workspace, data)
    np.testing.assert_array_equal(classifier.probabilities(mapped[:2]), classifier.probabilities(data.val.images[:2]))


def test_its_identity_is_that_of_its_weights(workspace: Path, data: TrialData, tmp_path: Path) -> None:
    classifier: ScoringClassifier = _classifier(workspace, data)
    assert classifier.frame == 64
    assert classifier.identity.startswith(f"cam trial {make_config('cam', epochs=1).trial_id} sha256:")
    run_trial(make_config("cam", epochs=1), data, tmp_path, device=CPU)
    assert _classifier(tmp_path, data).identity == classifier.identity, "the same trial anywhere is the same classifier"


def test_without_weights(tmp_path: Path, data: TrialData) -> None:
    with pytest.raises(RecordError, match=r"best_cls\.pt: cannot be loaded"):
        _classifier(tmp_path, data)
