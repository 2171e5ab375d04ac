from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.content import content_folder
from wsol_bench.errors import DataError, UsageError
from wsol_bench.methods.hparams import Choice, Fixed, HyperParams, IntUniform, LogUniform, Uniform, hp
from wsol_bench.registry import METHODS
from wsol_bench.search.baseline import Baseline, Range, checked_value, load_baseline, read_baseline
from wsol_bench.training.config import OptimizerParams


class ToyMethod:
    class HParams(HyperParams):
        drop_rate: float = hp(0.5, Uniform(0.0, 1.0), "how much is dropped")
        layers: int = hp(2, IntUniform(1, 4), "how many")
        backbone: str = hp("small", Fixed(("small", "large")), "network")
        flip: bool = hp(True, Fixed((True, False)), "whether to flip")


PARAMETERS = (OptimizerParams, ToyMethod.HParams)

GOOD = """
method: toy
citation: "Doe, Toys, 2020"
space:
  lr: {log_uniform: [1e-5, 1]}
datasets:
  cub:
    epochs: 5
    batch_size: 16
    recipe: {lr: 1e-3, layers: 3, backbone: large, flip: false}
    space:
      drop_rate: {uniform: [0.1, 0.2]}
      layers: {choice: [1, 3]}
  default: {epochs: 2}
expected:
  - {dataset: cub, val_boxes: gt, selection: BV, tau_from: VT, metric: max_box_acc, value: 70.5}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy.yaml"


def _read(path: Path, text: str) -> Baseline:
    path.write_text(text)
    return read_baseline(path, "toy", PARAMETERS)


def test_a_baseline_may_extend_another(path: Path) -> None:
    path.with_name("base.yaml").write_text(GOOD.replace("method: toy", "method: base"))
    own = """
method: toy
extends: base
space:
  drop_rate: {uniform: [0, 1]}
datasets:
  cub:
    recipe: {layers: 4, flip: null}
    backbones:
      large: {lr: 5e-4}
    space:
      layers: {int_uniform: [1, 2]}
  mine: {epochs: 7}
"""
    baseline = _read(path, own)
    assert set(baseline.space) == {"lr", "drop_rate"} and set(baseline.datasets) == {"cub", "default", "mine"}
    cub = baseline.datasets["cub"]
    assert cub.epochs == 5 and cub.recipe == {"lr": 1e-3, "layers": 4, "backbone": "large"}
    assert cub.values_for("large")["lr"] == 5e-4 and cub.values_for(None)["lr"] == cub.values_for("small")["lr"] == 1e-3
    assert cub.space["layers"].distribution() == IntUniform(1, 2) and "drop_rate" in cub.space
    assert baseline.expected == () and baseline.citation == "", "what others printed is not inherited"
    with pytest.raises(DataError, match=r"there is no nobody\.yaml"):
        _read(path, own.replace("base", "nobody"))


def test_a_baseline_is_read_with_its_types(path: Path) -> None:
    baseline = _read(path, GOOD)
    recipe = baseline.recipe_for("cub")
    assert recipe.recipe == {"lr": 1e-3, "layers": 3, "backbone": "large", "flip": False}
    assert (recipe.epochs, recipe.batch_size, baseline.recipe_for("default").batch_size) == (5, 16, 32)
    assert baseline.space["lr"].distribution() == LogUniform(1e-5, 1.0)
    assert recipe.space["drop_rate"].distribution() == Uniform(0.1, 0.2)
    assert recipe.space["layers"].distribution() == Choice((1, 3))
    assert Range(int_uniform=(1, 3)).distribution() == IntUniform(1, 3)
    assert baseline.expected[0].value == 70.5


def test_recipes_are_found_by_name_family_and_default(path: Path) -> None:
    baseline = _read(path, GOOD)
    cub, default = baseline.datasets["cub"], baseline.datasets["default"]
    assert baseline.recipe_for("cub:size=64") is cub
    assert baseline.recipe_for("folder:name=CUB,frame=96") is cub
    assert baseline.recipe_for("folder") is baseline.recipe_for("folder:name=mine") is default
    with pytest.raises(DataError, match="'toy' for 'critters' or a 'default' one"):
        _read(path, GOOD.replace("  default: {epochs: 2}\n", "")).recipe_for("critters")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("method: toy", "method: cam", "'method: toy' but got 'method: cam'"),
        ("citation:", "cite:", r"cite is not a known key"),
        ("epochs: 5", "epochs: 0", "datasets.cub.epochs should be greater than 0"),
        ("epochs: 5", "epoch: 5", r"datasets.cub.epochs is missing; datasets.cub.epoch .*Did you mean 'epochs'"),
        ("{log_uniform: [1e-5, 1]}", "{log_uniform: [1, 1e-5]}", "space.lr log_uniform needs a lower bound below"),
        ("{log_uniform: [1e-5, 1]}", "{uniform: [1, 1]}", "space.lr uniform needs a lower bound below"),
        ("{log_uniform: [1e-5, 1]}", "{log_uniform: [0, 1]}", "space.lr log_uniform needs positive bounds"),
        ("{log_uniform: [1e-5, 1]}", "{log_uniform: [1e-5]}", "space.lr.log_uniform.1 is missing"),
        (
            "{log_uniform: [1e-5, 1]}",
            "{uniform: [0, 1], choice: [1]}",
            "space.lr needs exactly one .*uniform and choice",
        ),
        ("{log_uniform: [1e-5, 1]}", "{}", "space.lr needs exactly one of .* but has none"),
        ("{log_uniform: [1e-5, 1]}", "{choice: []}", "space.lr choice needs at least one value"),
        ("{log_uniform: [1e-5, 1]}", "{loguniform: [1, 2]}", "space.lr.loguniform .*Did you mean 'log_uniform'"),
        (
            "{log_uniform: [1e-5, 1]}",
            "{choice: [a, b]}",
            "space.lr: Expected 'lr' .* to be a finite number but got 'a'",
        ),
        ("lr: {log_u", "lrr: {log_u", r"space.lrr: .*Did you mean 'lr'\?"),
        ("layers: {choice: [1, 3]}", "layers: {uniform: [1, 3]}", "datasets.cub.space.layers: .* to be a whole number"),
        (
            "layers: {choice: [1, 3]}",
            "backbone: {choice: [big]}",
            r"datasets.cub.space.backbone: .* to be one of \(small",
        ),
        ("layers: 3", "layers: 3.5", "datasets.cub.recipe.layers: .* to be a whole number but got 3.5"),
        ("lr: 1e-3", "lr: fast", "datasets.cub.recipe.lr: .* to be a finite number but got 'fast'"),
        ("lr: 1e-3", "lr: true", "datasets.cub.recipe.lr: .* to be a finite number but got True"),
        ("flip: false", "flip: 1", "datasets.cub.recipe.flip: .* to be true or false but got 1"),
        ("backbone: large", "bakbone: large", r"datasets.cub.recipe.bakbone: .*Did you mean 'backbone'\?"),
        ("value: 70.5", "value: 705", "expected.0.value should be less than or equal to 100"),
        ("datasets:", "dataset:", "datasets is missing"),
    ],
)
def test_mistakes_are_named_with_file_and_key(path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(DataError, match=says) as caught:
        _read(path, GOOD.replace(old, new))
    assert str(caught.value).startswith(str(path))


def test_values_are_checked_in_their_declared_type() -> None:
    assert checked_value("lr", 1, PARAMETERS) == 1.0 and type(checked_value("lr", 1, PARAMETERS)) is float
    assert checked_value("flip", False, PARAMETERS) is False
    for key, value in (("layers", 2.0), ("layers", True), ("flip", 1), ("lr", True), ("backbone", "big")):
        with pytest.raises(UsageError, match=f"'{key}'"):
            checked_value(key, value, PARAMETERS)
    with pytest.raises(UsageError, match=r"Did you mean 'layers'\?"):
        checked_value("layer", 1, PARAMETERS)


def test_a_method_without_a_file_gets_the_shared_ranges() -> None:
    baseline = load_baseline("no_such_baseline", ToyMethod)  # type: ignore[arg-type]
    assert baseline.recipe_for("anything").epochs == 10 and not baseline.space


@pytest.mark.parametrize("path", sorted(content_folder("baselines").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_baseline_is_valid(path: Path) -> None:
    baseline = load_baseline(path.stem, METHODS.get(path.stem))
    assert baseline.citation
    assert baseline.recipe_for("critters").epochs > 0
