from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from diptych.core import Condition
from diptych.nn.diffusion.noise_error import drawn_noise, noise_error
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


def test_the_error_against_its_parts_and_its_gradient(tmp_path: Path) -> None:
    diffusion = random_diffusion(small_clip(tmp_path / "vit"))
    t, noise = drawn_noise(diffusion, 3, torch.Generator().manual_seed(0))
    assert (t.shape, noise.shape) == ((3,), (3, *diffusion.latent))
    z = torch.rand(3, *diffusion.latent, generator=torch.Generator().manual_seed(1)) * 2 - 1
    condition = diffusion.encode_text(["a red star"] * 3)
    tokens = condition.tokens.clone().requires_grad_()
    found = noise_error(diffusion, z, Condition(tokens, condition.mask), t, noise)
    for b in range(3):
        a = float(diffusion.alphas_cumprod[t[b]])
        noisy = a**0.5 * z[b] + (1 - a) ** 0.5 * noise[b]
        one = Condition(condition.tokens[b : b + 1], None if condition.mask is None else condition.mask[b : b + 1])
        with torch.no_grad():
            said = diffusion.eps(noisy[None], t[b : b + 1], one)[0].numpy()
        np.testing.assert_allclose(found[b].item(), ((said - noise[b].numpy()) ** 2).mean(), rtol=1e-3)
    (grad,) = torch.autograd.grad(found.sum(), [tokens])
    assert float(grad.abs().sum()) > 0
