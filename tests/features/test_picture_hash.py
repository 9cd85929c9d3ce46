from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from diptych.features.picture_hash import bits_apart, difference_hash
from tests.support.pictures import picture


def test_bits_are_the_signs_of_differences_to_the_right() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    bits = [int(grey[r, c + 1] > grey[r, c]) for r in range(8) for c in range(8)]
    assert difference_hash(Image.fromarray(grey))[0] == int("".join(map(str, bits)), 2)


def test_the_second_hash_is_that_of_the_mirror_image() -> None:
    for i in range(4):
        image = picture(i, i).resize((72, 64))
        own, mirrored = difference_hash(image)
        assert difference_hash(ImageOps.mirror(image)) == (mirrored, own)


def test_bits_apart_counts_as_python_does() -> None:
    a, b = np.random.default_rng(1).integers(0, 2**63, (2, 5), dtype=np.uint64)
    counted = bits_apart(a, b[:3])
    assert counted.shape == (5, 3)
    assert counted.tolist() == [[bin(x ^ y).count("1") for y in b[:3].tolist()] for x in a.tolist()]
