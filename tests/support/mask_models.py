"""A picture of four colours, and a small Mask2Former of random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image


def quarters() -> Image.Image:
    """Four squares of a colour each, with a little noise."""
    pixels = np.zeros((32, 48, 3))
    for (row, column), colour in zip(
        np.ndindex(2, 2), ((200, 30, 30), (30, 180, 40), (20, 40, 200), (230, 220, 60)), strict=True
    ):
        pixels[16 * row : 16 * row + 16, 24 * column : 24 * column + 24] = colour
    noisy = pixels + np.random.default_rng(0).normal(0, 4, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def mask2former() -> Any:
    config = hf.Mask2FormerConfig(
        backbone_config=hf.SwinConfig(
            image_size=32, embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4], window_size=2,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16, dim_feedforward=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=7, num_labels=3,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return hf.Mask2FormerForUniversalSegmentation(config)
