"""A query is the unit sum of its weighted terms, each of length 1 before it counts."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import Run, UsageError
from diptych.tasks.search.query import combined, query_vector
from diptych.tasks.search.term import Term
from tests.support.backbone import SmallBackbone


def test_terms_count_by_their_weights_whatever_their_lengths() -> None:
    values = np.array([[3.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    assert combined(values, [1.0, 1.0]).tolist() == pytest.approx([0.5**0.5, 0.5**0.5])
    assert combined(values, [4.0, -3.0]).tolist() == pytest.approx([0.8, -0.6])
    assert combined(values, [1.0, 1.0]).dtype == np.float32


def test_terms_that_cancel_out_and_no_terms_are_refused() -> None:
    with pytest.raises(UsageError, match="change a weight"):
        combined(np.array([[3.0, 0.0], [1.0, 0.0]], dtype=np.float32), [1.0, -1.0])
    with pytest.raises(UsageError, match="Nothing to look for"):
        query_vector([], SmallBackbone(), Run())


def test_a_query_of_words_is_the_sum_of_their_embeddings() -> None:
    backbone, run = SmallBackbone(), Run()
    cat, dog = (query_vector([Term(word)], backbone, run).astype(np.float64) for word in ("cat", "dog"))
    both = query_vector([Term("cat", 2.0), Term("dog", -1.0)], backbone, run)
    expected = 2 * cat - dog
    assert np.allclose(both, expected / np.linalg.norm(expected), atol=1e-6)
