from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.errors import DataError
from wsol_bench.models import embedded
from wsol_bench.models.embedded import embedded_card, embedded_folder

NAMES = sorted(folder.name for folder in embedded._ROOT.iterdir() if folder.is_dir())
SCRIPTS = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_card_that_tells_the_truth(name: str) -> None:
    card = embedded_card(name)
    assert card.dataset == "critters" and card.supervision and card.made
    assert (SCRIPTS / card.script).is_file()
    weights = [file.name for file in embedded_folder(name).iterdir() if file.suffix == ".safetensors"]
    assert weights and set(weights) <= set(card.sha256)


def test_all_weights_together_are_small() -> None:
    assert {"clip", "proposer"} <= set(NAMES)
    sizes = {name: sum(file.stat().st_size for file in embedded_folder(name).iterdir()) for name in NAMES}
    assert sizes["clip"] + sizes["proposer"] < 6_000_000
    assert sum(sizes.values()) < 9_000_000


def test_a_broken_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "_ROOT", tmp_path)
    with pytest.raises(DataError, match="install the package again"):
        embedded_folder("clip")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "w").write_bytes(b"x")
    (tmp_path / "clip" / "card.yaml").write_text(
        "{dataset: d, supervision: s, script: x, made: m, sha256: {w: '00'}}\n"
    )
    with pytest.raises(DataError, match=r"clip/w: Expected the weights that card\.yaml describes"):
        embedded_card("clip")
