"""The proof of stars on the development data, made small; what they show stands in results/."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diptych.core import Run, Table
from diptych.data.stars import Star, Stars
from diptych.methods.extend.astrom3 import SMALL
from proofs.benches import stars
from proofs.benches.stars import Night, open_stars, supernovae, variables
from proofs.extend import TRIALS
from tests.support.proofs import judged
from tests.support.stars import star
from tests.support.visual_backbone import VisualBackbone

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def night(data_root: Path) -> Night:
    return variables(str(data_root / "rrlyrae_snia"))


@pytest.fixture(scope="module")
def explosions(data_root: Path) -> Stars:
    return supernovae(str(data_root / "sn_photometry_spectra"))


def few(table: Table[Star], count: int) -> Table[Star]:
    rows = np.arange(count) * (len(table) // count)
    assert isinstance(table.items, Stars)
    return Table(stars._taken(table.items, rows), table.take(rows.tolist()).columns)


def test_stars_are_read_whole(night: Night, explosions: Stars) -> None:
    assert night.classes == ("RRab", "RRc")
    assert len(explosions) > 20
    assert star(0).curve is not None


@pytest.mark.slow
def test_the_proof_of_stars_holds_what_is_written(
    night: Night, explosions: Stars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stars, "SHOTS", 2)
    some = replace(night, train=few(night.train, 40), test=few(night.test, 20))
    monkeypatch.setattr(stars, "variables", lambda name: some)
    monkeypatch.setattr(stars, "supernovae", lambda name: explosions)
    tiny = replace(SMALL, epochs=1, width=8, layers=1, heads=2, hidden=8, length=16, dim=8, facts=8)
    trial = replace(TRIALS["astrom3"], bench=partial(open_stars, method=tiny))
    judgement = judged(trial, "astrom3", "rrlyrae_snia", VisualBackbone(), Run(), SEEDS)
    assert judgement["claims"][0]["over"] == "from scratch"
    assert judgement["controls"][0]["name"] == "shuffled pairs"
    assert [b["name"] for b in judgement["beside"]] == [
        "photometry, pairs shuffled",
        "spectra from scratch",
        "metadata from scratch",
    ]
    counted = judged(trial, "astrom3", "sn_photometry_spectra", VisualBackbone(), Run(), SEEDS)
    assert len(counted["right"]["aligned"]) == 2
