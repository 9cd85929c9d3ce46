"""The nearest caption: the pool's sentences in the order of a NumPy loop over cosines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych.core import Evidence, Kit, MissingEvidence, Run, Text, TextPool
from diptych.methods.caption.nearest_caption import NearestCaption
from tests.support.dense_colours import DenseColours
from tests.support.pictures import Pictures, picture

TEXTS = ("a red patch of paint", "a green patch , warm", "a blue wall", "a yellow wall by the sea")
EVIDENCE: Evidence[Any] = Evidence(texts=TextPool({"a": tuple(map(Text, TEXTS[:2])), "b": tuple(map(Text, TEXTS[2:]))}))
IMAGES = Pictures(tuple(picture(i, i) for i in range(4)))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_sentences_come_in_the_order_of_their_cosines() -> None:
    space = DenseColours()
    found = NearestCaption().fit(Kit({"main": space}), EVIDENCE, Run()).caption(IMAGES, Run(), n=3)
    texts = space.text.encode(space.text.inputs(list(TEXTS))).numpy()
    firsts = set()
    for i, own in enumerate(found):
        image = space.image.encode(space.image.inputs([IMAGES[i]])).numpy()[0]
        order = sorted(range(len(TEXTS)), key=lambda k, image=image: -cosine(image, texts[k]))
        assert [t.value for t in own] == [TEXTS[k] for k in order[:3]]
        assert {t.writer for t in own} == {"nearest-caption"}
        firsts.add(own[0].value)
    assert len(firsts) > 1  # images differ, and so do their captions


def test_more_than_the_pool_holds_is_the_pool() -> None:
    fitted = NearestCaption().fit(Kit({"main": DenseColours()}), EVIDENCE, Run())
    assert [len(own) for own in fitted.caption(IMAGES, Run(), n=9)] == [4, 4, 4, 4]
    assert fitted.caption(Pictures(()), Run()) == []


def test_a_pool_is_needed() -> None:
    with pytest.raises(MissingEvidence):
        NearestCaption().fit(Kit({"main": DenseColours()}), Evidence(), Run())
