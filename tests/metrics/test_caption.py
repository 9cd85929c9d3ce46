from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core import DataError
from diptych.metrics.caption import bleu, cider_d, clip_score, distinct, ref_clip_score, repetition, rouge_l, tokens

CANDIDATES = ["a dog runs on the grass", "two men ride a bike", "a red car", "the cat sleeps on a bed near the window"]
REFERENCES = [
    ["a dog is running on grass", "the brown dog runs on the green grass"],
    ["two men are riding bikes", "two people ride a bike down the street", "men on a bike"],
    ["a red car is parked", "the car is red"],
    ["a cat sleeps on the bed", "cat on a bed near a window"],
]


def test_bleu_against_nltk_and_coco_caption() -> None:
    from nltk.translate.bleu_score import corpus_bleu
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    split = [[r.split() for r in own] for own in REFERENCES]
    for n in (1, 2, 3):  # nltk counts a 4-gram for "a red car", which has none
        assert bleu(CANDIDATES, REFERENCES, n) == pytest.approx(
            corpus_bleu(split, [c.split() for c in CANDIDATES], [1 / n] * n)
        )
    coco = BleuScorer(n=4)
    for c, own in zip(CANDIDATES, REFERENCES, strict=True):
        coco += (c, own)
    expected = coco.compute_score(option="closest", verbose=0)[0]
    assert [bleu(CANDIDATES, REFERENCES, n) for n in (1, 2, 3, 4)] == pytest.approx(expected)
    assert bleu(["a cat"], [["a cat"]]) == 0.0  # no 3-gram
    assert bleu(
        ["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]], 1
    ) == pytest.approx(2 / 7)


def test_rouge_against_coco_caption_and_rouge_score() -> None:
    from pycocoevalcap.rouge.rouge import Rouge
    from rouge_score import rouge_scorer

    coco = Rouge()
    expected = [coco.calc_score([c], own) for c, own in zip(CANDIDATES, REFERENCES, strict=True)]
    assert rouge_l(CANDIDATES, REFERENCES) == pytest.approx(expected)
    one = [[own[0]] for own in REFERENCES]
    plain = rouge_scorer.RougeScorer(["rougeL"])
    expected = [plain.score(own[0], c)["rougeL"].fmeasure for c, own in zip(CANDIDATES, one, strict=True)]
    assert rouge_l(CANDIDATES, one, beta=1.0) == pytest.approx(expected)
    assert rouge_l(["x"], [["y"]]).tolist() == [0.0]


def cider_of_coco(candidates: list[str], references: list[list[str]]) -> list[float]:
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer(n=4, sigma=6.0)
    for c, own in zip(candidates, references, strict=True):
        scorer += (c, own)
    return list(scorer.compute_score()[1])


def test_cider_against_coco_caption() -> None:
    assert cider_d(CANDIDATES, REFERENCES) == pytest.approx(cider_of_coco(CANDIDATES, REFERENCES))
    same = [own[0] for own in REFERENCES]
    assert cider_d(same, [[s] for s in same])[:2] == pytest.approx([10.0, 10.0])
    assert cider_d(["a dog"], [["a dog"]]).tolist() == [0.0]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ab ", min_size=1, max_size=12), st.text("abc ", min_size=1, max_size=12)),
        min_size=2,
        max_size=5,
    )
)
def test_cider_of_any_words(pairs: list[tuple[str, str]]) -> None:
    texts = [(" ".join(a.split()) or "a", " ".join(b.split()) or "b") for a, b in pairs]
    candidates, references = [a for a, _ in texts], [[b] for _, b in texts]
    assert cider_d(candidates, references) == pytest.approx(cider_of_coco(candidates, references), abs=1e-9)


def test_clip_score() -> None:
    x = np.array([[3.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    t = np.array([[0.5, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    assert clip_score(x, t) == pytest.approx([2.5, 2.5 * 0.5**0.5, 0.0])
    with pytest.raises(DataError, match="of one size"):
        clip_score(x, t[:2])


def test_tokens_and_bad_sizes() -> None:
    assert tokens("A dog's ball, on Grass .") == ["a", "dog's", "ball", "on", "grass"]
    for call in (bleu, rouge_l, cider_d):
        for candidates, references in ((["a"], []), ([], []), (["a"], [[]])):
            with pytest.raises(DataError, match="at least one reference"):
                call(candidates, references)


def test_ref_clip_score_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    references = [rng.normal(size=(k + 1, 6)) for k in range(4)]
    images[3] = -texts[3]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return max(0.0, float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))

    expected = []
    for z, t, own in zip(images, texts, references, strict=True):
        a, b = 2.5 * cosine(z, t), max(cosine(t, r) for r in own)
        expected.append(2 * a * b / (a + b) if a and b else 0.0)
    assert ref_clip_score(images, texts, references) == pytest.approx(np.array(expected))
    assert ref_clip_score(texts, texts, [t[None] for t in texts]) == pytest.approx(2 * 2.5 / 3.5)
    with pytest.raises(DataError, match="at least one reference"):
        ref_clip_score(images, texts, [*references[:3], np.zeros((0, 6))])


SAID = ["A dog, a dog and a dog.", "a red car", "", "the the the"]


def test_against_ngrams_of_nltk() -> None:
    from nltk.util import ngrams

    split = [["a", "dog", "a", "dog", "and", "a", "dog"], ["a", "red", "car"], [], ["the"] * 3]
    for n in (1, 2, 4):
        grams = [list(ngrams(words, n)) for words in split]
        every = [g for own in grams for g in own]
        assert distinct(SAID, n) == pytest.approx(len(set(every)) / len(every))
        expected = [1 - len(set(own)) / len(own) if own else 0.0 for own in grams]
        assert repetition(SAID, n) == pytest.approx(np.array(expected))


def test_limits_and_bad_input() -> None:
    assert distinct(["a b", "c d"], 2) == 1.0
    assert distinct(["a"], 2) == 0.0
    for measure in (distinct, repetition):
        with pytest.raises(DataError, match="got 0"):
            measure([])
        with pytest.raises(DataError, match="n = 0"):
            measure(["a"], 0)
