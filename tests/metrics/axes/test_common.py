from __future__ import annotations

import numpy as np
import torch

from diptych.core import ClassNames, Run, Scores
from diptych.features.subjects import Answers
from diptych.metrics.axes.common import half_of, mistakes, points, too_few
from tests.support.pictures import Pictures, picture


def test_halves_are_halves_and_depend_on_seed_and_purpose() -> None:
    first = half_of(101, Run(), "x")
    assert first.sum() == 50
    assert (first == half_of(101, Run(), "x")).all()
    assert (first != half_of(101, Run(), "y")).any()
    assert (first != half_of(101, Run(seed=1), "x")).any()


def test_words() -> None:
    assert points(0.1) == "Accuracy falls by 10 points"
    assert points(-0.1) == "Accuracy rises by 10 points"
    assert too_few(10) == ""
    assert too_few(3) == "3 items are too few: give 10 at least."


def test_the_surest_mistakes_come_first() -> None:
    photos = Pictures(tuple(picture(0, i) for i in range(4)))
    logits = np.array([[5.0, 0.0], [0.0, 2.0], [0.0, 9.0], [0.0, 1.0]])
    a = Answers(Scores(torch.from_numpy(logits), "logit"), logits, np.array([0, 0, 0, 0]))
    found = mistakes("own", photos, ClassNames(("cat", "dog")), a)
    assert [e.key for e in found] == [photos.key(i) for i in (2, 1, 3)]
    assert found[0].note == "cat, taken for dog"
    right = Answers(a.scores, logits, np.array([0, 1, 1, 1]))
    assert mistakes("own", photos, ClassNames(("cat", "dog")), right) == ()
