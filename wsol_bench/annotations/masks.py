"""Which mask files belong to which image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MaskTable:
    """Mask files of N images, several instances per image allowed, stored ragged.

    Attributes:
        ids: N image ids, in order.
        masks: M paths under the dataset root, one per instance.
        offsets: ``[N + 1]`` int64; the masks of image ``i`` are ``masks[offsets[i]:offsets[i + 1]]``. An image with no
            mask is background everywhere.
        ignore: N paths of the region that counts neither as object nor as background; an empty string where an image
            has none.
    """

    ids: tuple[str, ...]
    masks: tuple[str, ...]
    offsets: NDArray[np.int64]
    ignore: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, index: int) -> tuple[str, ...]:
        """Returns the mask paths of the image at ``index``."""
        return self.masks[self.offsets[index] : self.offsets[index + 1]]
