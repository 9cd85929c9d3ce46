"""Convolutional blocks before the first and after the last block of a text tower, as MobileCLIP's smallest has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import MissingHook, Spec, UsageError


class TextRepMixer(nn.Module):
    """Mixes each channel over neighbouring tokens, and then the channels of each token.

        h = x + a (BN_1(k * x) + BN_2(x) - BN_3(x))
        y = h + b MLP(BN_4(l * h))

    x: (T, C) tokens;  k, l: kernels over the tokens, one for each channel;  BN: batch norms
    a, b: (C,) scales of the two branches;  MLP: linear, GELU, linear, 4 C wide inside

    Args:
        width: C.
        kernel: tokens of k and of l, odd.

    Source: Vasu et al. 2024 (MobileCLIP), section 4.1.

    Example:
        >>> TextRepMixer(8, kernel=3).eval()(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        size: Any = {"kernel_size": (1, kernel), "padding": (0, kernel // 2), "groups": width, "bias": False}
        self.token_conv, self.channel_conv = nn.Conv2d(width, width, **size), nn.Conv2d(width, width, **size)
        self.conv_norm, self.skip_norm, self.input_norm, self.mlp_norm = (nn.BatchNorm2d(width) for _ in range(4))
        self.token_scale = nn.Parameter(1e-5 * torch.ones(width))
        self.channel_scale = nn.Parameter(1e-5 * torch.ones(width))
        self.mlp = nn.Sequential()
        for name, layer in (
            ("c_fc", nn.Linear(width, 4 * width)), ("gelu", nn.GELU()), ("c_proj", nn.Linear(4 * width, width)),
        ):  # fmt: skip
            self.mlp.add_module(name, layer)

    def mixed(self, x: Tensor) -> Tensor:
        """Return what the first branch adds to (B, T, C) tokens."""
        m = _as_map(x)
        return self.token_scale * _as_tokens(
            self.conv_norm(self.token_conv(m)) + self.skip_norm(m) - self.input_norm(m)
        )

    def mlp_input(self, h: Tensor) -> Tensor:
        """Return the (B, T, C) input of the MLP."""
        return _as_tokens(self.mlp_norm(self.channel_conv(_as_map(h))))

    def forward(self, x: Tensor, *unused: Any, attn_mask: Tensor | None = None) -> Tensor:
        """Return (B, T, C) tokens. The arguments of a block that attends have no effect."""
        h = x + self.mixed(x)
        return h + self.channel_scale * self.mlp(self.mlp_input(h))

    def get_weight_dtype(self) -> torch.dtype:
        """Return the type of the weights, as open_clip asks its blocks for it."""
        return self.token_scale.dtype


def _as_map(x: Tensor) -> Tensor:
    return x.transpose(1, 2)[:, :, None]


def _as_tokens(m: Tensor) -> Tensor:
    return m[:, :, 0].transpose(1, 2)


def added(module: nn.Module, spec: Spec, *, kernel: int) -> Spec:
    """Put a ``TextRepMixer`` before the first and after the last block of the text tower. Modified in place.

    Args:
        module: open_clip's CustomTextCLIP with a text transformer that does not hide later tokens.
        spec: what it is.
        kernel: tokens that a block mixes, odd, >= 1.

    Returns:
        The spec as it is.

    Raises:
        MissingHook: the text tower is no such tower, or has mixers already.
        UsageError: the kernel is out of its range.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise UsageError(f"kernel must be odd and at least 1, got {kernel}.")
    text: Any = getattr(module, "text", None)
    blocks = getattr(getattr(text, "transformer", None), "resblocks", None)
    if blocks is None or text.attn_mask is not None or any(isinstance(b, TextRepMixer) for b in blocks):
        raise MissingHook(
            f"The text tower of {spec.name} takes no convolutional blocks: use an open_clip CustomTextCLIP whose text "
            f"transformer has no causal mask."
        )
    width, like = text.transformer.width, next(text.parameters())
    mixers = (TextRepMixer(width, kernel).to(like.device, like.dtype).train(text.training) for _ in range(2))
    text.transformer.resblocks = nn.ModuleList([next(mixers), *blocks, next(mixers)])
    return replace(spec)
