"""Blocks of convolutions in a text tower: against NumPy, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from diptych.backbones.changes.apply import changed
from diptych.backbones.changes.text_mixers import TextRepMixer
from diptych.core import MissingHook, UsageError
from tests.train.test_pair import small


@torch.no_grad()
def test_a_block_against_numpy() -> None:
    torch.manual_seed(0)
    block = TextRepMixer(4, kernel=3).double().eval()
    for tensor in block.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand_like(tensor))
    x = np.random.default_rng(0).normal(size=(6, 4))

    def normed(norm: nn.BatchNorm2d, y: NDArray[np.float64]) -> NDArray[np.float64]:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, var, gain, bias = (t.numpy() for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
        return np.asarray((y - mean) / np.sqrt(var + 1e-5) * gain + bias)

    def convolved(conv: nn.Conv2d, y: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel, padded = conv.weight[:, 0, 0].numpy(), np.pad(y, ((1, 1), (0, 0)))
        return np.stack([(padded[t : t + 3] * kernel.T).sum(0) for t in range(len(y))])

    added = normed(block.conv_norm, convolved(block.token_conv, x)) + normed(block.skip_norm, x)
    h = x + block.token_scale.numpy() * (added - normed(block.input_norm, x))
    inside = torch.from_numpy(normed(block.mlp_norm, convolved(block.channel_conv, h)))
    expected = h + block.channel_scale.numpy() * block.mlp(inside).numpy()
    np.testing.assert_allclose(block(torch.from_numpy(x)[None])[0].numpy(), expected, rtol=1e-12)


def test_towers_that_hide_later_tokens_and_even_kernels_are_refused() -> None:
    with pytest.raises(MissingHook, match="takes no convolutional blocks"):
        changed(small(), "text-mixers", kernel=11)
    with pytest.raises(UsageError, match="kernel must be odd and at least 1, got 4"):
        changed(small(), "text-mixers", kernel=4)
