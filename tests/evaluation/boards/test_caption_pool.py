"""Pairs with exchanged captions, and the streams that curators read."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError, Run, Texts, UsageError
from diptych.evaluation.boards.caption_pool import CaptionPool, Captions, PhotoPair
from tests.evaluation.boards.test_curate import zipf


def test_captions_are_exchanged_by_the_seed() -> None:
    made = zipf()
    first, again, other = (made.pairs(Run(seed=seed)) for seed in (1, 1, 2))
    order, right = first.captions, first.right
    assert (order == again.captions).all()
    assert (order != other.captions).any()
    assert sorted(order.tolist()) == list(range(600))
    assert np.count_nonzero(order != np.arange(600)) == 180
    assert right[order == np.arange(600)].all()
    held = [made.texts[k] in made.captions_of[i] for i, k in zip(made.owners.tolist(), order.tolist(), strict=True)]
    assert right.tolist() == held
    assert np.count_nonzero(~right) > 120  # an exchanged caption that another of the photo's equals is right


def test_shares_and_pairs_that_say_nothing_are_refused() -> None:
    photos = Texts(("0", "1", "2", "3", "4", "5", "6"))
    said = tuple((name,) for name in "abcdefg")
    for wrong, keep in ((0.0, 0.5), (0.3, 1.0), (0.3, float("nan"))):
        with pytest.raises(UsageError, match=r"in \(0, 1\)"):
            CaptionPool("few", photos, said, wrong, keep)
    with pytest.raises(DataError, match="give at least 20"):
        CaptionPool("few", photos, said, wrong=0.1)
    with pytest.raises(DataError, match="makes no pair wrong"):
        CaptionPool("alike", photos, (("a",),) * 7).pairs(Run())


def test_a_stream_of_pairs_is_sought() -> None:
    stream = Captions(tuple(PhotoPair("abc".__getitem__, i, f"text {i}") for i in range(3)))
    assert [(n, pair.image(), pair.text()) for n, pair in stream.seek(1)] == [(1, "b", "text 1"), (2, "c", "text 2")]
