from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from diptych.core.data import Evidence
from diptych.core.errors import MissingEvidence, MissingExtra
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.methods.retrieve.string_matching import StringMatching, jaccard, levenshtein, tidy
from tests.support.record_work import records, table
from tests.support.refused import refused

TEXTS = ["kitten", "sitting", "", "a", "kitchen"]


def edits(s: str, t: str) -> int:
    row = list(range(len(t) + 1))
    for i, a in enumerate(s, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(t, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_levenshtein_is_what_a_loop_counts() -> None:
    pytest.importorskip("rapidfuzz")
    found = levenshtein(TEXTS, TEXTS)
    for i, s in enumerate(TEXTS):
        for j, t in enumerate(TEXTS):
            assert found[i, j] == pytest.approx(1 - edits(s, t) / max(len(s), len(t)) if s and t else 0.0, abs=1e-6)


def test_jaccard_is_what_sets_say() -> None:
    def grams(t: str) -> set[str]:
        return {t[i : i + 3] for i in range(max(1, len(t) - 2))} - {""}

    found = jaccard(TEXTS, TEXTS)
    for i, s in enumerate(TEXTS):
        for j, t in enumerate(TEXTS):
            either = grams(s) | grams(t)
            assert found[i, j] == pytest.approx(len(grams(s) & grams(t)) / len(either) if either else 0.0)


def test_texts_are_tidied_and_records_scored() -> None:
    assert tidy("  Ｆoo\n BAR ") == "foo bar"
    assert tidy(None) == ""
    found, entities = records()
    fitted = StringMatching(measure="jaccard").fit(Kit(), Evidence(val=table(found, entities)), Run())
    assert fitted.threshold is not None
    scores = fitted.against(found, Run())(found).numpy()
    np.fill_diagonal(scores, -1)
    assert (entities[scores.argmax(1)] == entities).mean() > 0.8


def test_a_side_without_texts_does_not_fit() -> None:
    found, _ = records()
    bare = replace(found, texts=(None,) * len(found))
    fitted = StringMatching(measure="jaccard").fit(Kit(), Evidence(), Run())
    with pytest.raises(MissingEvidence, match=f"none of the {len(found)} records to be found has one"):
        fitted.against(bare, Run())
    with pytest.raises(MissingEvidence, match="records asked for has one"):
        fitted.against(found, Run())(bare)
    some = replace(found, texts=(*found.texts[:1], *(None,) * (len(found) - 1)))
    assert fitted.against(some, Run())(found).shape == (len(found), len(found))


def test_bad_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    refused(StringMatching, {"measure": "soundex"}, {"n": 0})
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(MissingExtra, match="rapidfuzz"):
        levenshtein(["a"], ["b"])
