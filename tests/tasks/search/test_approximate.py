from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import Run
from diptych.search_index import ann, recall
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search.approximate import GROWN, outgrown


def fill(index: Index, first: int, count: int) -> None:
    vectors = np.random.default_rng(first).normal(size=(count, 4)).astype(np.float32)
    names = [Entry(f"{i}", facts={}) for i in range(first, first + count)]
    index.add(names, {"image": (np.arange(count), vectors)})


def test_a_modality_is_built_where_it_pays_and_again_where_much_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    with Index.create(tmp_path / "i", {"dim": 4, "fingerprint": "f"}) as index:
        fill(index, 0, 999)
        assert outgrown(index, always=True) == [], "too few"
        fill(index, 999, 101)
        assert (outgrown(index, always=False), outgrown(index, always=True)) == ([], ["image"])
        monkeypatch.setattr(recall, "EXACT", 1000)
        assert outgrown(index, always=False) == ["image"]
        ann.build(index, "image", Run())
        assert outgrown(index, always=False) == []
        fill(index, 1100, round(1100 * GROWN))
        assert outgrown(index, always=False) == []
        fill(index, 2000, 200)
        assert outgrown(index, always=False) == ["image"]
