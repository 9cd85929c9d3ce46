from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import UsageError
from diptych.search_index.index import Index


def test_vectors_are_stored_with_length_one_and_facts_are_compared(tmp_path: Path) -> None:
    facts = {"dim": 3, "fingerprint": "f", "backbone": "small", "precision": "fp32", "decode": "exact"}
    with Index.create(tmp_path / "index", facts) as made:
        (positions, values) = made.unit({"image": (np.array([4]), np.array([[3.0, 0, 4]], np.float32))})["image"]
        assert positions.tolist() == [4]
        np.testing.assert_allclose(values, [[0.6, 0, 0.8]], atol=1e-7)
        assert values.dtype == np.float32
        made.expect("f", "any")
        with pytest.raises(UsageError, match=r"indexed with other weights, precision or decode of small"):
            made.expect("g", "small")
        with pytest.raises(UsageError, match=r"indexed with small, and this is other: name small"):
            made.expect("g", "other")
        assert made.chunk == 32 * 2**20 // 12
