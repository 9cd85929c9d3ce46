from __future__ import annotations

import numpy as np
import pytest

from diptych.data.words.wordnet import WordNet
from proofs.benches.audits.foils import counted, foil, kinds

CAPTIONS = ("A dog chases a ball .", "The brown dog runs .")


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet.load()


def test_one_noun_becomes_a_noun_of_another_kind(wordnet: WordNet) -> None:
    kind = kinds(wordnet, ["dog", "cat", "horse", "animal", "puppy", "boy", "girl", "white", "is", "ball"])
    assert {kind[w] for w in ("dog", "cat", "horse")} == {"animal"}
    assert kind["boy"] == kind["girl"] == "person"
    assert not {"white", "is"} & set(kind)
    for seed in range(20):
        found = foil(CAPTIONS, kind, np.random.default_rng(seed), wordnet)
        assert found is not None
        swapped = found.wrong[found.start : found.end]
        was = found.right[found.start : len(found.right) - len(found.wrong) + found.end]
        assert kind[swapped] != kind[was]
        assert swapped not in ("dog", "ball", "animal")
        assert found.right == found.wrong[: found.start] + was + found.wrong[found.end :]
        assert found.right in CAPTIONS


def test_nothing_to_swap_gives_none(wordnet: WordNet) -> None:
    kind = kinds(wordnet, ["dog", "animal", "cat"])
    assert foil(CAPTIONS, kind, np.random.default_rng(0), wordnet) is None
    assert foil(("it is so .",), kind, np.random.default_rng(0), wordnet) is None


def test_words_are_counted_once_a_photo() -> None:
    assert counted([("a dog", "dog dog"), ("a cat",)], least=2) == ["a"]
