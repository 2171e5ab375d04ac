"""What annotators that propose many boxes and keep one have in common: the pointing-game funnel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotators.base import AnnotatedImage, Annotator, AnnotatorContext, ImageDone, Proposals
from wsol_bench.annotators.pointing_game import FunnelOptions, ProposalFunnel


class ProposalAnnotator(Annotator):
    """Base of annotators whose boxes come from a pool of proposals; a subclass says where the pool comes from.

    Raises:
        UsageError: an option does not fit, or the context has no classifier.
    """

    needs_classifier: ClassVar[bool] = True

    Options: ClassVar[type[FunnelOptions]]
    options: FunnelOptions

    def __init__(self, context: AnnotatorContext, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(context, options)
        self._funnel = ProposalFunnel(self.classifier, self.options, context.batch_size)

    @abstractmethod
    def proposals(self, images: NDArray[np.uint8]) -> Iterator[Proposals]:
        """Yields the pool of each image ``[B, S, S, 3]`` in order, in frame pixels; may work ahead."""

    def annotate(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        ids: Sequence[str],
        on_image: ImageDone | None = None,
    ) -> list[AnnotatedImage]:
        """Proposes, filters and scores."""
        outcomes = self._funnel.run(images, labels, self.proposals(images), on_image)
        return [
            AnnotatedImage(image_id, outcome.box, outcome.fallback, outcome)
            for image_id, outcome in zip(ids, outcomes, strict=True)
        ]
