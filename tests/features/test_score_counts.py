from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError
from diptych.features.score_counts import BINS, ScoreCounts, read_counts


def test_a_share_is_what_sorting_keeps() -> None:
    scores = np.random.default_rng(0).uniform(2, 8, 500)
    plan = ScoreCounts.of("b", scores.tolist(), system="s", low=0.0, high=10.0)
    for share in (0.1, 0.37, 1.0):
        kept = sum(plan.cell(s) >= plan.lowest_kept(share) for s in scores)
        assert share * 500 - 5 <= kept <= share * 500
    assert plan.cell(-3) == 0
    assert plan.cell(11) == BINS - 1
    assert plan.edge(plan.cell(5.0)) == pytest.approx(5.0, abs=0.005)


def test_it_comes_back_with_its_range_and_older_ones_are_cosines(tmp_path: Path) -> None:
    plan = ScoreCounts.of("b", [1.0, 2.0], system="s", low=0.0, high=10.0)
    plan.write(tmp_path / "p")
    again = read_counts(tmp_path / "p", "s")
    assert (again.low, again.high, again.system) == (0.0, 10.0, "s")
    assert (again.merge(plan).counts == 2 * plan.counts).all()
    data = json.loads((tmp_path / "p").read_text())
    del data["range"]
    (tmp_path / "old").write_text(json.dumps(data))
    assert (read_counts(tmp_path / "old", "s").low, read_counts(tmp_path / "old", "s").high) == (-1.0, 1.0)
    with pytest.raises(DataError, match="is no plan of other"):
        read_counts(tmp_path / "p", "other")
    (tmp_path / "bad").write_text(json.dumps({**data, "range": [1, 1]}))
    with pytest.raises(DataError, match="is no plan of s, or is damaged"):
        read_counts(tmp_path / "bad", "s")
