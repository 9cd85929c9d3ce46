from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, Run
from diptych.data.words.wordnet import WordNet
from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from diptych.tasks.search.absent import (
    RANKS,
    WORDS,
    absent_nouns,
    draw_absent,
    encoded,
    picture_nouns,
    read_absent,
    top_scores,
)
from tests.support.colours import ColourBackbone


def indexed(folder: Path, entries: int, chunk: int | None = None) -> Index:
    index = Index.create(folder, {"dim": 4, "fingerprint": "x"})
    vectors = np.random.default_rng(0).normal(size=(entries, 4)).astype(np.float32)
    names = ["/photos/lighthouse_7.jpg", *(f"/photos/{i}.jpg" for i in range(1, entries))]
    facts = [{"label": "violin"}, *({"folder": "train/giraffe"} for _ in range(entries - 1))]
    rows = [
        Entry(n, caption="a bridge" if i == 5 else "", facts=f)
        for i, (n, f) in enumerate(zip(names, facts, strict=True))
    ]
    index.add(rows, {"image": (np.arange(entries), vectors)})
    return index


def test_words_of_captions_labels_folders_and_names_are_not_drawn(tmp_path: Path) -> None:
    with indexed(tmp_path / "index", 60) as index:
        drawn = draw_absent(index, ColourBackbone(), Run(), ["guitars"])
        assert (drawn.entries, len(drawn.words)) == (60, WORDS)
        assert not {"lighthouse", "violin", "giraffe", "bridge", "guitar"} & set(drawn.words)
        assert set(drawn.words) < set(picture_nouns())
        again = read_absent(index.folder)
        assert again is not None
        assert (again.words, again.entries, again.scores.ranks) == (drawn.words, 60, RANKS)
        np.testing.assert_allclose(again.scores.scores, drawn.scores.scores, atol=1.1e-6)
        assert (again.scores.scores >= drawn.scores.scores).all()
        query = encoded(list(drawn.words[:1]), ColourBackbone(), Run())[0]
        best = np.sort(index.vectors("image") @ query)[::-1]
        ranks = [r for r in RANKS if r <= 60]
        np.testing.assert_allclose(drawn.scores.scores[0, : len(ranks)], best[np.array(ranks) - 1], atol=1e-6)
        assert np.isneginf(drawn.scores.scores[0, len(ranks) :]).all()  # there are no 100 answers


def test_the_draw_is_the_seeds_alone(tmp_path: Path) -> None:
    with indexed(tmp_path / "index", 60) as index:
        words = [draw_absent(index, ColourBackbone(), Run(seed=seed)).words for seed in (0, 0, 1)]
    assert words[0] == words[1] != words[2]


def test_scores_do_not_depend_on_the_size_of_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    with indexed(tmp_path / "index", 90) as index:
        whole = top_scores(index, queries, 20)
        monkeypatch.setattr(type(index), "chunk", property(lambda _: 7))
        parts = top_scores(index, queries, 20)
    np.testing.assert_allclose(whole[0], parts[0], atol=1e-6)
    assert whole[1] == parts[1] == 90
    assert whole[0].shape == (3, 20)


def test_an_index_without_pictures_or_words_says_so(tmp_path: Path) -> None:
    assert read_absent(tmp_path) is None
    index = Index.create(tmp_path / "index", {"dim": 4, "fingerprint": "x"})
    with index, pytest.raises(DataError, match="holds no pictures"):
        draw_absent(index, ColourBackbone(), Run())


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet.load()


def test_the_list_holds_nouns_of_wordnet_once_and_sorted(wordnet: WordNet) -> None:
    words = picture_nouns()
    assert words == sorted(set(words))
    assert all(word in wordnet for word in words)
    assert {"giraffe", "guitar", "bridge"} < set(words)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("two dogs", ["dog", "animal", "poodle", "corgi"]),  # plural, broader, narrower
        ("train/grand_piano", ["piano"]),
        ("GrandPiano", ["piano"]),
        ("an elephant", ["elephant", "mammoth"]),
        ("a car", ["car", "convertible"]),
    ],
)
def test_words_near_a_text_are_left_out(wordnet: WordNet, text: str, gone: list[str]) -> None:
    drawn = absent_nouns([text], wordnet, 1000, seed=0)
    listed = set(picture_nouns())
    assert not set(gone) & set(drawn)
    assert {"giraffe", "violin", "cave"} & listed <= set(drawn)
    assert set(drawn) < listed


def test_the_seed_draws_and_more_words_begin_with_the_same(wordnet: WordNet) -> None:
    few, many = (absent_nouns(["a dog"], wordnet, n, seed=3) for n in (10, 50))
    assert many[:10] == few
    assert absent_nouns(["a dog"], wordnet, 10, seed=4) != few
    assert absent_nouns([], wordnet, 10_000, seed=0) != []
    assert absent_nouns([" ".join(picture_nouns())], wordnet, 10, seed=0) == []
