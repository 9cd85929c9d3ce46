"""Rank edits of pictures: which one does what was asked and keeps the rest?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diptych.core import Backbone, Evidence, Kit, PairScorer, Run, Table, UnreadableItem
from diptych.data.edits import SOURCE, TARGET, attributes
from diptych.features.embed import embed_readable
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import default


@dataclass(frozen=True)
class RankedEdit:
    """One edit.

    Args:
        target: what it should show.
        rank: 1 is the best of the edits of this source and target.
        score: of the scorer; higher is better.
        columns: further scores, such as "source_similarity".
    """

    source: str
    edit: str
    target: str
    rank: int
    score: float
    columns: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RankedEdits:
    """All edits, those of one source and target together, the best first.

    Args:
        rows: by the first row of source and target, then by rank.
        failed: one error a picture that cannot be read; its edits are left out.
    """

    rows: tuple[RankedEdit, ...]
    failed: tuple[UnreadableItem, ...]


def audit_edits(
    edits: Table[Any], backbone: Backbone, run: Run | None = None, *, method: PairScorer | None = None
) -> RankedEdits:
    """Score edits, and rank those of one source and target.

    Args:
        edits: N edited pictures with the columns of ``diptych.data.edits``.
        backbone: of the scorer.
        run: device and cache; None: a plain CPU run.
        method: any scorer of edits; None is AugCLIP.

    Raises:
        DataError: a column is missing, or as the method says.
    """
    with with_store(run or Run()) as stored:
        after, before = (embed_readable(backbone.image, v, stored) for v in (edits.items, edits.images(SOURCE)))
        readable = edits.take(np.intersect1d(after.kept, before.kept).tolist())
        scored = (
            (method or default("audit edits", PairScorer))
            .fit(Kit.of(backbone), Evidence(), stored)
            .score(readable, stored)
        )
    sources, targets = readable.images(SOURCE), [texts[0] for texts in attributes(readable, TARGET)]
    groups: dict[tuple[str, str], list[int]] = {}
    for i, target in enumerate(targets):
        groups.setdefault((sources.key(i), target), []).append(i)
    rows = [
        RankedEdit(
            sources.name(i), readable.items.name(i), targets[i], rank, float(scored.values[i]),
            {name: float(column[i]) for name, column in scored.columns.items()},
        )
        for members in groups.values()
        for rank, i in enumerate(sorted(members, key=lambda i: -float(scored.values[i])), 1)
    ]  # fmt: skip
    failed = {e.name: e for e in (*after.failed, *before.failed)}
    return RankedEdits(tuple(rows), tuple(failed.values()))
