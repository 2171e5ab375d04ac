"""What an annotator is: images and class labels in, one box per image out, with its supervision declared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from wsol_bench.errors import UsageError, unknown_choice

ImageDone = Callable[[], None]
"""Called once per image while a batch is worked on, for progress bars."""


class ScoringClassifier(Protocol):
    """A classifier trained with class labels only, as annotators see it; implemented on the training side."""

    @property
    def frame(self) -> int:
        """Side in pixels of the square images that it takes."""

    @property
    def identity(self) -> str:
        """What it is, for the card: a hash of its weights or the id of its trial and epoch."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns softmax probabilities ``[B, C]`` of ``[B, S, S, 3]`` RGB images."""

    def maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the class activation maps ``[B, h, w]`` of ``labels`` ``[B]``, low resolution, in any scale."""


class Fallback(StrEnum):
    """How the box of an image was chosen when the ordinary way gave none."""

    NONE = "none"
    WHOLE_POOL = "a_whole_pool"
    NO_POINTING_GAME = "b_no_pointing_game"
    WHOLE_FRAME = "c_whole_frame"
    EMPTY_MASK = "empty_mask"


@dataclass(frozen=True)
class Proposals:
    """Candidate boxes of one image.

    Attributes:
        boxes: ``[K, 4]`` int32, ``x0, y0, x1, y1`` with inclusive corners, in frame pixels.
        objectness: ``[K]`` float32, higher means object; None where the source ranks nothing.
    """

    boxes: NDArray[np.int32]
    objectness: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: NDArray[np.intp]) -> Proposals:
        """Returns the proposals at ``rows``, in that order."""
        return Proposals(self.boxes[rows], None if self.objectness is None else self.objectness[rows])


@dataclass(frozen=True)
class FunnelOutcome:
    """What the pointing-game funnel saw and decided for one image; enough to compute every row of Table 4.5.

    Attributes:
        frame: side of the square in which boxes and peak live.
        boxes: ``[K, 4]`` int32, the pool after cleaning and capping.
        scores: ``[K]`` float32, classifier score of each box in [0, 1]; NaN where none was needed.
        objectness: ``[K]`` float32, or None.
        top: ``[K]`` bool, the best 20 % of the pool.
        hits: ``[K]`` bool, boxes that contain the peak; all False where there is no peak.
        peak: ``(x, y)`` of the class map's maximum, or None for a constant or non-finite map.
        best_ranked: index of the best box by the ranking that defines the 20 %, -1 for an empty pool.
        final: index of the chosen box, -1 for the whole frame.
        fallback: how the choice was made.
        proposed: boxes before cleaning.
        cleaned: boxes after cleaning, before the cap.
    """

    frame: int
    boxes: NDArray[np.int32]
    scores: NDArray[np.float32]
    objectness: NDArray[np.float32] | None
    top: NDArray[np.bool_]
    hits: NDArray[np.bool_]
    peak: tuple[int, int] | None
    best_ranked: int
    final: int
    fallback: Fallback
    proposed: int
    cleaned: int

    def box_at(self, index: int) -> NDArray[np.int32]:
        """Returns the box ``[4]`` at ``index``, or the whole frame for -1."""
        if index < 0:
            return np.array([0, 0, self.frame - 1, self.frame - 1], dtype=np.int32)
        box: NDArray[np.int32] = self.boxes[index]
        return box

    @property
    def box(self) -> NDArray[np.int32]:
        """The chosen box ``[4]``, in frame pixels."""
        return self.box_at(self.final)

    @property
    def survivors(self) -> NDArray[np.bool_]:
        """``[K]`` bool: among the best 20 % and hit by the peak."""
        survivors: NDArray[np.bool_] = self.top & self.hits
        return survivors


@dataclass(frozen=True)
class AnnotatedImage:
    """The pseudo-box of one image.

    Attributes:
        image_id: the image.
        box: ``[4]`` int32, ``x0, y0, x1, y1`` inclusive, in frame pixels; ``0, 0, 0, 0`` where nothing was found.
        fallback: how the box was chosen.
        funnel: the steps that led to it, for annotators that filter proposals.
        map: ``[h, w]`` float16 in [0, 1], low resolution, for annotators that threshold a map.
    """

    image_id: str
    box: NDArray[np.int32]
    fallback: Fallback = Fallback.NONE
    funnel: FunnelOutcome | None = None
    map: NDArray[np.float16] | None = None


class AnnotatorOptions(BaseModel):
    """Base of an annotator's options: whatever changes the boxes. Unknown names and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Builds the options from plain values, the rest at their defaults.

        Raises:
            UsageError: a name is unknown or a value does not fit.
        """
        for name in values:
            if name not in cls.model_fields:
                raise unknown_choice("an annotator option", name, cls.model_fields)
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"Expected a usable annotator option '{name}' but got {first['input']!r}: {first['msg']}."
            ) from error


@dataclass(frozen=True)
class AnnotatorContext:
    """What surrounds an annotator; nothing here changes a box.

    Attributes:
        class_names: C names in label order.
        classifier: scores boxes and gives the peaks; None for annotators that need none.
        workers: processes for work on the CPU.
        batch_size: images in one call of a network.
        device: where an annotator's own network runs (``cpu``, ``cuda``).
    """

    class_names: Sequence[str]
    classifier: ScoringClassifier | None = None
    workers: int = 1
    batch_size: int = 64
    device: str = "cpu"


class Annotator(ABC):
    """Base of all annotators; one subclass, one file, one line in the registry.

    Used as a context manager, so that worker processes end with the block::

        with SelectiveSearch(context, {"mode": "quality"}) as annotator:
            for images, labels, ids in batches:
                annotated = annotator.annotate(images, labels, ids)

    Class attributes:
        name: the registered name, also the folder's.
        version: changes whenever the same input may get another box.
        supervision: what the box source has seen beyond the class labels of the training split: ``none``,
            ``class-agnostic boxes of another dataset``, ``image-text pairs``.
        needs_classifier: whether :attr:`AnnotatorContext.classifier` must be there.
        Options: what can be configured.

    Raises:
        UsageError: an option does not fit.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    supervision: ClassVar[str]
    needs_classifier: ClassVar[bool] = False
    Options: ClassVar[type[AnnotatorOptions]]

    def __init__(self, context: AnnotatorContext, options: Mapping[str, Any] | None = None) -> None:
        self.context = context
        self.options = self.Options.parse(options or {})

    @abstractmethod
    def annotate(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        ids: Sequence[str],
        on_image: ImageDone | None = None,
    ) -> list[AnnotatedImage]:
        """Returns one box per image, in order; the box of an image depends on that image alone.

        Args:
            images: ``[B, S, S, 3]`` RGB uint8, squashed to the square frame.
            labels: ``[B]`` int64 class labels.
            ids: B image ids.
            on_image: called once per image.
        """

    @property
    def classifier(self) -> ScoringClassifier:
        """The context's classifier.

        Raises:
            UsageError: there is none.
        """
        if self.context.classifier is None:
            raise UsageError(
                f"Expected a classifier for the annotator '{self.name}', which scores boxes with it, but got none."
            )
        return self.context.classifier

    @classmethod
    def options_for(cls, dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the user's options, completed by those that suit a dataset, given by its name."""
        return dict(given)

    def supervised_by(self) -> str:
        """Returns the supervision, down to the weights that were loaded."""
        return self.supervision

    def weights(self) -> dict[str, str]:
        """Returns ``{name: sha256}`` of every weights file that the annotator itself loaded."""
        return {}

    def close(self) -> None:
        """Ends worker processes and frees devices; safe to call twice."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
