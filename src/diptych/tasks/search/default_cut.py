"""The cut of an index that nobody marked: thresholds that were measured on other sets, for the backbones that ship.

    t(a) = max(t1(a), t2(a))

t1(a): the lowest cut above which a share a of the answers is right, on the mean of other sets
t2(a): the cut above which at most 1 - a of the nouns that nothing in this index names have an answer, see
       ``metrics.cut``; where none were drawn for it, the highest of the other sets

assets/lite/cut.json    backbone -> {"weights", "depth", "most_entries", "levels": {"0.7": {...}}, "curve": {...}}
                        and, for some, "curves", one for each kind of query
                        a level: "threshold", t(a) with t2 of the other sets, and what was measured with it; in
                        "own_words" t1(a), and what was measured where each set had its own t2; in "kinds", which
                        not all backbones have, the same by kind of query, over groups of words of sets

A query that names a thing gets the share and the range of such words, every other one those of others. Where they were
not measured, the range begins at 0.

The file holds figures alone: thresholds, shares and a curve, written by ``recipes.lite_cut``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from diptych.core import DataError, UsageError
from diptych.metrics.cut import AbsentScores, Cut, Floats, allowed_of
from diptych.tasks.search.word_kind import Kind, word_kind

SHIPPED, OTHER_WORDS = "default of ", ", other words"


@dataclass(frozen=True, eq=False)
class DefaultCut:
    """A calibration that was measured on other sets.

    Args:
        name: of the backbone.
        facts: of the file.
        words: scores of nouns that nothing in the index names; None: none were drawn.
        lacking: what marks of the index lack for a cut of their own, in a clause; "": there are none.
        query: words that are asked for; "": several parts; None: not known yet, so that the range is for all words.
    """

    name: str
    facts: Mapping[str, Any]
    words: AbsentScores | None = None
    lacking: str = ""
    query: str | None = None

    @property
    def source(self) -> str:
        """What the calibration was measured on."""
        return f"{SHIPPED}{self.name}{OTHER_WORDS if self.query is not None and self._kind == 'other' else ''}"

    @property
    def _kind(self) -> Kind:
        return word_kind(self.query or "")

    @property
    def depth(self) -> int:
        """Rank down to which answers were marked."""
        return int(self.facts["depth"])

    @property
    def most(self) -> int:
        """Entries of the largest index that it is for."""
        return int(self.facts["most_entries"])

    def check(self, entries: int) -> None:
        """Check the size of an index.

        Raises:
            DataError: it is larger than what was measured.
        """
        if entries > self.most:
            raise DataError(
                f"The default cut of {self.name} was measured on indexes of up to {self.most:,} entries, and this one "
                f"has {entries:,}: mark answers with 'diptych index --cut'."
            )

    def cut(self, level: float, *, depth: int | None = None) -> Cut:
        """Return the cut of the lowest measured level that is not below the wanted one.

        Raises:
            UsageError: a level outside (0, 1).
            DataError: no measured level is as high.
        """
        if not 0 < level < 1:
            raise UsageError(f"A share of right answers must be in (0, 1), such as 0.8, got {level:g}.")
        levels = {float(name): row for name, row in self.facts["levels"].items()}
        reached = [name for name in sorted(levels) if name >= level - 1e-9]
        if not reached:
            more = f"more answers ({self.lacking})" if self.lacking else "answers"
            raise DataError(
                f"The default cut of {self.name} was measured at levels up to {max(levels):g}, not {level:g}: ask for "
                f"less, or mark {more} with 'diptych index --cut'."
            )
        row = levels[reached[0]]
        threshold, absent, count = row["threshold"], row["absent"], self.facts["words"]
        if self.words is not None and allowed_of(len(self.words.scores), reached[0]) >= 0:
            row, best = row["own_words"], self.words.scores[:, 0]
            threshold = max(row["threshold"], self.words.lowest(reached[0]))
            absent, count = float((best >= threshold).mean()), len(best)
        measured = self._measured(row)
        low, high = measured["interval"]
        return Cut(
            reached[0], threshold, measured["share"], low, high, measured["above"], measured["marks"],
            measured["queries"], self.depth if depth is None else min(depth, self.depth), absent, count,
        )  # fmt: skip

    def _measured(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was measured of a level for queries of this kind."""
        every = {name: self.facts[name] for name in ("marks", "queries")} | dict(row)
        kinds: Mapping[str, Any] | None = row.get("kinds")
        if kinds is not None and self.query is not None:
            return dict(kinds[self._kind])
        least = 0.0 if kinds is None else min(kind["interval"][0] for kind in kinds.values())
        return every | {"interval": [min(least, row["interval"][0]), row["interval"][1]]}

    def probabilities(self, score: Floats) -> Floats:
        """Return (k,) probabilities that answers with these scores are right."""
        curves: Mapping[str, Any] | None = self.facts.get("curves")
        curve = self.facts["curve"] if curves is None or self.query is None else curves[self._kind]
        return np.asarray(np.interp(score, curve["score"], curve["right"]), dtype=np.float64)


def default_cut(index: Mapping[str, Any]) -> DefaultCut | None:
    """Return the calibration that ships for the backbone of an index, by the hash of its weights; None: there is none.

    Args:
        index: facts of the index.
    """
    name, weights = str(index.get("backbone", "")), dict(index.get("spec") or {}).get("weights")
    facts = _shipped().get(name)
    return DefaultCut(name, facts) if facts is not None and weights == facts["weights"] else None


@cache
def _shipped() -> Mapping[str, Any]:
    path = files("diptych") / "assets" / "lite" / "cut.json"
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["backbones"]
    return content
