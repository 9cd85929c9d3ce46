"""Made-up sets with a known share above each score: the thresholds are those that reach it on average."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cut import Answers, Searched
from diptych.core import DataError
from diptych.metrics.cut import AbsentScores
from recipes.lite_cut import DEPTH, curve, fitted, judged, precise, right_above, threshold


def made(seed: int, shift: float = 0.0, absent: float = 0.1) -> Searched:
    """Answers that are right with probability score - shift, and absent words whose best score is about ``absent``."""
    rng = np.random.default_rng(seed)
    score = -np.sort(-rng.uniform(0, 1, size=(300, DEPTH)), axis=1)
    right = rng.random(score.shape) < score - shift
    aside = Answers(score[:50] * 0 + absent, score[:50], np.zeros((50, DEPTH), dtype=bool))
    drawn = AbsentScores((1,), rng.normal(absent, 0.01, size=(200, 1)))
    return Searched(500, Answers(score, score, right), aside, drawn, ["x"] * 50, int(right.sum()))


def test_the_threshold_reaches_the_level_on_the_mean_of_sets() -> None:
    sets = [made(0), made(1, shift=0.2)]  # at or above t the shares are (1 + t) / 2 and about 0.2 less
    assert threshold(sets, 0.8) == pytest.approx(0.8, abs=0.03)
    assert threshold([made(0)] * 2, 0.8) == pytest.approx(0.6, abs=0.03)
    with pytest.raises(DataError, match=r"The sets reach 0\.\d\d on average, not 0.99"):
        threshold(sets, 0.99)


def test_the_set_whose_absent_words_score_highest_decides() -> None:
    sets = [made(0), made(1, absent=0.9)]
    assert threshold(sets, 0.6) == sets[1].drawn.lowest(0.6)
    assert precise(sets, 0.6) == precise([made(0), made(1)], 0.6) < threshold(sets, 0.6)


def test_what_ships_and_what_is_judged() -> None:
    sets = {"a": made(0), "b": made(1, shift=0.2), "c": made(2, shift=0.1)}
    ships = fitted(sets, "hash")
    assert ships["weights"] == "hash"
    assert ships["most_entries"] == 2000
    row = ships["levels"]["0.8"]
    assert row["interval"][0] <= row["share"] <= row["interval"][1]
    assert row["above"] == sum(right_above(s, row["threshold"])[0] for s in sets.values())
    own = row["own_words"]
    cuts = [max(own["threshold"], s.drawn.lowest(0.8)) for s in sets.values()]
    above = [right_above(s, cut)[0] for s, cut in zip(sets.values(), cuts, strict=True)]
    assert own["above"] == pytest.approx(sum(above), rel=1e-3)  # the threshold is rounded
    known = curve(list(sets.values()))
    assert known["right"] == sorted(known["right"])
    rows = judged(sets)
    assert rows["0.8"]["a"]["any"] == 0.0
    others = [sets["b"], sets["c"]]
    assert rows["0.8"]["a"]["threshold"] == threshold(others, 0.8)
    assert rows["0.8"]["a"]["own_words"]["threshold"] == max(precise(others, 0.8), sets["a"].drawn.lowest(0.8))
    assert 0 < rows["0.8"]["a"]["with_a_right_answer"] <= rows["0.8"]["a"]["answered"]
    assert "refused" in rows["0.9"]["c"] or rows["0.9"]["c"]["right"] > 0.8
