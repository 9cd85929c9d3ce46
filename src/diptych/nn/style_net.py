"""A small convolutional network from a picture to a picture of the same size, which begins as the identity.

    y = sigmoid(logit(x) + n(x))

x: the picture, in [0, 1];  n: a U-Net of three scales, whose last layer begins at 0
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

CLIPPED = 0.02
"""x is kept this far from 0 and 1, where its logit is infinite."""


class StyleNet(nn.Module):
    """See the head of this file.

    Args:
        width: channels at the finest scale, twice and four times as many at the next.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList([_conv(3, w), _conv(w, 2 * w, 2), _conv(2 * w, 4 * w, 2)])
        self.middle = _conv(4 * w, 4 * w)
        self.up = nn.ModuleList([_conv(6 * w, 2 * w), _conv(3 * w, w)])
        self.last = _conv(w, 3)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 3, H, W) in (0, 1) of pictures of any size."""
        seen, h = [], 2 * x - 1
        for layer in self.down:
            h = leaky_relu(layer(h), 0.2)
            seen.append(h)
        h = leaky_relu(self.middle(h), 0.2)
        for layer, skipped in zip(self.up, reversed(seen[:-1]), strict=True):
            h = interpolate(h, size=skipped.shape[2:], mode="nearest")
            h = leaky_relu(layer(torch.cat([h, skipped], dim=1)), 0.2)
        out: Tensor = torch.sigmoid(torch.logit(x.clamp(CLIPPED, 1 - CLIPPED)) + self.last(h))
        return out


def _conv(into: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, stride, 1, padding_mode="reflect")
