"""Rates of false alarms that are held on photos that ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from diptych.backbones.sources.load import load
from diptych.core.backbone import Backbone
from diptych.core.data import Evidence, Text, TextPool
from diptych.core.errors import DataError, UsageError
from diptych.core.run import Run
from diptych.data.load import open_data
from diptych.methods.caption.maccap import MacCap
from diptych.metrics.conformal import false_alarm_shares
from diptych.tasks.audit import audit_pairs, pair_auditor, right_words
from diptych.tasks.caption import caption
from diptych.tasks.clean import shares_a_word, shipped

NONE = ("A bowl of fruit.", "A train waits in a station.", "A dog runs on the beach.")


def pool(texts: Sequence[str]) -> Evidence[Any]:
    return Evidence(texts=TextPool({"": tuple(map(Text, texts))}))


@pytest.fixture(scope="module")
def lite() -> Backbone:
    return load("lite")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(cache=tmp_path_factory.mktemp("cache"))


def test_what_ships_is_one_right_sentence_a_photo() -> None:
    table = shipped()
    kinds = list(table.columns["kinds"].values)
    assert (len(table), kinds.count("thing"), kinds.count("clothes")) == (145, 7, 138)
    assert all(len(column.values) == 145 for column in table.columns.values())
    assert shares_a_word("cup of coffee", "two CUPS and a plate")
    assert not shares_a_word("man with a camera", "a dog with a ball")


def test_where_no_sentence_fits_none_is_said_to_and_where_one_does_it_is(lite: Backbone, run: Run) -> None:
    photos = open_data("demo:photos").whole().items
    nothing = caption(photos, pool(NONE), lite, run, rate=0.05)
    assert nothing.fit is not None
    assert (nothing.fit.items, nothing.fit.things) == (145, 7)
    assert nothing.fits == (False,) * 7
    told = caption(photos, pool((*NONE, "A cat looks into the camera.", "A rocket rises.")), lite, run, rate=0.05)
    fitting = {name.rpartition("/")[2] for name, fits in zip(told.names, told.fits, strict=True) if fits}
    assert {"cat.jpg", "rocket.jpg"} <= fitting
    assert told.as_dict()["photos"][0].keys() == {"path", "captions", "fits"}


def test_nothing_is_said_where_too_little_is_clean_or_no_rate_is_asked_for(lite: Backbone, run: Run) -> None:
    photos = open_data("demo:photos").whole().items
    assert caption(photos, pool(NONE), lite, run).fits == (None,) * 7
    clothes = caption(photos, pool(("a red dress",)), lite, run, rate=0.05)
    assert clothes.fit is None  # seven photos of other things cannot hold a rate of 1 in 20
    with pytest.raises(UsageError, match="nearest caption alone"):
        caption(photos, pool(NONE), lite, run, rate=0.05, method=MacCap())


def test_right_words_are_marked_at_the_rate(lite: Backbone, run: Run) -> None:
    known = right_words(lite, run, 0.05)
    rows = audit_pairs(shipped(), lite, run, method=pair_auditor("threshold", known.threshold)).rows
    marked = [any(p.chosen for p in row.parts) for row in rows]
    assert known.captions == 145
    assert known.marked_captions == pytest.approx(np.mean(marked))
    assert sum(p.chosen for row in rows for p in row.parts) <= 0.05 * (known.words + 1)
    with pytest.raises(DataError, match="right words that ship cannot hold"):
        right_words(lite, run, 1e-5)


def test_a_normal_share_counts_the_clean_items_that_score_as_high() -> None:
    clean = np.array([1.0, 2.0, 2.0, 3.0])
    assert false_alarm_shares(np.array([0.0, 2.0, 3.5]), clean).tolist() == [1.0, 0.8, 0.2]
    rng = np.random.default_rng(0)  # the promise holds on average over draws of the clean items
    shares = [false_alarm_shares(rng.normal(size=50), rng.normal(size=19)) for _ in range(2000)]
    assert np.mean(np.array(shares) <= 0.05) == pytest.approx(0.05, abs=0.005)
    with pytest.raises(DataError, match="at least one clean item"):
        false_alarm_shares(np.array([1.0]), np.array([]))
