from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diptych
from diptych.core import DataError, UsageError
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search.ask import ask
from diptych.tasks.search.default_cut import default_cut
from diptych.tasks.search.marks import calibration
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
    with pytest.raises(UsageError, match="lies in"):
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
        with pytest.raises(DataError, match="up to 8,904 entries, and this one has 1,000,000: mark answers"):
            calibration(index, "text", {"image": 1.0})


def test_a_first_answer_that_is_rather_wrong_is_said_to_be(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", facts()) as index:
        index.add([Entry("a")], {"image": (np.arange(1), np.array([[1.0, 0, 0]], np.float32))})

        def doubt(score: float, *terms: Term, **options: Any) -> str:
            query = np.array([score, np.sqrt(1 - score**2), 0], np.float32)
            return ask(index, query, terms, "lite", **options).doubt

        sentence = doubt(0.1, Term("a unicorn", 1.0))
        assert "has a score of 0.100, and of answers with such a score 5 % were right on other photos" in sentence
        assert doubt(0.6, Term("a cat", 1.0)) == ""
        assert doubt(0.1, Term("a photo", 1.0, photo=True)) == "", "measured for words alone"
        assert doubt(0.1, Term("a", 1.0), Term("b", 1.0)) == doubt(0.1, Term("a", -1.0)) == ""
        assert doubt(0.1, Term("a unicorn", 1.0), at_least=0.5) == ""
