"""Proof of the drop between groups, on pictures of colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, Run
from proofs.benches.audits.groups import DROPS
from proofs.prove import prove
from tests.support.colours import COLOURS, ColourBackbone, coloured

SEEDS = (1, 2, 3, 4, 5)


def test_a_drop_between_domains_is_shown_and_random_groups_have_none(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), ["path,class,group"]
    for i in range(120):
        name, dim = list(COLOURS)[i % 3], i % 2 == 0
        coloured(tmp_path / "set" / f"{i}.png", list(COLOURS)[int(rng.integers(3))] if dim else name, i, noise=5.0)
        rows.append(f"{i}.png,{name},{'dim' if dim else 'bright'}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows))
    proof = prove("counteranimal", ColourBackbone(), Run(), datasets=(str(tmp_path / "set"),), seeds=SEEDS)
    assert proof.shown
    assert proof.as_dict()["datasets"][0]["claims"][0]["gain"] > 0.4
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows[:13]))
    with pytest.raises(DataError, match="two groups of 10 items"):
        prove("counteranimal", ColourBackbone(), Run(), datasets=(str(tmp_path / "set"),), seeds=SEEDS)


def test_bounds_of_drops_are_over_the_classes_that_both_sides_have() -> None:
    """Student's quantile of one degree of freedom is 6.3138 one-sided, 12.706 two-sided."""
    own, none = np.array([[0.5, 0.7, np.nan]]), np.zeros((1, 3))
    assert DROPS.lower is not None
    assert DROPS.of(own, 0).value == pytest.approx(0.6)
    bound = DROPS.lower(own, none, 0)
    assert (bound.value, bound.low) == (pytest.approx(0.6), pytest.approx(0.6 - 6.3138 * 0.1, abs=1e-4))
    assert DROPS.gain(own, none, 0).low == pytest.approx(0.6 - 12.706 * 0.1, abs=1e-3)
    assert DROPS.lower(own, np.array([[0.4, np.nan, 0.1]]), 0).low == -2.0
    assert DROPS.lower(np.full((1, 3), np.nan), none, 0).low == -1.0
