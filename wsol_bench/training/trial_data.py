"""What a trial is trained and recorded on."""

from __future__ import annotations

from dataclasses import dataclass

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.errors import DataError


@dataclass(frozen=True)
class TrialData:
    """What training may see: packed pixels and class labels of three splits.

    Attributes:
        train: squashed to the training side (the crop needs slack).
        val: squashed to the frame.
        test: squashed to the frame; recorded, never trained on.
        class_names: C names in label order.

    Raises:
        DataError: an empty split, a label without a class, or images of sides that do not fit together.
    """

    train: PackedSplit
    val: PackedSplit
    test: PackedSplit
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            if not len(split):
                raise DataError(f"Expected images in the split '{name}' but it is empty.")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= len(self.class_names):
                raise DataError(
                    f"Expected labels of '{name}' from 0 to {len(self.class_names) - 1}, one per class name, but got "
                    f"{low} to {high}."
                )
        sides = {name: split.images.shape[1] for name, split in self.splits.items()}
        if sides["val"] != sides["test"] or sides["train"] < sides["val"]:
            raise DataError(
                f"Expected val and test images of one side, and train images not below it, but got {sides}."
            )

    @property
    def splits(self) -> dict[str, PackedSplit]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def frame(self) -> int:
        """Side in pixels of what the network sees and of the frame in which maps are scored."""
        return int(self.val.images.shape[1])
