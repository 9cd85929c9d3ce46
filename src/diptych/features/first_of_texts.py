"""Which pair of a pool is the first to say something: a plan that finds duplicates among texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.curate import Plan
from diptych.core.errors import DataError, UsageError
from diptych.data.files import write_whole

Hashes = NDArray[np.uint64]
_PLAN = "first of texts"


@dataclass(frozen=True, eq=False)
class FirstOfTexts(Plan):
    """The pair of least id that has each hash, 16 bytes a hash.

    Args:
        settings: of the curator, which two plans must have in common.
        parts: hashes and ids, (n,) uint64 each.
        counts: numbers of texts, and of those that fail each rule.
    """

    settings: Mapping[str, Any]
    parts: tuple[tuple[Hashes, Hashes], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    def merge(self, other: FirstOfTexts) -> FirstOfTexts:
        """Take the lesser id of each hash; raises UsageError where the settings differ."""
        if self.settings != other.settings:
            raise UsageError(f"Plans of {self.settings} and {other.settings} cannot be merged: plan both alike.")
        counts = Counter(self.counts)
        counts.update(other.counts)
        return FirstOfTexts(self.settings, (*self.parts, *other.parts), dict(counts))

    @cached_property
    def table(self) -> tuple[Hashes, Hashes]:
        """Every hash once, ascending, with its least id."""
        empty = np.zeros(0, np.uint64)
        hashes, ids = (np.concatenate(columns) for columns in zip((empty, empty), *self.parts, strict=True))
        order = np.lexsort((ids, hashes))
        hashes, ids = hashes[order], ids[order]
        first = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
        return hashes[first], ids[first]

    def settled(self) -> FirstOfTexts:
        """Return the same plan in one part, which takes less space where hashes repeat."""
        return FirstOfTexts(self.settings, (self.table,), self.counts)

    def first(self, hashes: Hashes, ids: Hashes) -> NDArray[np.bool_]:
        """Return (N,) whether no hash of a pair has a pair of lesser id.

        Args:
            hashes: (N, H) of each pair.
            ids: (N,).
        """
        known, firsts = self.table
        if not len(known):
            return np.ones(len(ids), dtype=bool)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        lesser = (known[places] == hashes) & (firsts[places] < ids[:, None])
        return np.asarray(~lesser.any(axis=1))

    def report(self) -> dict[str, Any]:
        """Return numbers of texts, of those that fail each rule, and of those whose words another text has too."""
        known, _ = self.table
        distinct = int((known & np.uint64(1) == 0).sum())
        checked = self.counts.get("texts", 0) - self.counts.get("failed", 0)
        return {**self.counts, "repeat_another": checked - distinct}

    def write(self, path: Path) -> None:
        """Write a Parquet table of hash and id, with the rest in its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        hashes, ids = self.table
        facts = {
            "diptych": _PLAN, "settings": json.dumps(dict(self.settings)), "counts": json.dumps(dict(self.counts)),
        }  # fmt: skip
        table = pa.table({"hash": hashes, "id": ids}).replace_schema_metadata(facts)
        write_whole(path, lambda draft: pq.write_table(table, draft), overwrite=True)


def read_first(path: Path, system: str) -> FirstOfTexts:
    """Read what ``FirstOfTexts.write`` wrote; raises DataError where it is absent, damaged or something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if facts.get("diptych") != _PLAN:
            raise ValueError("another table")
        part = tuple(table.column(name).to_numpy().astype(np.uint64) for name in ("hash", "id"))
        counts = {str(k): int(v) for k, v in json.loads(facts["counts"]).items()}
        return FirstOfTexts(dict(json.loads(facts["settings"])), ((part[0], part[1]),), counts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is no plan of {system} ({str(error)[:80]}): write one with diptych curate plan."
        ) from None
