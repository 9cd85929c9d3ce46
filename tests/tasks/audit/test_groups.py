"""Pairs are ranked by any scorer, one without parts included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from diptych.core import (
    Card,
    ClassNames,
    Column,
    DataError,
    Evidence,
    FittedPairScorer,
    Kit,
    Needs,
    PairScorer,
    PairScores,
    Run,
    Table,
)
from diptych.data.edits import edit_table
from diptych.tasks.audit.groups import audit_groups, audit_pairs
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture, table


@dataclass(frozen=True)
class Brightest(PairScorer, FittedPairScorer):
    """Scores an edited picture by how much brighter it is than its source; it has no parts."""

    reads: ClassVar[Any] = "edits"
    card: ClassVar[Card] = Card("brightest", "Brightest", "", "", 2026, "audit", "", Needs(), "nothing")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Brightest:
        return self

    def score(self, pairs: Table[Any], run: Run) -> PairScores:
        sources = pairs.images("source")
        mean = [[sum(p[i].resize((1, 1)).getpixel((0, 0))) for p in (pairs.items, sources)] for i in range(len(pairs))]
        return PairScores(torch.tensor([(a - b) / 765 for a, b in mean]))


def test_a_scorer_of_edits_without_parts_is_ranked() -> None:
    sources = Pictures(tuple(picture(0, i) for i in range(3)))
    edits = Pictures(tuple(p.point(lambda v, k=k: min(255, v + 20 * k)) for k, p in enumerate(sources.images)))
    pairs = edit_table(sources, edits, ["a wall"] * 3, [["a wall"]] * 3, [["a bright wall"]] * 3)
    found = audit_pairs(pairs, SmallBackbone(), Run(), method=Brightest())
    assert [row.index for row in found.rows] == [0, 1, 2]
    assert all(row.parts == () for row in found.rows)
    assert audit_pairs(pairs.take([]), SmallBackbone(), Run(), method=Brightest()).rows == ()


def test_where_nothing_is_testable_the_reason_is_the_error() -> None:
    labelled = table([0, 1] * 6, 1)
    groups = Column("group", [str(i // 6) for i in range(12)])
    with pytest.raises(DataError, match="No class has two groups of 5 items"):
        audit_groups(
            Table(labelled.items, {**labelled.columns, "group": groups}), ClassNames(("a", "b")), [SmallBackbone()]
        )
