"""Rates of false alarms that are held on photos that ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.backbones.sources.load import load
from diptych.core import Backbone, Column, DataError, Evidence, PairScorer, Run, Table, Text, TextPool, UsageError
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.methods.caption.maccap import MacCap
from diptych.metrics.conformal import false_alarm_shares
from diptych.tasks.audit.groups import RightCaptions, audit_pairs, right_captions
from diptych.tasks.caption import caption
from diptych.tasks.clean import shares_a_word, shipped
from diptych.tasks.defaults import default
from tests.support.colours import ColourBackbone

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
    wrong = {name.rpartition("/")[2] for name, fits in zip(nothing.names, nothing.fits, strict=True) if fits}
    assert wrong <= {"galaxies.jpg"}  # a known miss of lite; on average 1 in 20 is promised, of seven none or one
    earlier = caption(photos, pool(NONE), load("lite:2026-11"), run, rate=0.05)
    assert earlier.fits == (False,) * 7
    told = caption(photos, pool((*NONE, "A cat looks into the camera.", "A rocket rises.")), lite, run, rate=0.05)
    fitting = {name.rpartition("/")[2] for name, fits in zip(told.names, told.fits, strict=True) if fits}
    assert {"cat.jpg", "rocket.jpg"} <= fitting
    assert told.of_photos()[0].as_dict().keys() == {"path", "captions", "fits"}


def test_nothing_is_said_where_too_little_is_clean_or_no_rate_is_asked_for(lite: Backbone, run: Run) -> None:
    photos = open_data("demo:photos").whole().items
    assert caption(photos, pool(NONE), lite, run).fits == (None,) * 7
    clothes = caption(photos, pool(("a red dress",)), lite, run, rate=0.05)
    assert clothes.fit is None  # seven photos of other things are too few for a rate of 1 in 20
    with pytest.raises(UsageError, match="Only the nearest caption"):
        caption(photos, pool(NONE), lite, run, rate=0.05, method=MacCap())


def test_the_users_own_photos_hold_the_rate_alone() -> None:
    """The backbone knows colours: its noise makes cosines of green photos to "red" and "blue" differ a little."""
    backbone, rng = ColourBackbone(), np.random.default_rng(0)

    def shades(count: int, red: int, green: int, blue: int) -> InMemory:
        pixels = [np.clip(np.array([red, green, blue]) + rng.integers(-40, 41, 3), 0, 255) for _ in range(count)]
        return InMemory([Image.new("RGB", (8, 8), tuple(map(int, p))) for p in pixels], list(map(str, range(count))))

    said, undescribed = pool(("red", "blue")), shades(39, 60, 200, 60)
    told = caption(shades(20, 200, 40, 40), said, backbone, Run(), rate=0.05, clean=undescribed, source="mine")
    assert told.fit is not None
    assert (told.fit.items, told.fit.things, told.fit.source) == (39, 0, "mine")
    assert all(told.fits)
    again = caption(undescribed, said, backbone, Run(), rate=0.05, clean=undescribed)
    assert sum(map(bool, again.fits)) <= 0.05 * 39
    with pytest.raises(DataError, match=r"5 photos that no sentence describes are too few for a rate of 0.05: give 19"):
        caption(undescribed, said, backbone, Run(), rate=0.05, clean=shades(5, 0, 200, 0))


def test_captions_stand_out_among_right_ones_at_the_rate(lite: Backbone, run: Run) -> None:
    right = right_captions(lite, run, 0.05)
    assert (len(right.cosines), right.clothes) == (145, 138)
    photos = shipped().take(list(range(7)))
    said = [("a woman pours milk",), *((str(c),) for c in list(photos.columns["captions"].values)[1:])]
    pairs: Table[Any] = Table(photos.items, {"captions": Column("captions", said)})
    found = audit_pairs(pairs, lite, run, method=default("audit pairs", PairScorer, choice="most-negative")).against(
        right
    )
    assert [r.cosine for r in found.rows] == sorted(r.cosine for r in found.rows)
    assert found.rows[0].text == "a woman pours milk"
    assert [r.stands_out for r in found.rows] == [
        r.right_share is not None and r.right_share <= 0.05 for r in found.rows
    ]
    assert found.rows[0].stands_out
    assert not any(r.stands_out for r in found.rows[3:])
    assert all(r.stands_out or not any(p.chosen for p in r.parts) for r in found.rows)
    assert not any(p.text in ("a", "of") for r in found.rows for p in r.parts if p.chosen)
    assert right.as_dict() == {"rate": 0.05, "captions": 145, "source": "", "clothes": 138}


def test_a_share_of_right_captions_stands_out_of_others_like_them() -> None:
    """On average over draws, and with the users' own pairs as with those that ship."""
    rng = np.random.default_rng(0)
    marked = [
        (RightCaptions(rng.normal(size=39), 0.05).shares(rng.normal(size=50).tolist()) <= 0.05).mean()
        for _ in range(2000)
    ]
    assert np.mean(marked) == pytest.approx(0.05, abs=0.005)


def test_right_captions_of_the_user_must_be_enough_for_the_rate(lite: Backbone, run: Run) -> None:
    few = shipped().take(list(range(7)))
    assert len(right_captions(lite, run, 0.2, few, source="mine.csv").cosines) == 7
    with pytest.raises(DataError, match=r"7 right captions are too few for a rate of 0.05: give 19 or more"):
        right_captions(lite, run, 0.05, few)
    with pytest.raises(UsageError, match="got 1"):
        right_captions(lite, run, 1, few)


def test_a_normal_share_counts_the_clean_items_that_score_as_high() -> None:
    clean = np.array([1.0, 2.0, 2.0, 3.0])
    assert false_alarm_shares(np.array([0.0, 2.0, 3.5]), clean).tolist() == [1.0, 0.8, 0.2]
    rng = np.random.default_rng(0)  # the promise holds on average over draws of the clean items
    shares = [false_alarm_shares(rng.normal(size=50), rng.normal(size=19)) for _ in range(2000)]
    assert np.mean(np.array(shares) <= 0.05) == pytest.approx(0.05, abs=0.005)
    with pytest.raises(DataError, match="at least one clean item"):
        false_alarm_shares(np.array([1.0]), np.array([]))
