"""Which rows of a table are in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError, Run, UsageError, World
from diptych.train.batches import LongOrder, Shuffle, open_source
from diptych.train.schedule import Fit
from tests.train.toy import Toy, table

FIT = Fit(lr=1.0, steps=4, batch=8)


def rows(run: Run, epoch: int = 0, last: int | None = None) -> list[list[int]]:
    source = open_source(table(), Toy(Run(workers=0)), FIT, run)
    return [batch["index"].tolist() for _, batch in source.epoch(epoch, last)]


def test_processes_share_each_batch() -> None:
    whole = rows(Run(workers=0))
    halves = [rows(Run(workers=0, world=World(rank, 2))) for rank in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


@pytest.mark.enable_socket
def test_workers_stay_between_epochs_and_change_nothing() -> None:
    source = open_source(table(), Toy(Run(workers=0)), FIT, Run(workers=2))
    for epoch, last in ((0, None), (1, None), (1, 3), (0, 2)):
        got = [batch["index"].tolist() for _, batch in source.epoch(epoch, last)]
        assert got == rows(Run(workers=0), epoch, last)
    half = source.epoch(2, None)
    assert next(half)[1]["index"].tolist() == rows(Run(workers=0), 2)[0]
    assert [b["index"].tolist() for _, b in source.epoch(3, None)] == rows(Run(workers=0), 3)  # the other was left


def test_what_fills_no_batch_is_refused() -> None:
    with pytest.raises(DataError, match="smaller batch"):
        open_source(table(5), Toy(Run()), FIT, Run())
    with pytest.raises(UsageError, match="multiple of the 3 processes"):
        open_source(table(), Toy(Run()), FIT, Run(world=World(0, 3)))


def test_few_rows_are_drawn_and_many_are_computed() -> None:
    few = Shuffle(1000, seed=0).batches(0, 10)
    many = Shuffle(3_000_000, seed=0).batches(0, 1000)
    assert isinstance(few, list)
    assert isinstance(many, LongOrder)
    assert len(np.unique(np.concatenate([many[i] for i in range(200)]))) == 200_000


def test_the_long_order_is_a_permutation_that_depends_on_its_key() -> None:
    first, second = ([i for batch in LongOrder(1000, key, 10) for i in batch] for key in (1, 2))
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first != second
    assert LongOrder(1000, 1, 10)[1:3] == [first[10:20], first[20:30]]
