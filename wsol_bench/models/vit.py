"""Vision transformers of timm, token by token: tokens and attention of every block, and weights that fit any frame.

Works on the library's own modules; nothing of it is patched or copied, and no hook is left behind.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import timm
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wsol_bench.errors import DataError, UsageError, unknown_choice
from wsol_bench.models.embedded import EMBEDDED, embedded_card, embedded_folder
from wsol_bench.models.weights import IMAGENET_MEAN_STD, NO_WEIGHTS, StateDict, fetched, pretrained_unneeded, read_state

MINI = "vit_mini_patch8_64"
"""A small ViT of this package for images of 64 pixels, trained as a classifier."""

MINI_DINO = f"{MINI}.dino"
"""The same network, trained without labels."""

PUBLISHED = "timm"
"""The source of the weights that timm names for a model."""

EMBEDDED_VITS = {MINI: "vit", MINI_DINO: "dino"}
"""Folders of the embedded weights, by model."""

VIT_WEIGHTS = "vit.safetensors"
_FAMILIES = ("vit_", "deit", "eva")
_SHAPE: dict[str, Any] = {"patch_size": 8, "embed_dim": 96, "depth": 8, "num_heads": 3}


class VitTower(nn.Module):
    """A ViT with a class token and plain attention.

    Args:
        vit: a model of timm without its classifier, as :func:`build_vit` returns it.

    Attributes:
        mean_std: channel means and deviations of its input, for pixel values in [0, 1].
        width: channels of the tokens.
        depth: number of blocks.
        heads: attention heads of a block.
        grid: patches along each side of the image.

    Raises:
        UsageError: it has no class token, or blocks whose attention cannot be taken apart.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        blocks: Any = getattr(vit, "blocks", ())
        attentions = [getattr(block, "attn", None) for block in blocks]
        # Other kinds of attention (differential, gated) compute something else.
        plain = bool(attentions) and all(
            type(one) is Attention and isinstance(one.qkv, nn.Linear) and getattr(one, "gate", None) is None
            for one in attentions
        )
        # A register is a prefix token too, but says nothing of the class.
        only_class = getattr(vit, "cls_token", None) is not None and vit.num_prefix_tokens == 1
        if not isinstance(vit, VisionTransformer) or not plain or not only_class:
            raise UsageError(
                f"Expected a plain ViT with a class token but got {type(vit).__name__}; fix: a model such as "
                "deit_small_patch16_224."
            )
        self.vit: Any = vit
        self.mean_std = mean_std_of(vit)
        self.width: int = vit.embed_dim
        self.depth = len(vit.blocks)
        self.heads: int = blocks[0].attn.num_heads
        self.grid = grid_of(vit)

    def embed(self, images: Tensor) -> Tensor:
        """Returns the tokens ``[B, 1 + grid ** 2, width]`` that enter the first block, the class token first."""
        tokens: Tensor = self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed(images)))
        return tokens

    def attention(self, index: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the attention of a block is made of.

        Args:
            index: number of the block, from 0; negative ones count from the end.
            tokens: ``[B, T, width]``, what enters the block.

        Returns:
            Attention before softmax ``[B, heads, T, T]`` (row = query) and values ``[B, heads, T, width / heads]``.
        """
        block = self.vit.blocks[index]
        of = block.attn
        mixed = of.qkv(block.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = mixed.unbind(0)
        return (of.q_norm(queries) * of.scale) @ of.k_norm(keys).transpose(2, 3), values

    def finish(self, index: int, tokens: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        """Runs the rest of a block, given its attention.

        Args:
            index: number of the block.
            tokens: ``[B, T, width]``, what entered it.
            weights: ``[B, heads, T, T]``, attention after softmax, or what a method makes of it.
            values: as :meth:`attention` returned them.

        Returns:
            ``[B, T, width]``.
        """
        block = self.vit.blocks[index]
        of = block.attn
        joined = (of.attn_drop(weights) @ values).transpose(1, 2).flatten(2)
        tokens = tokens + block.drop_path1(block.ls1(of.proj_drop(of.proj(of.norm(joined)))))
        after: Tensor = tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
        return after

    def block(self, index: int, tokens: Tensor) -> Tensor:
        """Runs a block as the library does, with fused attention."""
        after: Tensor = self.vit.blocks[index](tokens)
        return after

    def attending_block(self, index: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Runs a block; returns ``[B, T, width]`` and its attention ``[B, heads, T, T]``, whose rows sum to 1."""
        scores, values = self.attention(index, tokens)
        weights = scores.float().softmax(dim=-1)
        return self.finish(index, tokens, weights, values), weights

    def norm(self, tokens: Tensor) -> Tensor:
        """Applies the final layer norm to tokens ``[B, T, width]``."""
        normed: Tensor = self.vit.norm(tokens)
        return normed

    def on_grid(self, patches: Tensor) -> Tensor:
        """Maps a value per patch ``[B, grid ** 2, ...]`` to ``[B, ..., grid, grid]``."""
        return patches.movedim(1, -1).reshape(len(patches), *patches.shape[2:], self.grid, self.grid)


def build_vit(name: str, weights: str, frame: int, *, drop_path: float = 0.0) -> tuple[Any, StateDict]:
    """Builds a ViT of timm without its classifier.

    Args:
        name: a model of timm, such as ``deit_small_patch16_224``, with or without a tag, or ``vit_mini_patch8_64`` and
            ``vit_mini_patch8_64.dino`` of this package.
        weights: ``none``, ``timm`` (those that timm publishes under the name), ``embedded``, or ``FILE[@sha256:<hex>]``
            of a state dict: the official ones of DeiT, DINO, TS-CAM, SCM and SAT included.
        frame: side of the square input in pixels, a multiple of the patch; position embeddings are interpolated.
        drop_path: stochastic depth of the last block, rising linearly from 0.

    Returns:
        The model, and what the weights hold beyond it, such as a classifier.

    Raises:
        UsageError: the model is unknown, the frame does not fit, or weights cannot be fetched.
        DataError: the weights' file does not fit.
    """
    unneeded = weights == NO_WEIGHTS or pretrained_unneeded()
    published = weights == PUBLISHED and not unneeded
    make = _maker(name, weights, frame, drop_path, published)
    if frame < 1 or frame % _patch(name):
        raise UsageError(
            f"Expected images whose side is a multiple of {_patch(name)}, the patch of {name}, but got {frame}; fix: "
            "another backbone, or another size of the dataset."
        )
    vit = fetched(make, f"that timm names for {name}") if published else make()
    if published or unneeded:
        return vit, {}
    state = _embedded_state(name) if weights == EMBEDDED else read_state(weights, "'none', 'timm', 'embedded'")
    return vit, _fill(vit, state, name, weights)


def grid_of(vit: Any) -> int:
    """Returns the number of patches along each side of the image."""
    grid: int = vit.patch_embed.grid_size[0]
    return grid


def mean_std_of(vit: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns channel means and deviations of a model's input, for pixel values in [0, 1]."""
    config = getattr(vit, "pretrained_cfg", None) or {}
    mean, std = IMAGENET_MEAN_STD
    return tuple(config.get("mean") or mean), tuple(config.get("std") or std)


def decay_groups(module: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Returns optimiser groups of what is trainable: biases, norms, position embeddings and tokens do not decay.

    As in DeiT's recipe (Touvron et al., ICML 2021).
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    spared = [p for p in trainable if p.ndim <= 1 or (p.ndim == 3 and len(p) == 1)]
    names = {id(p) for p in spared}
    decayed = [p for p in trainable if id(p) not in names]
    return [{"params": decayed, "lr": lr}, {"params": spared, "lr": lr, "weight_decay": 0.0}]


def _maker(name: str, weights: str, frame: int, drop_path: float, published: bool) -> Callable[[], Any]:
    if name in EMBEDDED_VITS:
        if weights == PUBLISHED:
            raise UsageError(f"Expected weights=none, weights=embedded or a file for {name} but got weights=timm.")
        options: dict[str, Any] = _SHAPE | {
            "num_classes": 0,
            "global_pool": "",
            "img_size": frame,
            "drop_path_rate": drop_path,
        }
        return lambda: VisionTransformer(**options)
    if weights == EMBEDDED:
        raise UsageError(
            f"Expected one of {', '.join(EMBEDDED_VITS)} for weights=embedded but got {name}; fix: weights=timm, or a "
            "file."
        )
    if not timm.is_model(name) or "distilled" in name:
        vits = [one for one in timm.list_models() if one.startswith(_FAMILIES) and "distilled" not in one]
        raise unknown_choice("a backbone", name, [*EMBEDDED_VITS, *vits])
    config = _published_config(name)
    if "patch" not in name or not name.startswith(_FAMILIES):
        raise UsageError(f"Expected a vision transformer but got {name}; fix: such as deit_small_patch16_224.")
    if published and not config.has_weights:
        raise UsageError(f"Expected a model that timm has weights for but got {name}; fix: name a tag, or a file.")
    return lambda: timm.create_model(
        name, pretrained=published, num_classes=0, global_pool="", img_size=frame, drop_path_rate=drop_path
    )


def _published_config(name: str) -> Any:
    try:
        return timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        plain, _, tag = name.partition(".")
        known = [one.partition(".")[2] for one in timm.list_pretrained(f"{plain}.*")]
        raise unknown_choice(f"the tag of {plain}", tag, known) from None


def _patch(name: str) -> int:
    digits = name.partition("patch")[2]
    return int("".join(letter for letter in digits.partition("_")[0].partition(".")[0] if letter.isdigit()))


def _embedded_state(name: str) -> StateDict:
    from safetensors.torch import load_file

    folder = EMBEDDED_VITS[name]
    embedded_card(folder)
    return {key: value.float() for key, value in load_file(embedded_folder(folder) / VIT_WEIGHTS).items()}


def _fill(vit: Any, state: StateDict, name: str, source: str) -> StateDict:
    """Loads a state dict, position embeddings interpolated; returns the entries that are not the model's."""
    own = vit.state_dict()
    trunk = {key: value for key, value in state.items() if key in own or key == "pos_embed"}
    missing = [key for key in own if key not in trunk]
    fitted = trunk
    if not missing:
        # The families of timm name each its own conversion, which interpolates embeddings of position and patches.
        family = importlib.import_module(type(vit).__module__)
        fitted = family.checkpoint_filter_fn(trunk, vit)
        missing = [key for key in own if key not in fitted or fitted[key].shape != own[key].shape]
    if missing:
        raise DataError(
            f"Expected the weights '{source}' to fit {name} but {len(missing)} of {len(own)} entries are missing or of "
            f"another shape, first '{missing[0]}'; fix: weights of the same architecture."
        )
    with torch.no_grad():
        vit.load_state_dict({key: fitted[key] for key in own})
    return {key: value for key, value in state.items() if key not in own}
