"""How many texts of a pool contain each entry of metadata: a plan that balances them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Plan, UsageError
from diptych.core.wording import no_plan
from diptych.data.files import write_whole

Counts = NDArray[np.uint64]


_PLAN = "metaclip"
TAIL = 0.06
"""Share of the matches that MetaCLIP's thresholds leave to entries that are not thinned, for its pools of two sizes."""


def tail_share(counts: Counts, t: float) -> float:
    """Return the share of all counts that falls on entries with c_e < t, which are not thinned; 0 without counts.

    Example:
        >>> tail_share(np.array([1, 2, 7], dtype=np.uint64), t=7)
        0.3
    """
    total = float(counts.sum())
    return float(counts[counts < t].sum()) / total if total else 0.0


def threshold_for(counts: Counts, share: float) -> int:
    """Return t for another language or pool: the count at which the cumulative share is closest to ``share``.

    The cumulative share includes entries of exactly t; ``tail_share`` leaves them out.

    Args:
        counts: (M,) c_e.
        share: of the counts that fall on the tail, in [0, 1].

    Raises:
        UsageError: all counts are 0.

    Example:
        >>> threshold_for(np.array([1, 2, 7], dtype=np.uint64), share=0.3)
        2
    """
    ascending = np.sort(counts[counts > 0])
    if not len(ascending):
        raise UsageError(
            "No text contains an entry, so there is no threshold: give texts or metadata that fit each other."
        )
    sums = np.cumsum(ascending.astype(np.float64))
    return int(ascending[np.abs(sums / sums[-1] - share).argmin()])


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
        """Return the numbers of texts and entries, matched and in all, the t whose tail has ``TAIL`` of the matches,
        where there are some, and the five most frequent entries.
        """
        top = np.argsort(-self.counts.astype(np.int64), kind="stable")[:5]
        return {
            "texts": self.texts,
            "matched": self.matched,
            "entries": len(self.entries),
            "entries_met": int((self.counts > 0).sum()),
            "entries_a_text": round(float(self.counts.sum()) / max(1, self.matched), 2),
            **({f"t_for_a_tail_of_{100 * TAIL:.0f}_%": threshold_for(self.counts, TAIL)} if self.counts.any() else {}),
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
        raise DataError(no_plan(path, system, error)) from None
