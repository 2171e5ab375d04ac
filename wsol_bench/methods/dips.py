"""DiPS: discriminative pseudo-label sampling (Murtaza et al., Image and Vision Computing 2023).

A frozen self-supervised ViT gives attention maps, a classifier ranks the boxes found in them by how much of the true
class survives when everything outside is blurred, and pixels drawn inside and outside the best boxes supervise a
small decoder on the frozen patch tokens, beside a dense CRF term. First a linear classifier is trained on the frozen
class tokens; the proposals are then worked out once per image; last the decoder is trained. The map is
class-agnostic.

``version=workshop`` (WACV Workshops 2023) trains a U-Net on the image instead, and adds a loss of the classifier on the
foreground. Where text and code of the reference differ, the text holds: background is drawn outside all boxes, the CRF
term is part of the total, and the classifier sees the masked image, so that its loss reaches the localizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wsol_bench.losses.dense_crf import PUBLISHED_WEIGHT, framed_crf_loss
from wsol_bench.losses.partial_cross_entropy import partial_cross_entropy
from wsol_bench.losses.pseudo_pixels import SeedRule, draw_seeds, otsu_region
from wsol_bench.methods.base import Batch, Localization, Stage, two_stages
from wsol_bench.methods.dino_attention import REFERENCE_FRAME, FrozenVitParams, LinearProbe
from wsol_bench.methods.hparams import Choice, Fixed, Uniform, hp
from wsol_bench.models.backbones import build_backbone
from wsol_bench.models.decoder import UNet, double_conv
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.frozen_vit import FrozenVit, blurred_images, candidate_maps
from wsol_bench.models.heads import in_float32

CLASSIFIER, LOCALIZER = "classifier", "localizer"
JOURNAL, WORKSHOP = "journal", "workshop"

HEADS = 4
"""Candidates are the mean of all heads and the first four."""

MOST_BOXES = 10
"""Proposals kept per image, the best first."""

_PER_MAP = 4


class DiPS(LinearProbe):
    """A decoder trained on pixels drawn from discriminative proposals."""

    title = "Discriminative pseudo-label sampling"
    citation = (
        "Murtaza et al., DiPS: Discriminative Pseudo-label Sampling with Self-supervised Transformers for Weakly "
        "Supervised Object Localization, Image and Vision Computing 2023"
    )

    class HParams(FrozenVitParams):
        """Hyper-parameters of DiPS."""

        version: str = hp(JOURNAL, Fixed((JOURNAL, WORKSHOP)), "decoder on ViT tokens, or U-Net and classifier loss")
        classifier_share: float = hp(0.4, Fixed(), "share of the epochs in which the classifier is trained, 0 to 1")
        boxes: int = hp(3, Choice((1, 3, 5, 7)), "pixels are drawn from one of so many best proposals")
        smallest: float = hp(0.05, Fixed(), "smallest box as a share of the image, 0 to 1")
        pixels: int = hp(10, Choice((1, 10, 50, 100, 1000)), "pixels of either kind per image and step, at 224")
        foreground_share: float = hp(0.3, Choice((0.1, 0.2, 0.3)), "from this strongest share of the box, 0 to 1")
        background_share: float = hp(0.3, Choice((0.1, 0.2, 0.3)), "from this weakest share of the image, 0 to 1")
        seed_weight: float = hp(1.0, Uniform(0.01, 1.0), "factor on the loss of drawn pixels")
        crf_weight: float = hp(PUBLISHED_WEIGHT, Fixed(), "factor on the dense CRF loss at 224 pixels; 0: none")
        crf_scale: float = hp(0.5, Fixed(), "the CRF loss looks at images of this scale, 0 to 1")
        class_weight: float = hp(0.1, Fixed(), "workshop: factor on the classifier's loss on the foreground")
        unet: str = hp("resnet_tiny", Fixed(), "workshop: encoder of the U-Net")
        unet_weights: str = hp("none", Fixed(), "workshop: its weights, as for CAM")
        blur: float = hp(100.0, Fixed(), "standard deviation of the blur outside a box, pixels at 224")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.localizer: nn.Module
        if hparams.version == WORKSHOP:
            unet = build_backbone(hparams.unet, hparams.unet_weights)
            self.localizer = UNet(unet, 2, frame, centre=hparams.unet == "vgg16_gap")
        else:
            self.localizer = TokenDecoder(self.encoder.width, self.encoder.grid, frame)
        count = max(1, round(hparams.pixels * (frame / REFERENCE_FRAME) ** 2))
        self.rule = SeedRule(
            count, count, hparams.foreground_share, hparams.background_share, foreground_mode="weighted"
        )
        self.localizing = False

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return two_stages(CLASSIFIER, LOCALIZER, self.hparams.classifier_share, epochs)

    def enter_stage(self, name: str) -> None:
        self.localizing = name == LOCALIZER
        self.head.requires_grad_(not self.localizing)
        self.localizer.requires_grad_(self.localizing)

    def harvest(self) -> Mapping[str, FrozenFunction]:
        if not self.localizing:
            return {}
        return {"proposals": Proposals(self.encoder, self.head, self.hparams.smallest, self.hparams.blur, self.frame)}

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        if not self.localizing:
            return super().training_step(batch)
        answers = self.encoder(batch.images)
        logits = self._decode(batch.images, answers)
        seeds = self._seeds(batch, answers["attention"], logits.shape[2])
        probabilities = torch.softmax(logits.float(), dim=1)
        losses = {"seeds": self.hparams.seed_weight * partial_cross_entropy(logits.float(), seeds)}
        if self.hparams.crf_weight:
            losses["crf"] = self.hparams.crf_weight * framed_crf_loss(
                probabilities, self.pixels(batch.images), self.hparams.crf_scale
            )
        if self.hparams.version == WORKSHOP and self.hparams.class_weight:
            shown = batch.images * probabilities[:, 1:].to(batch.images.dtype)
            predicted = in_float32(self.head, self.encoder.class_features(shown))
            losses["classifier"] = self.hparams.class_weight * F.cross_entropy(predicted, batch.labels)
        return losses

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        answers = self.encoder(images)
        logits = in_float32(self.head, answers["classes"])
        if not self.localizing:
            return Localization(answers["attention"].mean(dim=1), logits)
        return Localization(torch.softmax(self._decode(images, answers).float(), dim=1)[:, 1], logits)

    def _decode(self, images: Tensor, answers: Answers) -> Tensor:
        decoded: Tensor = self.localizer(images if self.hparams.version == WORKSHOP else answers["patches"])
        return decoded

    def _seeds(self, batch: Batch, attention: Tensor, size: int) -> Tensor:
        """Draws pixels ``[B, size, size]`` from one of the best proposals of every image, at the size of the image."""
        found = batch.harvest["proposals"]
        considered = found["count"].clamp(max=self.hparams.boxes)
        drawn = (torch.rand(len(considered), device=attention.device) * considered).long()
        rows = torch.arange(len(drawn), device=attention.device)
        boxes = batch.window.crop_boxes(found["boxes"].float())
        taken = torch.arange(boxes.shape[1], device=attention.device) < considered[:, None]
        masks = box_masks(boxes, size) & taken[:, :, None, None]
        maps = candidate_maps(attention, HEADS)[rows, found["map"].long()[rows, drawn]]
        large = F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
        return draw_seeds(large, self.rule, masks[rows, drawn], masks.any(dim=1))


class TokenDecoder(nn.Sequential):
    """From patch tokens to the size of the image: every block doubles the resolution and halves the channels.

    The last block ends without ReLU, unlike the reference's: logits may be negative.

    Args:
        width: channels of the tokens.
        grid: patches along each side.
        frame: side of the image.
    """

    def __init__(self, width: int, grid: int, frame: int) -> None:
        count = max(1, math.ceil(math.log2(frame / grid)))
        layers: list[nn.Module] = []
        for index in range(count):
            narrower = 2 if index == count - 1 else max(2, width // 2)
            block = double_conv(width, narrower)
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), block[:-1] if index == count - 1 else block]
            width = narrower
        if grid * 2**count != frame:
            layers.append(nn.Upsample(size=(frame, frame), mode="bilinear", align_corners=False))
        super().__init__(*layers)


class Proposals(FrozenFunction):
    """The boxes of an image's attention maps, ranked by a classifier, worked out once per training image.

    Answers: ``boxes`` ``[B, 10, 4]`` (``x0, y0, x1, y1`` as edges, shares of the image), ``map`` ``[B, 10]`` (the
    candidate map that each comes from), ``score`` ``[B, 10]``, best first, and ``count`` ``[B]``.

    Args:
        encoder: frozen ViT.
        head: linear classifier on its class tokens, as it is now.
        smallest: share of the image that a box must exceed; where none does, the largest box stays.
        blur: standard deviation of the blur outside a box, pixels at 224.
        frame: side of the images.
    """

    by_label = True

    def __init__(self, encoder: FrozenVit, head: nn.Linear, smallest: float, blur: float, frame: int) -> None:
        kept = nn.Linear(head.in_features, head.out_features, device=head.weight.device)
        kept.load_state_dict(head.state_dict())
        super().__init__(
            nn.ModuleDict({"tower": encoder.network, "head": kept}),
            f"proposals@1 {encoder.identity} smallest {smallest} blur {blur} at {frame}",
        )
        self.__dict__["encoder"] = encoder
        self._smallest = smallest
        self._blur = blur * frame / REFERENCE_FRAME

    encoder: FrozenVit

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        assert labels is not None  # noqa: S101 - by_label
        size = images.shape[2]
        maps = candidate_maps(self.encoder.compute(images, None)["attention"], HEADS)
        large = F.interpolate(maps, (size, size), mode="bilinear", align_corners=False)
        regions = otsu_region(large.flatten(0, 1)).view_as(large).cpu().numpy()
        blurred = blurred_images(images, self._blur)
        found = [self._ranked(images[i], blurred[i], regions[i], int(labels[i])) for i in range(len(images))]
        stacked: Answers = {
            name: torch.stack([one[name] for one in found]).to(images.device) for name in ("boxes", "map", "score")
        }
        return stacked | {"count": torch.stack([one["count"] for one in found]).to(images.device)}

    def _ranked(self, image: Tensor, blurred: Tensor, regions: NDArray[np.bool_], label: int) -> Answers:
        size = image.shape[1]
        boxes, source = component_boxes(regions, self._smallest)
        pixels = torch.from_numpy(boxes).to(image.device)
        masks = box_masks(pixels[None] / size, size)[0]
        shown = torch.where(masks[:, None], image, blurred)
        logits = in_float32(self.network["head"], self.encoder.compute(shown, None)["classes"])
        scores = torch.softmax(logits.float(), dim=1)[:, label].cpu()
        best = torch.argsort(scores, descending=True, stable=True)[:MOST_BOXES]
        count = len(best)
        answers = {
            "boxes": torch.zeros(MOST_BOXES, 4),
            "map": torch.zeros(MOST_BOXES, dtype=torch.int8),
            "score": torch.zeros(MOST_BOXES),
        }
        answers["boxes"][:count] = torch.from_numpy(boxes).float()[best] / size
        answers["map"][:count] = torch.from_numpy(source)[best].to(torch.int8)
        answers["score"][:count] = scores[best]
        return answers | {"count": torch.tensor(count)}


def component_boxes(regions: NDArray[np.bool_], smallest: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns the boxes of connected regions that are large enough, the largest of every map first.

    Args:
        regions: ``[N, S, S]`` of N maps.
        smallest: share of the image that the box must exceed; where none does, the largest box of all stays, or the
            whole image where there is no region.

    Returns:
        Boxes ``[K, 4]`` as edges in pixels (``x1`` and ``y1`` exclusive), up to four per map, and their maps ``[K]``.
    """
    size = regions.shape[1]
    boxes, source = [], []
    for index, region in enumerate(regions):
        _, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
        found = stats[1:, :4]
        areas = found[:, 2] * found[:, 3]
        for row in np.argsort(-areas, kind="stable")[:_PER_MAP]:
            x, y, width, height = found[row]
            boxes.append((x, y, x + width, y + height))
            source.append(index)
    if not boxes:
        return np.array([[0, 0, size, size]], dtype=np.float32), np.zeros(1, dtype=np.int64)
    array = np.array(boxes, dtype=np.float32)
    areas = (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])
    large = np.flatnonzero(areas > smallest * size * size)
    kept = large if len(large) else np.array([int(areas.argmax())])
    return array[kept], np.array(source)[kept]


def box_masks(boxes: Tensor, size: int) -> Tensor:
    """Returns ``[B, K, size, size]`` bool: pixels whose centre lies in boxes ``[B, K, 4]``, edges as shares."""
    centres = (torch.arange(size, device=boxes.device) + 0.5) / size
    x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
    across = (centres >= x0) & (centres < x1)
    down = (centres >= y0) & (centres < y1)
    return down[..., :, None] & across[..., None, :]
