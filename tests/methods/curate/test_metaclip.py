from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core import DataError, Kit, Run, UsageError
from diptych.features.entry_counts import EntryCounts
from diptych.methods.curate import metaclip as m
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.nn.text.substrings import Matcher, normalised
from tests.support.refused import refused

ENTRIES = ("cat", "dog", "hot dog", "New York", "York", "axolotl", "u.s.", "é")


@dataclass(frozen=True)
class Listed:
    texts: tuple[str, ...]
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((i, t) for i, t in enumerate(self.texts) if i >= self.start)

    def seek(self, position: int) -> Listed:
        return replace(self, start=position)


def naive(texts: tuple[str, ...], entries: tuple[str, ...]) -> list[tuple[int, int]]:
    """Every entry in every text, by ``in``."""

    def spaced(text: str) -> str:
        for mark in ",.;:?!`":
            text = text.replace(mark, f" {mark} ")
        for mark in "\t\n\r\0":
            text = text.replace(mark, " ")
        return f" {text} "

    return [(i, e) for i, t in enumerate(texts) for e, entry in enumerate(entries) if f" {entry} " in spaced(t)]


def corpus(n: int = 3000) -> Listed:
    rng = np.random.default_rng(0)
    words = rng.choice(
        ["a cat", "a dog", "a cat, a dog.", "an axolotl", "IMG_0042", "hot dog in New York"],
        size=n,
        p=[0.51, 0.3, 0.1, 0.01, 0.05, 0.03],
    )
    return Listed(tuple(map(str, words)))


@pytest.fixture
def curator(tmp_path: Path) -> MetaCLIP:
    (tmp_path / "entries.txt").write_text("\n".join(ENTRIES), encoding="utf-8")
    return MetaCLIP(str(tmp_path / "entries.txt"), t=60)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from("catdog hotYrkNew.,é\t\n\0!'-"), max_size=30), max_size=6))
def test_matches_are_those_of_a_loop(texts: list[str]) -> None:
    rows, found = Matcher(ENTRIES).match(texts)
    assert list(zip(rows.tolist(), found.tolist(), strict=True)) == naive(tuple(texts), ENTRIES)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a cat", ["cat"]),
        ("Cat cats (cat) cat-like", []),
        ("cat,dog.cat", ["cat", "dog"]),
        ("a hot dog", ["dog", "hot dog"]),
        ("hot  dog", ["dog"]),
        ("New York cat cat", ["cat", "New York", "York"]),
        ("the u.s. team", []),
        ("", []),
        ("café é", ["é"]),
    ],
)
def test_documented_cases_of_the_rule(text: str, names: list[str]) -> None:
    _, found = Matcher(ENTRIES).match(["cat dog", text])
    rows, _ = Matcher(ENTRIES).match(["cat dog", text])
    assert [ENTRIES[e] for r, e in zip(rows, found, strict=True) if r == 1] == names
    assert normalised("a.b") == " a . b "


def test_a_matcher_travels_to_another_process() -> None:
    used = Matcher(ENTRIES)
    assert used.match(["cat"])[1].tolist() == [0]
    assert pickle.loads(pickle.dumps(used)).match(["cat"])[1].tolist() == [0]


def test_a_match_never_crosses_from_one_text_to_the_next() -> None:
    assert Matcher(ENTRIES).match(["New", "York"])[1].tolist() == [ENTRIES.index("York")]


def test_probabilities_against_the_closed_form_and_the_papers_draws() -> None:
    counts = np.array([10, 100, 1000, 0], dtype=np.uint64)
    p = m.entry_probabilities(counts, 100)
    assert p.tolist() == [1.0, 1.0, 0.1, 1.0]
    assert m.entry_probabilities(counts, math.inf).tolist() == [1.0] * 4
    rows, found = np.array([0, 0, 1, 2, 2]), np.array([2, 2, 2, 0, 2])
    kept = m.keep_probabilities(rows[1:], found[1:], p, 4)
    assert kept == pytest.approx([0.1, 0.1, 1.0, 0.0])
    two = m.keep_probabilities(np.array([0, 0]), np.array([0, 1]), np.array([0.3, 0.5]), 1)[0]
    draws = np.random.default_rng(0).random((20000, 2)) < [
        0.3,
        0.5,
    ]  # the paper's: one draw an entry, kept if any says so
    assert two == pytest.approx(0.65)
    assert draws.any(1).mean() == pytest.approx(two, abs=0.01)


def test_plans_merge_in_any_order(curator: MetaCLIP) -> None:
    whole = curator.plan(Kit(), corpus(), Run())
    parts = [curator.plan(Kit(), Listed(corpus().texts[i : i + 1100]), Run()) for i in range(0, 3000, 1100)]
    for order in ((0, 1, 2), (2, 0, 1)):
        a, b, c = (parts[i] for i in order)
        merged = a.merge(b).merge(c)
        assert (merged.counts == whole.counts).all()
        assert (
            (merged.texts, merged.matched)
            == (whole.texts, whole.matched)
            == (3000, sum("IMG" not in t for t in corpus().texts))
        )
    with pytest.raises(UsageError, match="different metadata"):
        whole.merge(EntryCounts(("x",), np.zeros(1, dtype=np.uint64)))


def test_head_is_thinned_tail_is_kept_and_infinity_keeps_all_that_match(curator: MetaCLIP) -> None:
    plan = curator.plan(Kit(), corpus(), Run())
    kept = [v for v in curator.apply(Kit(), plan, corpus(), Run(seed=1)) if v.keep]
    texts = Counter(corpus().texts[v.position] for v in kept)
    whole = Counter(corpus().texts)
    assert texts["an axolotl"] == whole["an axolotl"]
    assert texts["IMG_0042"] == 0
    expected = 60 / int(plan.counts[ENTRIES.index("cat")]) * whole["a cat"]
    assert abs(texts["a cat"] - expected) < 4 * math.sqrt(expected)
    everything = replace(curator, t=math.inf)
    assert [v.keep for v in everything.apply(Kit(), plan, corpus(), Run())] == ["IMG" not in t for t in corpus().texts]


@pytest.mark.parametrize("t", [60, math.inf])
def test_of_long_texts_all_words_count(curator: MetaCLIP, t: float) -> None:
    """Some have their only entry behind the first words, and some a rare one behind a frequent one."""
    beginnings = ("x " * 90, "a cat and " + "x " * 80, "x" * 200 + " ", "x" * 127 + " cat", "a cat, " * 40)
    texts = tuple(f"{beginning}{end}" for beginning in beginnings for end in ("an axolotl", *("", "dog") * 20))
    plan = curator.plan(Kit(), Listed(texts), Run())
    p = m.entry_probabilities(plan.counts, t)
    rows, found = (np.array(column) for column in zip(*naive(texts, ENTRIES), strict=True))
    expected = m.keep_probabilities(rows, found, p, len(texts))
    assert len({*expected.tolist()} - {0.0, 1.0}) == (0 if math.isinf(t) else 3)
    scores = [v.score for v in replace(curator, t=t).apply(Kit(), plan, Listed(texts), Run())]
    assert scores == expected.tolist()


def test_verdicts_do_not_depend_on_where_a_run_starts_or_on_threads(curator: MetaCLIP) -> None:
    plan = curator.plan(Kit(), corpus(), Run())
    whole = list(curator.apply(Kit(), plan, corpus(), Run(seed=3, workers=1)))
    assert list(curator.apply(Kit(), plan, corpus(), Run(seed=3, workers=4))) == whole
    assert list(curator.apply(Kit(), plan, corpus().seek(1234), Run(seed=3))) == whole[1234:]
    other = [v.keep for v in curator.apply(Kit(), plan, corpus(), Run(seed=4))]
    assert other != [v.keep for v in whole]


def test_a_plan_comes_back_from_its_file(curator: MetaCLIP, tmp_path: Path) -> None:
    plan = curator.plan(Kit(), corpus(), Run())
    plan.write(tmp_path / "deep" / "plan.parquet")
    again = curator.read_plan(tmp_path / "deep" / "plan.parquet")
    assert (again.counts == plan.counts).all()
    assert (again.entries, again.texts, again.matched) == (plan.entries, plan.texts, plan.matched)
    assert plan.report()["entries_met"] == 6
    for name, content in (("absent", None), ("bad", b"no parquet")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="no plan of metaclip"):
            curator.read_plan(tmp_path / name)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"entry": ["a"], "count": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no plan of metaclip, or is damaged"):
        curator.read_plan(tmp_path / "other.parquet")


def test_bad_input_is_named(curator: MetaCLIP, tmp_path: Path) -> None:
    plan = curator.plan(Kit(), corpus(10), Run())
    refused(MetaCLIP, {"t": 0.5}, {"t": math.nan})
    with pytest.raises(UsageError, match="other metadata"):
        list(MetaCLIP(str(_file(tmp_path / "two.txt", "cat\ndog")), t=1).apply(Kit(), plan, corpus(), Run()))
    with pytest.raises(UsageError, match="no file"):
        MetaCLIP(str(tmp_path / "absent.txt")).plan(Kit(), corpus(), Run())
    with pytest.raises(DataError, match="no entries"):
        MetaCLIP(str(_file(tmp_path / "empty.txt", ".\n\n,"))).plan(Kit(), corpus(), Run())


def _file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_tail_gives_each_pool_a_threshold_of_its_own(curator: MetaCLIP) -> None:
    """The counts of a language ten times as large give a t ten times as large, and the same texts are kept."""
    small = curator.plan(Kit(), corpus(), Run())
    large = EntryCounts(small.entries, 10 * small.counts, 10 * small.texts, 10 * small.matched)
    own = replace(curator, tail=0.06)
    assert own.threshold(large) == 10 * own.threshold(small)
    shares = [own.thinned(plan)["tail_share"] for plan in (small, large)]
    assert shares[0] == shares[1]
    assert own.thinned(small)["threshold"] == own.threshold(small) != curator.t
    assert curator.thinned(small)["threshold"] == 60
    assert replace(curator, t=math.inf).thinned(small) == {"threshold": None, "tail_share": 1.0}
    kept = [[v.keep for v in own.apply(Kit(), plan, corpus(), Run())] for plan in (small, large)]
    assert kept[0] == kept[1] != [v.keep for v in curator.apply(Kit(), small, corpus(), Run())]
    with pytest.raises(UsageError, match="tail"):
        MetaCLIP(tail=1.5)
