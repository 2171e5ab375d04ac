"""Annotator ``rpn``: class-agnostic region proposals of a detector, filtered by the pointing game.

Source: Murtaza, PhD thesis, ETS Montreal, 2025, section 4.3.1; pseudo-box spec, section 2. The detector was trained
with manual boxes of another dataset, which the card says: report it apart from sources without any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsol_bench.annotators.base import AnnotatorContext, Proposals
from wsol_bench.annotators.pointing_game import FunnelOptions
from wsol_bench.annotators.proposal_annotator import ProposalAnnotator
from wsol_bench.models.embedded import EMBEDDED, embedded_card

COCO = "coco"
"""How the option ``weights`` names torchvision's weights."""


class RegionProposals(ProposalAnnotator):
    """Region proposals ranked by objectness; the class map points, and the classifier's score chooses.

    Images go to the detector as the frame shows them, at the size that the detector resizes to by itself.
    """

    name: ClassVar[str] = "rpn"
    version: ClassVar[str] = "1"
    supervision: ClassVar[str] = "class-agnostic boxes of another dataset"

    class Options(FunnelOptions):
        """Options of the detector and of the funnel."""

        model: str = Field("fasterrcnn_resnet50_fpn", description="detector of torchvision")
        weights: str = Field(COCO, description="coco, embedded, FILE[@sha256:<hex>], or a folder of a small proposer")

    options: Options

    def __init__(self, context: AnnotatorContext, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(context, options)
        # Imported here, so that annotators can be listed without torch.
        from wsol_bench.models.region_proposals import load_proposer

        self._proposer = load_proposer(self.options.model, self.options.weights).to(context.device)

    @classmethod
    def options_for(cls, dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Takes the embedded proposer for the dataset that it suits, unless the user names another model."""
        suits = dataset == embedded_card("proposer").dataset and not {"model", "weights"} & set(given)
        return {"weights": EMBEDDED, **given} if suits else dict(given)

    def supervised_by(self) -> str:
        """Names the dataset whose boxes the detector has seen."""
        if self.options.weights == EMBEDDED:
            return embedded_card("proposer").supervision
        return f"{self.supervision}: COCO" if self.options.weights == COCO else self.supervision

    def weights(self) -> dict[str, str]:
        """Returns the checksum of the detector's weights."""
        return {"detector": self._proposer.sha256}

    def proposals(self, images: NDArray[np.uint8]) -> Iterator[Proposals]:
        """Proposes in batches on the context's device."""
        import torch

        for start in range(0, len(images), self.context.batch_size):
            batch = torch.from_numpy(np.array(images[start : start + self.context.batch_size]))
            for edges, objectness in self._proposer(batch.to(self.context.device)):
                yield Proposals(pixels_of_edges(edges.cpu().numpy(), images.shape[1]), objectness.cpu().numpy())


def pixels_of_edges(edges: NDArray[np.float32], frame: int) -> NDArray[np.int32]:
    """Turns boxes given by their edges into inclusive pixels of the frame; every box keeps at least one pixel.

    Args:
        edges: ``[K, 4]`` float ``x0, y0, x1, y1`` between 0 and ``frame``, rounded to the nearest pixel border.
        frame: side of the square in pixels.

    Returns:
        ``[K, 4]`` int32 in ``0..frame - 1``.
    """
    rounded = np.floor(np.clip(edges, 0, frame) + 0.5).astype(np.int32)
    first = np.minimum(rounded[:, :2], frame - 1)
    return np.concatenate([first, np.maximum(rounded[:, 2:] - 1, first)], axis=1)
