"""Rows of several tables in one batch."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import Column, DataError, Table, Texts, UsageError
from diptych.train.mixture import Mixture, joined


def tables():
    a = Table(Texts(tuple(f"a{i}" for i in range(7))), {"label": Column("label", np.arange(7))})
    b = Table(Texts(("b0", "b1", "b2")), {"captions": Column("captions", (("x",), ("y",), ("z",)))})
    return {"a": a, "b": b}


def test_joined_tables_keep_items_and_columns() -> None:
    table = joined(tables())
    assert [table.items[i] for i in (0, 6, 7, 9)] == ["a0", "a6", "b0", "b2"]
    assert table.items.key(8) == tables()["b"].items.key(1)
    assert table.columns["label"].values == (0, 1, 2, 3, 4, 5, 6, None, None, None)
    assert table.columns["captions"].values[7] == ("x",)
    with pytest.raises(IndexError):
        table.items[10]
    with pytest.raises(DataError, match="another kind"):
        joined({**tables(), "c": Table(Texts(("c",)), {"label": Column("captions", (("q",),))})})


def test_every_batch_has_the_shares_and_an_epoch_passes_the_first_once() -> None:
    mixture = Mixture.of(joined(tables()), {"a": 1, "b": 2}, seed=0)
    batches = mixture.batches(0, 6)
    assert len(batches) == 3
    assert all(sum(i < 7 for i in half) == 1 for b in batches for half in (b[:3], b[3:]))
    first = [i for b in batches for i in b if i < 7]
    assert len(set(first)) == len(first) == 6
    second = [i for b in batches for i in b if i >= 7]
    assert np.bincount(second, minlength=10)[7:].tolist() == [4, 4, 4]
    assert mixture.batches(0, 6) == batches != mixture.batches(1, 6)


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 3"):
        Mixture.of(joined(tables()), {"a": 1, "b": 2}, seed=0).batches(0, 4)
    with pytest.raises(UsageError, match="at least 1"):
        Mixture({"a": [0]}, {"a": 0}, seed=0)
