"""Pixels from tokens: the targets of masked image modelling, and a decoder that is guided by words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.nn.contrastive import wide

_EPS = 1e-6
"""Added to the variance of a patch; MAE's."""


def patch_pixels(pixels: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the (B, h w, 3 p q) pixels of each patch, in the order of the tokens of a tower.

    Args:
        pixels: (B, 3, H, W); the patch divides H and W.
        patch: (p, q), height and width.
    """
    return F.unfold(pixels, patch, stride=patch).transpose(1, 2)


def standardised(targets: Tensor) -> Tensor:
    """Return patches with mean 0 and variance 1 each, over the last dimension; an even patch becomes 0.

    Source: He et al. 2022 (MAE), section 4.1 (normalised pixel targets).

    Example:
        >>> standardised(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
        tensor([[-0.7071,  0.7071],
                [ 0.0000,  0.0000]])
    """
    return (targets - targets.mean(-1, keepdim=True)) / (targets.var(-1, keepdim=True) + _EPS).sqrt()


def painting_error(painted: Tensor, pixels: Tensor, hidden: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the (B,) mean squared error of the hidden patches, in variances of a patch's pixels; 0 where none is.

    Args:
        painted: (B, P, 3 p q) predictions of ``standardised`` patches.
        pixels: (B, 3, H, W).
        hidden: (B, P) bool.
        patch: (p, q), height and width.

    Source: He et al. 2022 (MAE), section 3 (the loss is on masked patches alone).

    Example:
        >>> even = torch.ones(1, 3, 2, 4)  # two patches whose target is 0
        >>> painting_error(torch.full((1, 2, 12), 3.0), even, torch.tensor([[True, False]]), (2, 2)).tolist()
        [9.0]
    """
    error = (wide(painted) - standardised(patch_pixels(wide(pixels), patch))).square().mean(-1)
    mean: Tensor = (error * hidden).sum(1) / hidden.sum(1).clamp(min=1)
    return mean


class PixelDecoder(nn.Module):
    """Predicts the pixels of all patches from image tokens, some of which are masked, and the words of a caption.

    Blocks of self-attention over patches, cross-attention to words and an MLP, on normed tokens with residuals.

    Args:
        patches: P, number of patches.
        values: numbers that are predicted for a patch, 3 p q.
        image_width: C of the image tokens.
        text_width: C' of the text tokens.
        width: of the decoder, a multiple of 64 or at most 64.

    Example:
        >>> decoder = PixelDecoder(4, 12, image_width=6, text_width=5, width=8, depth=1)
        >>> words = torch.ones(2, 3, dtype=torch.bool)
        >>> decoder(torch.zeros(2, 4, 6), torch.zeros(2, 3, 5), words).shape
        torch.Size([2, 4, 12])
    """

    def __init__(
        self, patches: int, values: int, *, image_width: int, text_width: int, width: int = 512, depth: int = 4
    ) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(image_width, width), nn.Linear(text_width, width)
        self.positions = nn.Parameter(torch.randn(patches, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, max(1, width // 64), 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, values))

    def forward(self, image: Tensor, text: Tensor, valid: Tensor) -> Tensor:
        """Return (B, P, values).

        Args:
            image: (B, P, C) image tokens.
            text: (B, L, C') text tokens.
            valid: (B, L) bool, False for padding.
        """
        h, words = self.image(image) + self.positions, self.text(text)
        for block in self.blocks:
            h = block(h, words, memory_key_padding_mask=~valid)
        pixels: Tensor = self.out(h)
        return pixels
