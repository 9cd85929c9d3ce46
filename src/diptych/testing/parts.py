"""Small parts of a kit with random weights: a segmenter of prompts, a denoiser, a generator, writers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from diptych.backbones.diffusion.patch_denoiser import DenoiserLayout, PatchDenoiser
from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import Ask, Backbone, Styles, Text
from diptych.testing.backbones import randomised

SAM_SIDE, SAM_PATCH = 64, 8
"""Pixels a side of the small SAM, and of its patches."""
GENERATOR = FactorGenerator(16, ("red", "blue"), ("circle", "square"))
PROPOSER = MergedCells(side=12, count=6, finest=4)


def styles(count: int = 3) -> Styles:
    """Return styles of ``GENERATOR``."""
    return GENERATOR.sample(count, torch.Generator().manual_seed(0))


def small_sam(seed: int = 0) -> Any:
    """Return a SamModel for 64 pixels with two windowed blocks, whose windows need padding, and a global one."""
    import transformers as hf

    sizes = {"image_size": SAM_SIDE, "patch_size": SAM_PATCH}
    config = hf.SamConfig(
        vision_config={
            **sizes, "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
            "num_pos_feats": 8, "window_size": 3, "global_attn_indexes": [2], "mlp_dim": 64,
        },
        prompt_encoder_config={**sizes, "hidden_size": 16, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomised(hf.SamModel(config), seed)


@cache
def sam_masks() -> SamMasks:
    """Return the small SAM as promptable masks."""
    return SamMasks(small_sam())


def random_diffusion(backbone: Backbone, seed: int = 0, size: int = 8, depth: int = 2) -> SmallDiffusion:
    """Return a denoiser of ``size`` pixels, of which every layer matters, with a backbone's text tower.

    Raises:
        MissingHook: the backbone has no text tower.
    """
    layout = DenoiserLayout(size, 2, 16, depth, 2, backbone.tower("text").width, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PatchDenoiser(layout)
        for p in net.parameters():
            if p.ndim > 1:
                torch.nn.init.normal_(p, std=0.2)
    return SmallDiffusion(layout, dict(net.state_dict()), backbone)


class Echo:
    """A writer that repeats what it is asked about.

    Example:
        >>> Echo().write([Ask(about="a cup")])[0][0].value
        'see a cup'
    """

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return one text for each request."""
        return [[Text(f"see {ask.about}")] * ask.n for ask in asks]
