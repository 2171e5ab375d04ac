"""What may select by masks: class labels, exact or eroded masks, and pseudo-masks made of the maps of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsol_bench.annotations import firewall
from wsol_bench.annotations.firewall import Ledger
from wsol_bench.annotations.masks import FOREGROUND
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import DataError, UsageError, did_you_mean
from wsol_bench.judge.frame_masks import FrameMasks, eroded_masks, exact_masks, masks_of_maps
from wsol_bench.judge.mask_selection import chosen_by_labels
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.protocol import Protocol
from wsol_bench.training.trial_folder import TrialFolder, dataset_slug
from wsol_bench.workflow.scored import MAPS, default_source
from wsol_bench.workflow.workspace import Workspace

NOISE = "noise:"
_FORMS = "'cls', 'gt', 'noise:<percent>', 'maps:<method>' or 'maps:<id of a trial>'"


@dataclass(frozen=True)
class MaskSource:
    """What selects.

    Attributes:
        kind: ``cls`` (class labels), ``gt`` (exact masks), ``noise`` (the same, eroded) or ``maps`` (pseudo-masks).
        name: as rows call it: ``cls``, ``gt``, ``noise:25``, ``maps:cam``.
        percent: of the foreground that is removed; 0 for the other kinds.
        trial: folder of the trial whose maps serve, where one was named by its id.
    """

    kind: Literal["cls", "gt", "noise", "maps"]
    name: str
    percent: float = 0.0
    trial: Path | None = None

    @property
    def needs_exact(self) -> bool:
        """Whether it is, or is made of, the manual masks of the validation images."""
        return self.kind in ("gt", "noise")

    @property
    def maker(self) -> str:
        """The method or trial whose maps serve; empty for the other kinds."""
        return self.name.removeprefix(MAPS) if self.kind == "maps" else ""


def parse_mask_source(text: str, methods: Sequence[str], workspace: Workspace, dataset_spec: str) -> MaskSource:
    """Understands ``cls``, ``gt``, ``noise:25``, ``maps:cam``, ``pseudo=maps:cam`` and ``maps:<id of a trial>``.

    Args:
        text: what the user wrote.
        methods: those of the plan.
        workspace: where a trial is looked for.
        dataset_spec: the dataset as the user named it; maps of another one fit no image.

    Raises:
        UsageError: it is none of these.
    """
    if text == CLS:
        return MaskSource("cls", CLS)
    if text == GT:
        return MaskSource("gt", GT)
    if text.startswith(NOISE):
        return _noise(text)
    name = text.removeprefix("pseudo=")
    if name.startswith(MAPS):
        maker = name.removeprefix(MAPS)
        if maker in methods:
            return MaskSource("maps", name)
        trials = sorted(workspace.root.glob(f"trials/{dataset_slug(dataset_spec)}/*/{dataset_slug(maker)}"))
        if maker and len(trials) == 1 and trials[0].is_dir():
            return MaskSource("maps", name, trial=trials[0])
        raise UsageError(
            f"Expected '{MAPS}' to be followed by a method of the plan ({', '.join(methods)}), or by the id of a trial "
            f"on '{dataset_spec}' in {workspace.root}, but got '{text}'.{did_you_mean(maker, methods)}"
        )
    raise UsageError(
        f"Expected what selects by masks to be {_FORMS} but got '{text}', which is none or gives boxes; PxAP never "
        f"mixes the two. Fix: --val {default_source(methods)}."
    )


@dataclass(frozen=True, eq=False)
class LoadedMasks:
    """Everything that a judgement by masks is made against.

    Attributes:
        val: masks of the validation images by source.
        test: exact masks of the test images.
        exact: exact masks of the validation images, where the dataset has them.
        makers: what the training behind each set of pseudo-masks had read, as the ledger says it; missing where nobody
            kept a ledger.
    """

    val: Mapping[str, FrameMasks]
    test: FrameMasks
    exact: FrameMasks | None
    makers: Mapping[str, str]


def load_masks(
    dataset: Dataset,
    sources: Sequence[MaskSource],
    ids: Mapping[str, Sequence[str]],
    runs: Mapping[str, Sequence[RecordedRun]],
    protocol: Protocol,
    *,
    allow_missing: bool = False,
) -> LoadedMasks:
    """Draws the masks of all sources; to be called where the firewall lets a judge read.

    Args:
        dataset: whose masks count.
        sources: what selects.
        ids: recorded images of ``val`` and ``test``.
        runs: recorded runs by method, whose maps may become pseudo-masks.
        protocol: how class labels choose the maps.
        allow_missing: leave out records that cannot be read when maps are chosen.

    Raises:
        DataError: a mask is missing or damaged, or a set of masks holds no object.
        RecordError: the maps of a source are missing.
        UsageError: an image has no mask.
        FirewallError: no judge is at work.
    """
    val: dict[str, FrameMasks] = {}
    makers: dict[str, str] = {}
    exact = drawn_exact(dataset, "val", ids["val"]) if dataset.has_masks("val") else None
    percents = [source.percent for source in sources if source.kind == "noise"]
    eroded = dict(zip(percents, drawn_eroded(dataset, ids["val"], percents), strict=True)) if percents else {}
    for source in sources:
        if source.kind == "gt":
            val[source.name] = drawn_exact(dataset, "val", ids["val"]) if exact is None else exact
        elif source.kind == "noise":
            val[source.name] = eroded[source.percent]
        elif source.kind == "maps":
            competing = runs[source.maker] if source.trial is None else [_recorded(source.trial)]
            origin = chosen_by_labels(competing, protocol, allow_missing=allow_missing)
            val[source.name] = masks_of_maps(origin, source.maker, dataset.background_classes)
            accesses = TrialFolder(origin.run.folder).accesses()
            if accesses is not None:
                makers[source.name] = Ledger(accesses).supervision()
    for name, masks in val.items():
        firewall.read(masks.key, "val")
        if not (masks.masks == FOREGROUND).any():
            raise DataError(f"Expected objects in the validation masks '{name}' but they are empty everywhere.")
    return LoadedMasks(val, drawn_exact(dataset, "test", ids["test"]), exact, makers)


def drawn_exact(dataset: Dataset, split: str, ids: Sequence[str]) -> FrameMasks:
    """Draws the manual masks of some images of a split, in the frame; errors as for :func:`load_masks`."""
    return exact_masks(dataset.ground_truth_masks(split), ids, dataset.frame)


def drawn_eroded(dataset: Dataset, ids: Sequence[str], percents: Sequence[float]) -> list[FrameMasks]:
    """Draws the eroded masks of some validation images, one set per percentage; errors as for :func:`load_masks`."""
    places = {image_id: place for place, image_id in enumerate(dataset.split("val").ids)}
    sizes = dataset.image_sizes("val", [places[image_id] for image_id in ids])
    return eroded_masks(dataset.ground_truth_masks("val"), ids, sizes, dataset.frame, percents)


def _recorded(trial: Path) -> RecordedRun:
    return RecordedRun(f"{trial.parent.name}/{trial.name}", trial, TrialFolder(trial).selectable_epochs())


def _noise(text: str) -> MaskSource:
    try:
        percent = float(text.removeprefix(NOISE))
    except ValueError:
        percent = 0.0
    if not 0 < percent < 100:
        raise UsageError(
            f"Expected '{NOISE}' to be followed by the percentage of the foreground that masks lose, above 0 and below "
            f"100, but got '{text}'; fix: 'noise:25'."
        )
    return MaskSource("noise", f"{NOISE}{percent:g}", percent=percent)
