from __future__ import annotations

import numpy as np
import torch

from diptych.backbones.generators.load import load_generator, load_maps
from diptych.backbones.generators.maps import ThreeMapInverter
from diptych.core import LatentGenerator, MapInverter
from recipes.fresh_generators import fresh_maps

GENERATOR, _ = load_generator("small")


def test_the_shipped_encoder_finds_pictures_again_in_two_parts() -> None:
    maps = load_maps("small")
    assert isinstance(maps, MapInverter)
    assert isinstance(GENERATOR, LatentGenerator)
    assert load_maps("factors") is None
    with torch.no_grad():
        x = GENERATOR.synthesise(GENERATOR.sample(24, torch.Generator().manual_seed(5)))
        found = maps.maps(x)
        assert [tuple(m.shape[1:]) for m in found] == [(w, s, s) for w, s in zip(maps.widths, (16, 8, 4), strict=True)]
        w_plus = maps.mean + maps.codes(found)
        back = maps.invert(x)
        assert torch.equal(back.s, GENERATOR.styles(w_plus).s)
        error = (GENERATOR.synthesise(back) - x).square().mean()
    mean_picture = (x.mean(0) - x).square().mean()
    assert float(error) < 0.02 * float(mean_picture)


def test_codes_against_a_loop_over_heads() -> None:
    weights = fresh_maps(GENERATOR, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    inverter = ThreeMapInverter({**weights, "mean": torch.zeros(64)}, GENERATOR)  # type: ignore[arg-type]
    g = torch.Generator().manual_seed(1)
    maps = (torch.zeros(1, 32, 16, 16), torch.zeros(1, 64, 8, 8), torch.randn(1, 64, 4, 4, generator=g))
    found = inverter.codes(maps)[0].numpy()

    def head(i: int) -> np.ndarray:
        x = np.einsum("oc,chw->ohw", weights[f"heads.{i}.0.weight"][:, :, 0, 0].numpy(), maps[2][0].numpy())
        x = np.where(x > 0, x, 0.2 * x)
        return weights[f"heads.{i}.last.weight"].numpy() @ x.ravel()

    np.testing.assert_allclose(found[0], head(0), rtol=1e-4, atol=1e-6)
    for i in (1, 2):  # the coarse latents are computed from the coarsest map alone
        np.testing.assert_allclose(found[i], head(0) + head(i), rtol=1e-4, atol=1e-6)
    finer = inverter.codes((torch.ones(1, 32, 16, 16), *maps[1:]))[0].numpy()
    np.testing.assert_allclose(finer[:5], found[:5])
    assert np.abs(finer[5:] - found[5:]).max() > 1e-4
