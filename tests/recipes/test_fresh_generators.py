from __future__ import annotations

import torch

from diptych.backbones.generators.load import ConvInverter
from diptych.backbones.generators.maps import ThreeMapInverter
from diptych.backbones.generators.stylegan2 import StyleGAN2
from recipes.fresh_generators import fresh_encoder, fresh_maps, fresh_weights

WIDTHS = {4: 4, 8: 4, 16: 3, 32: 3}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_generator_decides_all_draws() -> None:
    one, again, other = (fresh_weights(32, 8, WIDTHS, 1, seeded(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["input.input"], other["input.input"])


def test_both_inverters_read_pictures_of_a_fresh_generator() -> None:
    generator = StyleGAN2(fresh_weights(32, 8, WIDTHS, 1, seeded(0)))
    pictures = generator.synthesise(generator.sample(2, seeded(1)))
    assert pictures.shape == (2, 3, 32, 32)
    plain = ConvInverter(fresh_encoder(8, seeded(2)), generator)
    mapped = ThreeMapInverter({**fresh_maps(generator, seeded(3)), "mean": torch.zeros(8)}, generator)
    for inverter in (plain, mapped):
        back = generator.synthesise(inverter.invert(pictures))
        assert back.shape == pictures.shape
        assert torch.isfinite(back).all()
