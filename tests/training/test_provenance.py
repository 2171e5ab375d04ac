from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wsol_bench.annotations.firewall import Access, Ledger
from wsol_bench.errors import RecordError
from wsol_bench.training.loop import TrialData
from wsol_bench.training.provenance import earlier_accesses, write_provenance
from wsol_bench.training.trial_folder import TrialFolder


def test_what_was_read_survives_into_the_next_process(tmp_path: Path, data: TrialData) -> None:
    folder = TrialFolder(tmp_path)
    assert earlier_accesses(folder) == []
    book = Ledger([Access("pseudo:ss", "train", "the method 'x'", "2025-01-01T00:00:00+00:00")])
    write_provenance(folder, "abc", data.splits, book, torch.device("cpu"))
    assert earlier_accesses(folder) == book.accesses
    written = json.loads(folder.provenance.read_text())
    assert written["trial"] == "abc"
    assert written["supervision"] == "pseudo:ss"
    assert written["images"] == {"train": 32, "val": 16, "test": 16}
    assert written["skipped_images"] == {"train": 0, "val": 0, "test": 0}
    assert written["device"] == "cpu"


@pytest.mark.parametrize("text", ["{", "[]", '{"annotations_read": [{"source": "gt"}]}', "{}"])
def test_damaged(tmp_path: Path, text: str) -> None:
    folder = TrialFolder(tmp_path)
    folder.provenance.write_text(text)
    with pytest.raises(RecordError, match=r"provenance\.json: damaged .*fix: delete"):
        earlier_accesses(folder)
