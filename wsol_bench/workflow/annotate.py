"""Makes pseudo-boxes for a split: trains the classifier that filters proposals, annotates, stores the boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from wsol_bench.annotators.base import Annotator, AnnotatorContext
from wsol_bench.annotators.card import Card, Recipe, problem_with
from wsol_bench.annotators.store import annotate_split, split_folder
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.datasets.packed import PackedSplit, pack
from wsol_bench.errors import RecordError
from wsol_bench.methods.hparams import Value
from wsol_bench.registry import ANNOTATORS
from wsol_bench.search.plan import MethodOnDataset, PlannedTrial, PlanRequest, enumerate_trials
from wsol_bench.training.classifier import TrainedClassifier
from wsol_bench.training.config import Precision
from wsol_bench.training.device import pick_device
from wsol_bench.training.trial_folder import TrialFolder
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import run_sweep
from wsol_bench.workflow.workspace import Workspace

CLASSIFIER_METHOD = "cam"
"""The method whose recipe trains the classifier that scores boxes and gives the peaks."""


@dataclass(frozen=True)
class ClassifierRequest:
    """How the classifier of the annotators is trained: by the recipe of CAM, but for what is given here.

    Attributes:
        epochs: its budget.
        overrides: hyper-parameters of CAM, as values or as text.
        precision: of the network.
    """

    epochs: int | None = None
    overrides: Mapping[str, Value] = field(default_factory=dict)
    precision: Precision = "fp32"

    @classmethod
    def like(cls, plan: PlanRequest, dataset: str) -> Self:
        """Returns the classifier of a plan: what the user set for its methods holds for CAM too, where CAM has it."""
        known = {one.name for one in MethodOnDataset.of(CLASSIFIER_METHOD, dataset).parameters}
        shared = {name: value for name, value in (plan.overrides or {}).items() if name in known}
        return cls(plan.epochs, shared, plan.precision)

    def trial(self, dataset: Dataset, spec: str) -> PlannedTrial:
        """Returns the trial whose classifier serves the annotators: CAM with seed 0.

        Raises:
            UsageError: CAM has no such hyper-parameter, or a value does not fit.
        """
        plan = PlanRequest((CLASSIFIER_METHOD,), epochs=self.epochs, overrides=self.overrides, precision=self.precision)
        return enumerate_trials(plan, spec, dataset.version)[0]


@dataclass(frozen=True)
class AnnotationRequest:
    """What ``wsol-bench annotate`` was asked for.

    Attributes:
        dataset_spec: the dataset as the user named it.
        annotator: registered name.
        split: what to annotate.
        options: options of the annotator; its defaults where empty.
        workers: processes for proposals.
        classifier: how the classifier is trained, for annotators that need one.
    """

    dataset_spec: str
    annotator: str
    split: str = "val"
    options: Mapping[str, Any] | None = None
    workers: int = 1
    classifier: ClassifierRequest = ClassifierRequest()

    def folder(self, workspace: Workspace, dataset: Dataset) -> Path:
        """Returns where the boxes belong."""
        root = workspace.pseudo_boxes(self.dataset_spec)
        return split_folder(root, dataset.name, self.annotator, self.split)


def pseudo_boxes_ready(dataset: Dataset, request: AnnotationRequest, workspace: Workspace) -> bool:
    """Whether the boxes are there, whole, made by this version of the annotator from this version of the dataset."""
    annotator_class: type[Annotator] = ANNOTATORS.get(request.annotator)
    expected: dict[str, Any] = {
        "annotator_version": annotator_class.version,
        "dataset_version": dataset.version,
        "split": request.split,
    }
    if request.options:
        options = annotator_class.options_for(dataset.name, request.options)
        expected["options"] = annotator_class.Options.parse(options).model_dump(mode="json")
    return problem_with(request.folder(workspace, dataset), expected) is None


def annotate(
    dataset: Dataset,
    request: AnnotationRequest,
    workspace: Workspace,
    *,
    device: str = "auto",
    on_bad_image: OnBadImage = "error",
    screen: Screen,
) -> Card:
    """Makes the boxes, or goes on where an earlier call was stopped; returns the card.

    The classifier, for annotators that need one, is a trial like any other, trained with class labels only; its
    weights are those of the best validation classification accuracy.

    Raises:
        UsageError: the annotator or an option is unknown.
        RecordError: the classifier could not be trained.
    """
    annotator_class: type[Annotator] = ANNOTATORS.get(request.annotator)
    classifier = None
    if annotator_class.needs_classifier:
        classifier = _classifier(dataset, request, workspace, device, on_bad_image, screen)
    with screen.bar(f"packing {request.split} of {dataset.name}") as progress:
        images = pack(
            dataset,
            request.split,
            dataset.frame,
            cache_dir=workspace.packed,
            on_bad_image=on_bad_image,
            progress=progress,
        )
    context = AnnotatorContext(
        class_names=dataset.class_names,
        classifier=classifier,
        workers=request.workers,
        device=str(pick_device(device)),
    )
    options = annotator_class.options_for(dataset.name, request.options or {})
    with annotator_class(context, options) as annotator:
        recipe = Recipe.of(
            annotator,
            dataset=dataset.name,
            dataset_version=dataset.version,
            split=request.split,
            ids=images.ids,
            labels=images.labels,
            frame=dataset.frame,
        )
        with screen.bar(f"{request.annotator} boxes for {request.split} of {dataset.name}") as progress:
            return annotate_split(
                annotator,
                request.folder(workspace, dataset),
                recipe,
                images.images,
                images.labels,
                images.ids,
                dataset.image_sizes(request.split, _rows(dataset, request.split, images)),
                progress=progress,
            )


def _classifier(
    dataset: Dataset,
    request: AnnotationRequest,
    workspace: Workspace,
    device: str,
    on_bad_image: OnBadImage,
    screen: Screen,
) -> TrainedClassifier:
    trial = request.classifier.trial(dataset, request.dataset_spec)
    outcome = run_sweep(dataset, [trial], workspace, device=device, on_bad_image=on_bad_image, screen=screen)[0]
    if not outcome.folder.best_cls.is_file():
        raise RecordError(f"{outcome.folder.path}: the classifier of the annotator has no weights; see epochs.jsonl.")
    folder = TrialFolder.of(workspace.root, trial.config)
    return TrainedClassifier(folder, trial.config, tuple(dataset.class_names), dataset.frame, pick_device(device))


def _rows(dataset: Dataset, split: str, images: PackedSplit) -> list[int]:
    """Positions of the packed images in the split; they differ only where unreadable images were skipped."""
    ids = dataset.split(split).ids
    if images.ids == ids:
        return list(range(len(ids)))
    position = {image_id: row for row, image_id in enumerate(ids)}
    return [position[image_id] for image_id in images.ids]
