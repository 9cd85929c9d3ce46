from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import diptych
from diptych.core import DataError, Run, UsageError
from diptych.metrics.cut import AbsentScores
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search import cut as of_marks
from diptych.tasks.search.absent import GROWN, read_absent
from diptych.tasks.search.ask import ask
from diptych.tasks.search.calibration import calibration
from diptych.tasks.search.default_cut import DefaultCut, default_cut
from diptych.tasks.search.marks import Mark, add_marks
from diptych.tasks.search.term import Term

SHIPPED = json.loads((files("diptych") / "assets" / "lite" / "cut.json").read_text(encoding="utf-8"))["backbones"]


def facts(name: str = "lite", weights: str | None = None) -> dict[str, object]:
    return {"dim": 3, "fingerprint": "x", "backbone": name, "spec": {"weights": weights or SHIPPED["lite"]["weights"]}}


def test_it_belongs_to_the_weights_that_ship() -> None:
    assert SHIPPED["lite"]["weights"] == diptych.load("lite").spec.weights
    assert default_cut(facts()) is not None
    assert default_cut(facts(weights="other")) is None
    assert default_cut(facts(name="tiny")) is None
    assert default_cut({"backbone": "lite"}) is None


def test_a_level_between_those_that_were_measured_gets_the_next_one_and_says_so() -> None:
    default = default_cut(facts())
    assert default is not None
    cuts = [default.cut(level) for level in (0.5, 0.55, 0.6, 0.7)]
    assert [c.level for c in cuts] == [0.5, 0.6, 0.6, 0.7]
    assert [c.threshold for c in cuts] == sorted(c.threshold for c in cuts)
    for cut in cuts:
        assert cut.low <= cut.share <= cut.high
        assert cut.absent is not None
        assert cut.absent <= 1 - cut.level
    assert default.cut(0.5, depth=10).depth == 10
    assert default.cut(0.5, depth=1000).depth == default.depth
    with pytest.raises(DataError, match=r"measured at levels up to 0\.7, not 0\.9: ask for less, or mark"):
        default.cut(0.9)
    with pytest.raises(UsageError, match="must be in"):
        default.cut(1.5)
    shares = default.probabilities(np.linspace(-1, 1, 50))
    assert (np.diff(shares) >= 0).all()
    assert 0 <= shares[0] < shares[-1] <= 1


def test_an_index_without_marks_has_it_up_to_the_size_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index.create(tmp_path / "index", facts()) as index:
        index.add([Entry("a")], {"image": (np.arange(1), np.ones((1, 3), np.float32))})
        fitted = calibration(index, "text", {"image": 1.0})
        assert fitted.source == "default of lite"
        with pytest.raises(DataError, match="No answers of image queries are marked"):
            calibration(index, "image", {"image": 1.0})
        monkeypatch.setattr(Index, "__len__", lambda _: 10**6)
        with pytest.raises(DataError, match="up to 12,000 entries, and this one has 1,000,000: mark answers"):
            calibration(index, "text", {"image": 1.0})


def test_a_first_answer_that_is_rather_wrong_is_said_to_be(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", facts()) as index:
        index.add([Entry("a")], {"image": (np.arange(1), np.array([[1.0, 0, 0]], np.float32))})

        def doubt(score: float, *terms: Term, **options: Any) -> str:
            query = np.array([score, np.sqrt(1 - score**2), 0], np.float32)
            return ask(index, query, terms, "lite", **options).doubt

        sentence = doubt(0.1, Term("a unicorn", 1.0))
        curve = SHIPPED["lite"]["curve"]
        percent = 100 * np.interp(0.1, curve["score"], curve["right"])
        assert 0 < percent < 20
        assert (
            f"a score of 0.100, and of answers with such a score {percent:.0f} % were right on other photos" in sentence
        )
        assert doubt(0.6, Term("a cat", 1.0)) == ""
        assert doubt(0.1, Term("a photo", 1.0, photo=True)) == "", "measured for words alone"
        assert doubt(0.1, Term("a", 1.0), Term("b", 1.0)) == doubt(0.1, Term("a", -1.0)) == ""
        assert doubt(0.1, Term("a unicorn", 1.0), at_least=0.5) == ""


@pytest.mark.parametrize("level", [0.5, 0.6, 0.7])
def test_with_words_of_the_index_their_limit_counts_in_place_of_that_of_other_sets(level: float) -> None:
    shipped = default_cut(facts())
    assert shipped is not None
    row = shipped.facts["levels"][f"{level:g}"]
    low = DefaultCut("lite", shipped.facts, AbsentScores((1,), np.full((400, 1), -0.5))).cut(level)
    assert low.threshold == row["own_words"]["threshold"] <= row["threshold"], "where no word comes near, the share"
    assert (low.share, low.absent, low.words) == (row["own_words"]["share"], 0.0, 400)
    spread = AbsentScores((1,), np.linspace(0.2, 0.999, 400)[:, None])
    high = DefaultCut("lite", shipped.facts, spread).cut(level)
    assert high.threshold == spread.lowest(level) > row["threshold"], "where words come nearer than elsewhere"
    assert high.absent is not None
    assert high.absent <= 1 - level
    few = DefaultCut("lite", shipped.facts, AbsentScores((1,), np.full((4, 1), -0.5))).cut(level)
    assert few == shipped.cut(level), "four words allow no limit"


@pytest.mark.parametrize("name", ["lite"])
def test_words_that_name_no_thing_are_promised_less_and_the_answer_says_so(tmp_path: Path, name: str) -> None:
    with Index.create(tmp_path / "index", facts(name)) as index:
        index.add([Entry("a")], {"image": (np.arange(1), np.array([[1.0, 0, 0]], np.float32))})

        def asked(*terms: Term) -> Any:
            found = ask(index, np.array([0.6, 0.8, 0], np.float32), terms, name, at_least=0.7).cut
            assert found is not None
            return found

        thing, other = asked(Term("a dog")), asked(Term("jumping"))
        row = SHIPPED[name]["levels"]["0.7"]["kinds"]
        for answer, kind in ((thing, row["thing"]), (other, row["other"])):
            assert [answer.cut.low, answer.cut.high, answer.cut.share] == [*kind["interval"], kind["share"]]
        assert other.cut.share < thing.cut.share
        assert other.cut.low < thing.cut.low
        assert other.shares[0] < thing.shares[0]
        assert thing.basis.endswith("marked on other data sets")
        assert other.basis.endswith("marked on other data sets, for rare words, activities, looks and phrases")
        assert asked(Term("a dog"), Term("a cat")).cut == other.cut, "several parts are no word for a thing"


def test_before_words_are_known_the_range_is_that_of_all_and_0_where_they_were_not_measured() -> None:
    shipped = default_cut(facts())
    assert shipped is not None
    kinds = shipped.facts["levels"]["0.7"]["kinds"]
    assert shipped.cut(0.7).low == min(kind["interval"][0] for kind in kinds.values())
    earlier = default_cut(facts("lite:views", SHIPPED["lite:views"]["weights"]))
    assert earlier is not None
    assert earlier.cut(0.7).low == replace(earlier, query="jumping").cut(0.7).low == 0.0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Words that were encoded; each is a vector of length 1, of 3 numbers."""
    calls: list[list[str]] = []

    def encoded(texts: list[str], *_: object) -> Any:
        calls.append(texts)
        values = np.random.default_rng(len(texts)).normal(size=(len(texts), 3))
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    monkeypatch.setattr("diptych.tasks.search.absent.encoded", encoded)
    return calls


def test_words_are_drawn_once_where_a_default_cut_reads_them(tmp_path: Path, counted: list[list[str]]) -> None:
    tower, folder = cast("Any", None), tmp_path / "index"
    with Index.create(folder, facts()) as index:
        assert not of_marks.draw_words(folder, tower, Run()), "an empty index"
        index.add([Entry("a", caption="a giraffe")], {"image": (np.arange(1), np.ones((1, 3), np.float32))})
        before = calibration(index, "text", {"image": 1.0}).marks.cut(0.5)
        assert of_marks.draw_words(folder, tower, Run())
        assert not of_marks.draw_words(folder, tower, Run())
        assert [len(texts) for texts in counted] == [400]
        assert "giraffe" not in counted[0]
        drawn = read_absent(folder)
        assert drawn is not None
        after = calibration(index, "text", {"image": 1.0}).marks.cut(0.5)
        own = SHIPPED["lite"]["levels"]["0.5"]["own_words"]["threshold"]
        assert after.threshold == max(own, drawn.scores.lowest(0.5)) != before.threshold
        assert after.words == 400
        more = [Entry(f"b{i}") for i in range(GROWN)]
        index.add(more, {"image": (np.arange(GROWN), np.ones((GROWN, 3), np.float32))})
        assert calibration(index, "text", {"image": 1.0}).marks.cut(0.5) == before, "outgrown: as if there were none"
        assert of_marks.draw_words(folder, tower, Run())
        drawn = read_absent(folder)
        assert drawn is not None
        assert drawn.entries == len(index) == GROWN + 1


def test_words_are_not_drawn_anew_for_marks_nor_for_other_backbones(tmp_path: Path, counted: list[list[str]]) -> None:
    tower = cast("Any", None)
    one: Any = {"image": (np.arange(1), np.ones((1, 3), np.float32))}
    with Index.create(tmp_path / "marked", facts()) as index:
        index.add([Entry("a")], one)
        add_marks(index.folder, [Mark("a cat", "text", "image 1", "a", 0.5, right=True)])
        assert not of_marks.draw_words(index.folder, tower, Run()), "they would hide that the marks are outgrown"
    with Index.create(tmp_path / "other", facts(weights="other")) as index:
        index.add([Entry("a")], one)
        assert not of_marks.draw_words(index.folder, tower, Run())
    assert counted == []
