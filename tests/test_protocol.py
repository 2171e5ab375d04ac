from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.content import content_folder
from wsol_bench.errors import DataError, UsageError
from wsol_bench.protocol import load_protocol

REALISTIC = (content_folder("protocols") / "realistic.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(content_folder("protocols").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_protocol_is_valid_and_named_like_its_file(path: Path) -> None:
    protocol = load_protocol(path.stem)
    assert protocol.id == path.stem
    assert protocol.label == f"{protocol.id}@{protocol.version}"
    assert protocol.title and protocol.citation


def test_the_realistic_protocol_selects_without_ground_truth() -> None:
    protocol = load_protocol("realistic")
    assert protocol.headline.model_dump() == {"metric": "max_box_acc", "selection": "BV", "threshold": "VT"}
    assert "gt" not in protocol.may_read.selection and protocol.may_read.training == ("images", "labels")


def test_a_protocol_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(REALISTIC.replace("id: realistic", "id: mine").replace("version: 2", "version: 7"))
    assert load_protocol(str(path)).label == "mine@7"


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--protocol .*choe2020, realistic.*Did you mean 'realistic'\?"):
        load_protocol("realstic")
    with pytest.raises(UsageError, match=r"there is no '.*mine.yaml'"):
        load_protocol(str(tmp_path / "mine.yaml"))
    with pytest.raises(UsageError, match="--protocol"):
        load_protocol("../protocols/realistic")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tau_grid: levels", "tau_grid: level", "tau_grid should be 'levels' or|tau_grid should be 'levels' .*or"),
        ("tau_grid: levels", "tau_grid: 0", "tau_grid .*should be greater than 0"),
        ("version: 2", "version: 0", "version should be greater than or equal to 1"),
        ("version: 2", "version: one", "version should be a valid integer"),
        ("version: 2", "versoin: 2", r"versoin is not a known key \(Did you mean 'version'\?\)"),
        ("[0.3, 0.5, 0.7]", "[0.3, 5, 0.7]", r"iou_thresholds.1 should be less than 1 \(got 5\)"),
        ("[0.3, 0.5, 0.7]", "[0.5, 0.3]", "iou_thresholds must rise"),
        ("[0.3, 0.5, 0.7]", "[0.5, 0.5]", "iou_thresholds must rise"),
        ("[0.3, 0.5, 0.7]", "[]", "iou_thresholds .*at least 1 item"),
        ("selection_iou: 0.5", "selection_iou: 0.55", r"selection_iou 0.55 is not one of \[0.3, 0.5, 0.7\]"),
        ("{metric: max_box_acc", "{metric: px_ap", "headline.metric should be 'max_box_acc'"),
        ("metrics: [max_box_acc, ", "metrics: [", "headline.metric 'max_box_acc' is not one of metrics"),
        ("selections: [BT, BV]", "selections: [BT]", "headline.selection 'BV' is not one of selections"),
        ("thresholds: [TT, VT, OT]", "thresholds: [TT]", "headline.threshold 'VT' is not one of thresholds"),
        ("thresholds: [TT, VT, OT]", "thresholds: [TT, VT, VT]", "thresholds must not repeat"),
        ("sources: [cls, gt, pseudo]", "sources: [gt, gt]", "sources must not repeat"),
        ("sources: [cls, gt, pseudo]", "sources: [boxes]", "sources.0 should be 'cls', 'gt' or 'pseudo'"),
        ("contours: largest\n", "", "contours is missing"),
        ("bt_key: reported", "bt_key: both", "bt_key should be 'reported' or 'selection'"),
        ("tau_per_iou: own", "tau_per_iou: any", "tau_per_iou should be 'own' or 'shared'"),
        ("ties: first", "ties: last", "ties should be 'first'"),
        ("otsu: per_image", "otsu: per_split", "otsu should be 'per_image'"),
        ("cls_thresholds: [OT, TT]", "cls_thresholds: [OT, OT]", "cls_thresholds must not repeat"),
        ("cls_thresholds: [OT, TT]", "cls_thresholds: [VT]", "cls_thresholds.0 should be 'OT' or 'TT'"),
        ("tau_grid: levels", "tau_grid: {val: 0.001, test: 0.004}", "val must be a multiple of test"),
        (
            "flag_tau_loss: 10.0",
            "flag_tau_los: 10.0",
            r"flag_tau_los is not a known key \(Did you mean 'flag_tau_loss'",
        ),
        ("seeds: 3", "seeds: 0", "seeds should be greater than or equal to 1"),
    ],
)
def test_every_offending_key_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in REALISTIC
    path = tmp_path / "mine.yaml"
    path.write_text(REALISTIC.replace(old, new))
    with pytest.raises(DataError, match=says) as caught:
        load_protocol(str(path))
    assert str(caught.value).startswith(f"{path}: Expected a protocol but: ")


def test_every_option_of_the_realistic_protocol_is_documented() -> None:
    """Ambiguities of the sources are options, and a reader must find each of them."""
    docs = Path(__file__).resolve().parents[1] / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("protocol.md", "judge.md"))
    plain = {"id", "version", "title", "citation", "contours", "sources", "selections", "thresholds", "metrics"}
    options = set(type(load_protocol("realistic")).model_fields) - plain - {"headline", "may_read"}
    assert {option for option in options if f"`{option}`" not in text} == set()
    assert {option for option in options if f"\n{option}: " not in REALISTIC} == set()
