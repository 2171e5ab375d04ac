"""Maps of CAM and of F-CAM with and without its CRF loss, as a picture: ``python benchmarks/crf_figure.py [--write]``.

Trains what the workspace does not have yet (the trials of ``ablations.py fcam``), draws the maps of the first test
images of different classes, and prints how soft the maps are: the share of pixels between 0.2 and 0.8 of a map
stretched to [0, 1], over the whole test set. A map with sharp boundaries has few of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.maps.normalise import score_maps
from wsol_bench.models.weights import read_torch_file
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.training.batches import normalise
from wsol_bench.training.training_state import load_method
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import run_sweep
from wsol_bench.workflow.workspace import Workspace

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "fcam-crf.png"
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("CAM", "cam", {}),
    ("F-CAM without CRF", "fcam", {"crf_weight": 0.0}),
    ("F-CAM", "fcam", {}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--dataset", default="critters")
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--workspace", type=Path, default=Path("wsol_workspace"))
    parser.add_argument("--write", action="store_true", help=f"write {PICTURE.name} beside printing")
    options = parser.parse_args()
    dataset = open_dataset(options.dataset)
    split = dataset.split("test")
    images = np.stack([dataset.load_image("test", row) for row in range(len(split))])
    shown = [int(np.flatnonzero(split.labels == label)[0]) for label in range(min(options.images, dataset.num_classes))]
    columns = {}
    print("| maps | pixels between 0.2 and 0.8, percent |\n|---|---|")
    for title, method, overrides in VARIANTS:
        maps = predicted(dataset, options.dataset, method, overrides, images, Workspace(options.workspace))
        print(f"| {title} | {100 * np.mean((maps > 0.2) & (maps < 0.8)):.1f} |", flush=True)
        columns[title] = maps[shown]
    if options.write:
        draw(images[shown], columns).savefig(PICTURE, dpi=110, bbox_inches="tight")


def predicted(
    dataset: Dataset, spec: str, method: str, overrides: dict[str, Any], images: NDArray[np.uint8], workspace: Workspace
) -> NDArray[np.float32]:
    """Returns maps ``[N, S, S]`` in [0, 1] of the true classes, after the last epoch."""
    trials = enumerate_trials(PlanRequest((method,), overrides=overrides), spec, dataset.version)
    (outcome,) = run_sweep(dataset, trials, workspace, screen=Screen(quiet=True))
    trained = load_method(trials[0].config, tuple(dataset.class_names), dataset.frame, outcome.folder.best_cls)
    # The class accuracy of F-CAM stands still while its decoder learns: the weights of the last epoch, not the "best".
    trained.load_state_dict(read_torch_file(outcome.folder.checkpoint)["method"])
    labels = torch.from_numpy(dataset.split("test").labels)
    maps = []
    with torch.no_grad():
        for start in range(0, len(images), 50):
            batch = normalise(torch.from_numpy(images[start : start + 50]), trained.mean_std)
            found = trained.localize(batch, labels[start : start + 50]).maps.float().numpy()
            maps.append(score_maps(found, dataset.frame))
    return np.concatenate(maps)


def draw(images: NDArray[np.uint8], columns: dict[str, NDArray[np.float32]]) -> Figure:
    """Draws a row per image: the image, and every map over it."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(1.6 * len(images), 1.6 * (1 + len(columns))))
    axes = figure.subplots(1 + len(columns), len(images), squeeze=False)
    for column, image in enumerate(images):
        axes[0][column].imshow(image)
        for row, maps in enumerate(columns.values(), start=1):
            axes[row][column].imshow(image)
            axes[row][column].imshow(maps[column], cmap="inferno", alpha=0.65, vmin=0, vmax=1)
    for row, title in enumerate(["image", *columns]):
        axes[row][0].set_ylabel(title, fontsize=8)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    return figure


if __name__ == "__main__":
    main()
