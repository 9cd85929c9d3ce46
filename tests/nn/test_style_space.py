from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from diptych.backbones.generators.factors import FactorGenerator
from diptych.core import Run, Styles, UsageError
from diptych.nn.style_space import (
    direction_loss,
    drawn,
    patch_loss,
    photo_side,
    pictures_of,
    pooled,
    relevance,
    seen,
    seen_pooled,
    total_variation,
)
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures

FACTORS = FactorGenerator(8, ("red", "blue"), ("circle", "square"))
IMAGE = SmallBackbone().image


def test_relevance_against_a_loop() -> None:
    styles, step = FACTORS.sample(3, torch.Generator().manual_seed(0)), torch.linspace(0.5, 2, 10)
    result = relevance(FACTORS, IMAGE, styles, step, Run(batch=2))
    assert result.shape == (10, 16)
    for c in range(10):
        total = np.zeros(16)
        for p in range(3):
            ends = []
            for sign in (1, -1):
                s = styles.s[p].clone()
                s[c] += sign * step[c]
                picture = FACTORS.synthesise(Styles(s[None], styles.rest[:1]))
                v = IMAGE.encode(IMAGE.inputs([picture[0]]))[0].detach().double().numpy()
                ends.append(v / np.linalg.norm(v))
            change = ends[0] - ends[1]
            total += change / max(np.linalg.norm(change), 1e-5)
        np.testing.assert_allclose(result[c].detach().numpy(), total / 3, atol=2e-3)


def test_a_channel_that_nobody_sees_has_no_relevance() -> None:
    class Blind(FactorGenerator):
        def synthesise(self, styles: Styles, /) -> torch.Tensor:
            return super().synthesise(Styles(styles.s * (torch.arange(10) != 9), styles.rest))

    result = relevance(
        Blind(8, ("red", "blue"), ("circle", "square")),
        IMAGE,
        FACTORS.sample(2, torch.Generator()),
        torch.ones(10),
        Run(),
    )
    assert torch.equal(result[9], torch.zeros(16))
    assert (result[:9].norm(dim=1) > 0).all()
    assert (result.norm(dim=1) <= 1 + 1e-5).all()


def test_pictures_of_another_size_are_brought_to_the_encoder_s() -> None:
    pictures = drawn(FactorGenerator(24), FactorGenerator(24).sample(3, torch.Generator().manual_seed(0)), Run(batch=2))
    vectors = seen(IMAGE, pictures, Run(batch=2)).detach()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(seen(IMAGE, pictures[1:2], Run()).detach(), vectors[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_a_picture_with_one_side_of_the_encoder_s_is_resized_too(shape: tuple[int, int]) -> None:
    encoder, picture = SmallBackbone().image, torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    square = interpolate(picture, size=(8, 8), mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(seen(encoder, picture, Run()), seen(encoder, square, Run()))


def test_photos_are_cut_to_their_middle_square() -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = (255, 0, 51)
    found = pictures_of(Pictures((Image.fromarray(wide),)), 4)
    assert found.shape == (1, 3, 4, 4)
    assert found[0, :, 1, 1].tolist() == pytest.approx([1.0, 0.0, 0.2])


def test_losses_against_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    after, before, d = torch.randn(5, 8, generator=g), torch.randn(1, 8, generator=g), torch.randn(8, generator=g)
    step = (after - before).numpy()
    cos = step @ d.numpy() / np.linalg.norm(step, axis=1) / np.linalg.norm(d.numpy())
    np.testing.assert_allclose(direction_loss(after, before, d[None]).numpy(), 1 - cos, rtol=1e-4)
    r = np.array([0.2, 0.7, 1.4])
    assert patch_loss(torch.tensor(r), 0.7).item() == pytest.approx((0.7 + 1.4) / 3)
    y = torch.rand(1, 3, 4, 5, generator=g)
    a = y.numpy()
    differences = (a[..., 1:] - a[..., :-1], a[..., 1:, :] - a[..., :-1, :])
    diagonals = (a[..., 1:, 1:] - a[..., :-1, :-1], a[..., :-1, 1:] - a[..., 1:, :-1])
    expected = sum(np.sqrt((x**2).sum()) for x in (*differences, *diagonals))
    assert total_variation(y).item() == pytest.approx(float(expected), rel=1e-5)
    assert total_variation(torch.ones(1, 3, 4, 4)).item() < 1e-4


def test_large_pictures_are_drawn_a_few_at_once() -> None:
    batches = []

    class Large(FactorGenerator):
        def synthesise(self, styles: Styles, /) -> torch.Tensor:
            batches.append(len(styles))
            return torch.zeros(len(styles), 1, 1, 1).expand(-1, 3, self.size, self.size)

    generator = Large(1024)
    assert len(drawn(generator, generator.sample(5, torch.Generator()), Run(batch=32))) == 5
    assert batches == [2, 2, 1]


@pytest.mark.parametrize(("side", "size"), [(64, 14), (16, 14), (10, 15), (12, 12)])
def test_pooled_pixels_against_torch(side: int, size: int) -> None:
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    times = size // np.gcd(side, size)
    large = interpolate(x, scale_factor=float(times), mode="nearest")
    expected = torch.nn.functional.avg_pool2d(large, side * times // size)
    torch.testing.assert_close(pooled(x, size), expected)


def test_pooled_pixels_enter_without_the_recipe() -> None:
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert IMAGE.size is not None
    expected = torch.nn.functional.normalize(IMAGE.encode(pooled(x, IMAGE.size) * 2 - 1), dim=1)
    torch.testing.assert_close(seen_pooled(IMAGE, x, Run(batch=2)), expected)
    assert not torch.allclose(expected, seen(IMAGE, x, Run()), atol=1e-3)
    assert seen_pooled(IMAGE, x[:0], Run()).shape == (0, 16)

    class Any(type(IMAGE)):  # type: ignore[misc]
        size = None

    with pytest.raises(UsageError, match="of one size"):
        seen_pooled(Any.__new__(Any), x, Run())


def test_an_inverter_may_read_photos_of_its_own_side() -> None:
    class Own:
        size = 256

    assert photo_side(Own(), FACTORS) == 256  # type: ignore[arg-type]
    assert photo_side(object(), FACTORS) == 8  # type: ignore[arg-type]
