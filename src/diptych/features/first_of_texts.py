"""Which pair of a pool is the first to say something: a plan that finds duplicates among texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Plan, UsageError
from diptych.core.wording import no_plan
from diptych.data.sorted_runs import Keys, Layout, SortedRuns, facts_of, read_runs

LAYOUT = Layout({"hash": ("u8", 0), "id": ("u8", 0)}, ("hash", "id"))
"""Of each hash the least id stays."""
_PLAN = "first of texts"


@dataclass(frozen=True, eq=False)
class FirstOfTexts(Plan):
    """The pair of least id that has each hash, 16 bytes a hash, on disk where there are many.

    Args:
        settings: of the curator, which two plans must have in common.
        rows: hashes and ids, of ``LAYOUT``.
        counts: numbers of texts, and of those that fail each rule.
    """

    settings: Mapping[str, Any]
    rows: SortedRuns = field(default_factory=lambda: SortedRuns(LAYOUT))
    counts: Mapping[str, int] = field(default_factory=dict)

    def merge(self, other: FirstOfTexts) -> FirstOfTexts:
        """Take the lesser id of each hash; raises UsageError where the settings differ."""
        if self.settings != other.settings:
            raise UsageError(f"Plans of {self.settings} and {other.settings} cannot be merged: plan both alike.")
        counts = Counter(self.counts)
        counts.update(other.counts)
        return FirstOfTexts(self.settings, self.rows + other.rows, dict(counts))

    def first(self, hashes: Keys, ids: Keys) -> NDArray[np.bool_]:
        """Return (N,) whether no hash of a pair has a pair of lesser id.

        Args:
            hashes: (N, H) of each pair.
            ids: (N,).
        """
        lesser = np.zeros(hashes.size, dtype=bool)
        owners = np.repeat(ids, hashes.shape[1])
        for places, rows in self.rows.lookup(hashes.reshape(-1)):
            lesser[places] |= rows["id"] < owners[places]
        return np.asarray(~lesser.reshape(hashes.shape).any(axis=1))

    def report(self) -> dict[str, Any]:
        """Return numbers of texts, of those that fail each rule, and of those whose words another text has too."""
        distinct = sum(int((rows["hash"] & np.uint64(1) == 0).sum()) for rows in self.rows.merged())
        checked = self.counts.get("texts", 0) - self.counts.get("failed", 0)
        return {**self.counts, "repeat_another": checked - distinct}

    def write(self, path: Path) -> None:
        """Write an Arrow file of hash and id, with the rest in its metadata."""
        facts = {"settings": json.dumps(dict(self.settings)), "counts": json.dumps(dict(self.counts))}
        self.rows.write(path, {"diptych": _PLAN, **facts})


def read_first(path: Path, system: str) -> FirstOfTexts:
    """Open what ``FirstOfTexts.write`` wrote; raises DataError where it is absent, damaged or something else."""
    import pyarrow as pa

    try:
        facts = facts_of(path)
        if facts.get("diptych") != _PLAN:
            raise ValueError("another table")
        counts = {str(k): int(v) for k, v in json.loads(facts["counts"]).items()}
        return FirstOfTexts(dict(json.loads(facts["settings"])), read_runs(path, LAYOUT), counts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DataError(no_plan(path, system, error)) from None
