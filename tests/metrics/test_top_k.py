from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.errors import DataError
from wsol_bench.metrics.top_k import in_top_k, rank_of_label


def test_equals_a_stable_descending_sort():
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 4, (200, 9)).astype(float)
    labels = rng.integers(0, 9, 200)
    order = np.argsort(-logits, axis=1, kind="stable")
    expected = (order == labels[:, None]).argmax(axis=1)
    np.testing.assert_array_equal(rank_of_label(logits, labels), expected)
    np.testing.assert_array_equal(in_top_k(logits, labels, 5), expected < 5)


def test_ties_go_to_the_lower_class():
    assert rank_of_label([[1.0, 1.0], [1.0, 1.0]], [0, 1]).tolist() == [0, 1]


def test_nan_is_never_first():
    assert rank_of_label([[np.nan, 0.0]], [0]).tolist() == [1]


def test_wrong_input_is_refused():
    with pytest.raises(DataError, match=r"logits \[N, C\]"):
        rank_of_label([1.0, 2.0], [0])
    with pytest.raises(DataError, match=r"labels in 0\.\.1"):
        rank_of_label([[1.0, 2.0]], [2])
