from __future__ import annotations

import torch

from diptych.core import Ask, Writer
from diptych.testing.backbones import small_clip
from diptych.testing.parts import GENERATOR, Echo, random_diffusion, sam_masks, small_sam, styles
from tests.support.pictures import picture


def test_parts_are_those_of_their_seed() -> None:
    assert torch.equal(styles().s, styles().s)
    assert GENERATOR.synthesise(styles(2)).shape == (2, 3, 16, 16)
    first, second = (random_diffusion(small_clip(), seed) for seed in (0, 1))
    assert first.fingerprint != second.fingerprint
    weights = [next(small_sam(seed).parameters()) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert sam_masks() is sam_masks()
    assert sam_masks().see(picture(0, 0)) is not None


def test_the_writer_echoes_as_often_as_it_is_wanted() -> None:
    assert isinstance(Echo(), Writer)
    assert [[t.value for t in texts] for texts in Echo().write([Ask(about="a"), Ask(about="b", n=2)])] == [
        ["see a"],
        ["see b", "see b"],
    ]
