from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.backbones.diffusion.patch_denoiser import denoised
from diptych.backbones.diffusion.small import SmallDiffusion, TextTokens, alphas_cumprod
from diptych.core import Backbone, Condition, MissingHook, TextDiffusion
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def test_shares_of_signal_are_products() -> None:
    betas = np.linspace(1e-4, 2e-2, 1000)
    expected = [np.prod(1 - betas[: t + 1]) for t in (0, 500, 999)]
    np.testing.assert_allclose(alphas_cumprod()[[0, 500, 999]].numpy(), expected, rtol=1e-10)


def test_a_text_is_its_own_tokens_whatever_stands_beside_it(vit: Backbone) -> None:
    diffusion = random_diffusion(vit)
    assert isinstance(diffusion, TextDiffusion)
    alone = diffusion.encode_text(["a red circle"])
    both = diffusion.encode_text(["a red circle", "a photo of a much longer text about it"])
    assert alone.mask is not None
    assert both.mask is not None
    count = int(alone.mask.sum())
    assert alone.tokens.shape[1] == count == int(both.mask[0].sum())
    torch.testing.assert_close(both.tokens[0, :count], alone.tokens[0], rtol=1e-4, atol=1e-5)
    assert int(diffusion.encode_text([""]).mask.sum()) == 2  # type: ignore[union-attr]


def test_places_of_words(vit: Backbone) -> None:
    words = TextTokens(vit)
    ids = words.ids(["a red circle on a red ground"])[0].tolist()
    places = words.places("a red circle on a red ground", "red")
    assert len(places) == 2
    assert {ids[i] for i in places} == set(words.ids(["red"])[0].tolist()[1:-1])
    assert words.places("a red circle", "blue") == ()
    assert words.places("a red circle", "") == ()
    assert words.places("a red circle", "red circle") == (2, 3)


def test_noise_follows_from_what_the_network_says(vit: Backbone) -> None:
    diffusion = random_diffusion(vit)
    g = torch.Generator().manual_seed(0)
    z, t = torch.randn(2, 3, 8, 8, generator=g), torch.tensor([10, 900])
    c = diffusion.encode_text(["a dog", "a cat"])
    eps = diffusion.eps(z, t, c)
    a = diffusion.alphas_cumprod[t].float()[:, None, None, None]
    said = diffusion.net(z, t, c.tokens, c.mask)
    picture = (z - (1 - a).sqrt() * eps) / a.sqrt()
    torch.testing.assert_close(picture, denoised(said, z, a), rtol=1e-3, atol=1e-3)


def test_gradients_reach_the_condition_and_not_the_weights(vit: Backbone) -> None:
    diffusion = random_diffusion(vit)
    tokens = diffusion.encode_text(["a dog"]).tokens.clone().requires_grad_()
    diffusion.eps(torch.randn(1, 3, 8, 8), torch.tensor([10]), Condition(tokens)).sum().backward()
    assert tokens.grad is not None
    assert float(tokens.grad.abs().sum()) > 0
    assert all(p.grad is None for p in diffusion.net.parameters())


def test_pictures_and_latents(vit: Backbone) -> None:
    diffusion = random_diffusion(vit)
    pictures = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(diffusion.from_latent(diffusion.to_latent(pictures)), pictures)
    assert diffusion.latent == (3, 8, 8)
    assert float(diffusion.from_latent(torch.full((1, 3, 8, 8), 9.0)).max()) == 1.0
    assert diffusion.fingerprint == random_diffusion(vit).fingerprint != random_diffusion(vit, seed=1).fingerprint


def test_another_text_tower_is_refused(vit: Backbone, tmp_path: Path) -> None:
    diffusion = random_diffusion(vit)
    wrong = type(diffusion.layout)(**{**diffusion.layout.as_dict(), "text": 7})
    with pytest.raises(MissingHook, match="width 7"):
        SmallDiffusion(wrong, diffusion.weights, vit)
