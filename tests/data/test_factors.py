from __future__ import annotations

import numpy as np
import pytest

from diptych.core import UsageError
from diptych.data.factors import FACTORS, WORDS, Altered
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures(tuple(picture(i % 4, i).resize((40, 30)) for i in range(6)))


@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_changes_pixels_and_keeps_size_and_is_the_same_twice(factor: str) -> None:
    altered = Altered(PHOTOS, factor)
    for i in range(len(PHOTOS)):
        first, again = np.asarray(altered[i]), np.asarray(altered[i])
        assert (first == again).all()
        assert first.shape == np.asarray(PHOTOS[i]).shape
        assert (first != np.asarray(PHOTOS[i])).any()
    assert WORDS[factor]
    assert len({altered.key(i) for i in range(6)} | {PHOTOS.key(i) for i in range(6)}) == 12


def test_darker_brighter_color_and_halves_against_arithmetic() -> None:
    plain = np.asarray(PHOTOS[0]).astype(float)
    assert np.abs(np.asarray(Altered(PHOTOS, "darker")[0]) - 0.3 * plain).max() <= 1
    assert np.abs(np.asarray(Altered(PHOTOS, "brighter")[0]) - np.minimum(255, 2 * plain)).max() <= 1
    hue = np.asarray(Altered(PHOTOS, "color")[0]).astype(float)
    assert np.abs(hue.max(-1) - plain.max(-1)).max() <= 2, "the value of HSV stays"
    half = np.asarray(Altered(PHOTOS, "partial_view")[0])
    kept = [(half[:, a:b] == plain[:, a:b]).all() for a, b in ((0, 20), (20, 40))]
    assert sorted(kept) == [False, True]


def test_one_pixel_and_an_unknown_factor() -> None:
    dot = Pictures((picture(0, 0).resize((1, 1)),))
    assert all(Altered(dot, factor)[0].size == (1, 1) for factor in FACTORS)
    with pytest.raises(UsageError, match="no factor 'fog': choose from pose"):
        Altered(PHOTOS, "fog")
