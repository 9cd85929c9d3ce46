from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.backbones.generators.factors import FactorGenerator
from diptych.core import StyleGenerator, Styles
from diptych.data.scenes.sprites import COLOURS, SHAPES, shape_mask
from tests.support.refused import refused

FACTORS = FactorGenerator()


def one(colour: int, shape: int, **place: float) -> Styles:
    """A picture whose colour and shape stand alone, in the middle, on middle grey."""
    f = {
        "place": torch.zeros(1, 3),
        "shape": torch.zeros(1, 12),
        "colour": torch.zeros(1, 10),
        "ground": torch.zeros(1, 3),
    }
    f["shape"][0, shape], f["colour"][0, colour] = 20.0, 20.0
    for name, value in place.items():
        f["place"][0, ("across", "down", "size").index(name)] = value
    return FACTORS.styles(f)


@pytest.mark.parametrize("shape", range(12))
def test_a_shape_is_the_sprite_bank_s_mask_in_its_colour_on_grey(shape: int) -> None:
    drawn = FACTORS.synthesise(one(5, shape))[0]
    u = ((np.arange(64) + 0.5) / 64 - 0.5) / 0.42 + 0.5  # where the pixels' centres lie in the thing's own square
    inside, at = (u >= 0) & (u < 1), (u.clip(0, 0.999) * 192).astype(int)
    expected = np.where(inside[:, None] & inside, shape_mask(SHAPES[shape])[np.ix_(at, at)] / 255, 0)
    cover = np.abs(drawn.numpy() - 0.5).sum(0) / np.abs(np.array(COLOURS["blue"]) / 255 - 0.5).sum()
    shared, either = ((cover > 0.5) & (expected > 0.5)).sum(), ((cover > 0.5) | (expected > 0.5)).sum()
    assert shared / either > 0.9
    middle = drawn.flatten(1)[:, cover.argmax()].numpy()
    np.testing.assert_allclose(middle, np.array(COLOURS["blue"]) / 255, atol=0.02)


def test_place_and_size_move_and_grow_the_thing() -> None:
    def box(styles: Styles) -> tuple[float, float, float]:
        cover = (FACTORS.synthesise(styles)[0] - 0.5).abs().sum(0) > 0.3
        rows, columns = cover.any(1).nonzero()[:, 0].float(), cover.any(0).nonzero()[:, 0].float()
        return float(columns.mean()) / 64, float(rows.mean()) / 64, len(columns) / 64

    across, down, side = box(one(0, 1))
    assert (across, down) == pytest.approx((0.492, 0.492), abs=0.01)
    assert side == pytest.approx(0.42 * 0.8, abs=0.03)  # the square fills 0.8 of its own square
    assert box(one(0, 1, across=9.0))[0] == pytest.approx(0.692, abs=0.02)
    assert box(one(0, 1, down=-9.0))[1] == pytest.approx(0.292, abs=0.02)
    assert box(one(0, 1, size=9.0))[2] == pytest.approx(0.54 * 0.8, abs=0.03)


def test_it_is_a_style_generator_with_gradients_and_its_draws_are_the_seed_s() -> None:
    assert isinstance(FACTORS, StyleGenerator)
    a, b = (FACTORS.sample(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a.s, b.s)
    s = a.s.clone().requires_grad_()
    pictures = FACTORS.synthesise(Styles(s, a.rest))
    assert pictures.shape == (3, 3, 64, 64)
    assert 0 <= pictures.detach().min().item() <= pictures.detach().max().item() <= 1
    pictures.square().sum().backward()
    assert s.grad is not None
    assert (s.grad.abs().sum(0) > 0).all()


def test_factors_come_back_from_rotated_channels_and_draw_the_same_pictures() -> None:
    turned = FactorGenerator(rotation=3)
    plain = FACTORS.sample(4, torch.Generator().manual_seed(0))
    styles = turned.styles(FACTORS.factors(plain))
    assert not torch.allclose(styles.s, plain.s, atol=0.1)
    for name, value in FACTORS.factors(plain).items():
        torch.testing.assert_close(turned.factors(styles)[name], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned.synthesise(styles), FACTORS.synthesise(plain), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(styles.s.norm(dim=1), plain.s.norm(dim=1))
    assert turned.fingerprint != FACTORS.fingerprint


def test_captions_name_the_strongest() -> None:
    assert FACTORS.captions(one(1, 0)) == ["an orange circle"]
    assert FACTORS.captions(one(5, 3)) == ["a blue star"]


def test_bad_input_is_named() -> None:
    refused(FactorGenerator, {"size": 4}, {"colours": ("mauve",)}, {"shapes": ()})
