"""The small models that this package carries, so that every source of boxes works without a network.

They were trained by the scripts in ``scripts/`` on pictures of the generator behind ``critters`` and serve nothing
else; each folder of ``wsol_bench/_weights`` has a card that says how.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from wsol_bench.atomic import write_text
from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError
from wsol_bench.yaml_file import read_yaml

EMBEDDED = "embedded"
"""How options name the embedded weights of a kind."""

_ROOT = Path(__file__).resolve().parents[1] / "_weights"


class EmbeddedCard(BaseModel):
    """What ``card.yaml`` beside embedded weights holds.

    Attributes:
        dataset: the dataset that the model was made for.
        supervision: what it has seen.
        script: what made it.
        made: how long and on what.
        sha256: of the weights file, by file name.
        prompt: template of class prompts, ``{}`` is the class name; for CLIP.
        background: prompts that compete with the class; for CLIP.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    supervision: str
    script: str
    made: str
    sha256: dict[str, str]
    prompt: str = ""
    background: tuple[str, ...] = ()


def write_card(folder: Path, **fields: Any) -> None:
    """Writes the card of a freshly trained model, with the checksums of all other files of its folder."""
    card_file = folder / "card.yaml"
    files = sorted(path for path in folder.iterdir() if path != card_file)
    card = EmbeddedCard(sha256={path.name: sha256_of(path) for path in files}, **fields)
    write_text(card_file, yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120))


def embedded_folder(name: str) -> Path:
    """Returns the folder of an embedded model (``clip``, ``proposer``).

    Raises:
        DataError: the installation does not carry it.
    """
    folder = _ROOT / name
    if not folder.is_dir():
        raise DataError("Expected the installation to carry these weights; fix: install the package again.", folder)
    return folder


def embedded_card(name: str) -> EmbeddedCard:
    """Returns the card of an embedded model, whose files are checked against it.

    Raises:
        DataError: the installation does not carry it, or a file is not the one that the card describes.
    """
    folder = embedded_folder(name)
    card = read_yaml(folder / "card.yaml", EmbeddedCard)
    for file, expected in card.sha256.items():
        if sha256_of(folder / file) != expected:
            raise DataError(
                "Expected the weights that card.yaml describes; fix: install the package again.", folder / file
            )
    return card
