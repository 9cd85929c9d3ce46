"""Batches that hold rows of several tables in fixed shares, for steps with a loss on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.core import Column, DataError, Run, Table, UsageError
from diptych.data.joined import Joined

SOURCE = "source"
"""Column with the name of each row's table."""


def joined(tables: Mapping[str, Table[Any]]) -> Table[Any]:
    """Return one table of several, with the column "source"; a column that a table lacks is None in its rows.

    Args:
        tables: name -> table.

    Raises:
        DataError: two tables have columns of one name and two kinds.
    """
    kinds: dict[str, Any] = {}
    for name, table in tables.items():
        for column, values in table.columns.items():
            if kinds.setdefault(column, values.kind) != values.kind:
                raise DataError(
                    f"The column {column} of {name} is of another kind than in the other tables: rename it."
                )
    columns = {column: Column(kind, _values(tables.values(), column)) for column, kind in kinds.items()}
    source = tuple(name for name, table in tables.items() for _ in range(len(table)))
    return Table(Joined(tuple(t.items for t in tables.values())), {**columns, SOURCE: Column("group", source)})


def _values(tables: Any, column: str) -> tuple[Any, ...]:
    return tuple(
        table.columns[column].values[i] if column in table.columns else None
        for table in tables
        for i in range(len(table))
    )


@dataclass(frozen=True)
class Mixture:
    """A sampler of a joined table: every batch has the sources in fixed shares, interleaved.

    An epoch passes once over the first source; the others start again in a new order as often as they must. Processes
    get equal shares of each source where the batch of a process is a multiple of the sum of the shares.

    Args:
        rows: source -> its row numbers.
        shares: source -> rows of it in each unit of a batch, >= 1.

    Raises:
        UsageError: a share is below 1, or the sources differ.

    Example:
        >>> mixture = Mixture({"a": range(0, 4), "b": range(4, 6)}, {"a": 2, "b": 1}, seed=0)
        >>> [[i < 4 for i in batch] for batch in mixture.batches(0, 3)]
        [[True, True, False], [True, True, False]]
    """

    rows: Mapping[str, Sequence[int]]
    shares: Mapping[str, int]
    seed: int

    def __post_init__(self) -> None:
        if list(self.rows) != list(self.shares) or min(self.shares.values(), default=0) < 1:
            raise UsageError(
                f"Each of {', '.join(self.rows)} needs a share of at least 1 in a batch, got {dict(self.shares)}."
            )

    @classmethod
    def of(cls, table: Table[Any], shares: Mapping[str, int], seed: int) -> Mixture:
        """Return the sampler of a table that ``joined`` made."""
        source = np.asarray(table.columns[SOURCE].values)
        return cls({name: np.flatnonzero(source == name).tolist() for name in shares}, shares, seed)

    def batches(self, epoch: int, size: int) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch.

        Raises:
            UsageError: the size is no multiple of the sum of the shares.
        """
        unit = sum(self.shares.values())
        if size % unit:
            raise UsageError(
                f"batch must be a multiple of {unit}, the sum of the shares {dict(self.shares)}, got {size}."
            )
        first = next(iter(self.rows))
        units = len(self.rows[first]) // self.shares[first]
        units -= units % (size // unit)
        drawn = [self._order(name, epoch, units * share).reshape(units, share) for name, share in self.shares.items()]
        return np.concatenate(drawn, axis=1).reshape(-1, size).tolist()

    def _order(self, name: str, epoch: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        rows = np.asarray(self.rows[name])
        rounds = -(-count // len(rows))
        generators = [np.random.default_rng(Run(seed=self.seed).integer(f"{name}/{epoch}/{i}")) for i in range(rounds)]
        return np.concatenate([g.permutation(rows) for g in generators])[:count] if rounds else rows[:0]
