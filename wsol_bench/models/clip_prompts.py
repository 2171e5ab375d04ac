"""Constants of the published CLIP-ES maps, apart from the code that needs torch."""

from __future__ import annotations

PROMPT = "a clean origami {}."
"""Template of class and background prompts; of those tried by Lin et al. (CVPR 2023) the one with the sharpest maps."""

VOC_BACKGROUND = (
    "ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railway",
    "railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road", "rock", "street", "valley",
    "bridge", "sign",
)  # fmt: skip
"""Background words of the reference for PASCAL VOC, which the benchmark's generators use too."""

BOX_TAU = 0.4
"""Evidence spreads from the boxes of the raw map above this share of its maximum."""
