"""The workspace: one folder that holds packed images, trials, pseudo-boxes and results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsol_bench.protocol import Sampler
from wsol_bench.training.trial_folder import dataset_slug

DEFAULT_WORKSPACE = Path("wsol_workspace")


@dataclass(frozen=True)
class Workspace:
    """Where everything of one user or project lies.

    Attributes:
        root: the folder; made when something is written.
    """

    root: Path = DEFAULT_WORKSPACE

    @property
    def packed(self) -> Path:
        """Decoded images, safe to delete."""
        return self.root / "packed"

    @property
    def studies(self) -> Path:
        """Journals of sweeps, and the logs of their workers."""
        return self.root / "studies"

    def pseudo_boxes(self, spec: str) -> Path:
        """Root of the pseudo-boxes of a dataset as the user names it.

        Variants of a generated dataset (``critters:224``) share a name but not their pixels, so each has its own root.
        """
        slug = dataset_slug(spec)
        return self.root / ("pseudo_boxes" if slug == spec else f"pseudo_boxes-{slug}")

    def results(self, spec: str, sampler: Sampler = "plan") -> Path:
        """Tables and figures of a dataset; those of a searched study lie beside those of the plan.

        No name of a dataset becomes a folder with a ``+``.
        """
        slug = dataset_slug(spec)
        return self.root / "results" / (slug if sampler == "plan" else f"{slug}+{sampler}")
