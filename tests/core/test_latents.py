from __future__ import annotations

import torch

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.load import load_generator, load_maps
from diptych.core import Inverter, LatentGenerator, MapInverter, StyleGenerator


def test_the_small_generator_has_latents_and_the_factor_generator_has_none() -> None:
    small, inverter = load_generator("small")
    assert isinstance(small, LatentGenerator)
    assert isinstance(FactorGenerator(8), StyleGenerator)
    assert not isinstance(FactorGenerator(8), LatentGenerator)
    w = torch.zeros(2, small.latents, small.style_dim)
    assert small.styles(w).s.shape == (2, sum(small.channels))
    maps = load_maps("small")
    assert isinstance(maps, MapInverter)
    assert isinstance(inverter, Inverter)
    assert not isinstance(inverter, MapInverter)
    assert (len(maps.widths), maps.mean.shape) == (3, (small.style_dim,))
