"""How many texts of a pool contain each entry of metadata: a plan that balances them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Plan, UsageError
from diptych.data.files import write_whole

Counts = NDArray[np.uint64]


_PLAN = "metaclip"


@dataclass(frozen=True)
class EntryCounts(Plan):
    """How many texts contain each entry.

    Args:
        entries: M metadata entries.
        counts: (M,) uint64, c_e.
        texts: number of texts.
        matched: number of texts with at least one entry.
    """

    entries: tuple[str, ...]
    counts: Counts
    texts: int = 0
    matched: int = 0

    def merge(self, other: EntryCounts) -> EntryCounts:
        """Add the counts; raises UsageError where the entries differ."""
        if self.entries != other.entries:
            raise UsageError(
                f"Plans over different metadata, of {len(self.entries):,} and {len(other.entries):,} entries, cannot "
                f"be merged: count both with the same entries."
            )
        return EntryCounts(
            self.entries, self.counts + other.counts, self.texts + other.texts, self.matched + other.matched
        )

    def report(self) -> dict[str, Any]:
        """Return the numbers of texts and entries, matched and in all, and the five most frequent entries."""
        top = np.argsort(-self.counts.astype(np.int64), kind="stable")[:5]
        return {
            "texts": self.texts,
            "matched": self.matched,
            "entries": len(self.entries),
            "entries_met": int((self.counts > 0).sum()),
            "entries_a_text": round(float(self.counts.sum()) / max(1, self.matched), 2),
            "commonest": ", ".join(f"{self.entries[i]} {int(self.counts[i]):,}" for i in top if self.counts[i]),
        }

    def write(self, path: Path) -> None:
        """Write a Parquet table of entry and count, with the totals in its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        facts = {"diptych": _PLAN, "texts": str(self.texts), "matched": str(self.matched)}
        table = pa.table({"entry": list(self.entries), "count": self.counts}).replace_schema_metadata(facts)
        write_whole(path, lambda draft: pq.write_table(table, draft), overwrite=True)


def read_entry_counts(path: Path, system: str) -> EntryCounts:
    """Open what ``EntryCounts.write`` wrote; raises DataError where it is absent, damaged or something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["entry", "count"])
        facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if facts.get("diptych") != _PLAN:
            raise ValueError("another table")
        counts = table.column("count").to_numpy().astype(np.uint64)
        return EntryCounts(tuple(table.column("entry").to_pylist()), counts, int(facts["texts"]), int(facts["matched"]))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is no plan of {system} ({str(error)[:80]}): write one with diptych curate plan."
        ) from None
