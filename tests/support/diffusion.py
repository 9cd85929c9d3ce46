"""A small denoiser with random weights, as a part of tests."""

from __future__ import annotations

import torch

from diptych.backbones.diffusion.patch_denoiser import DenoiserLayout, PatchDenoiser
from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.core import Backbone


def random_diffusion(backbone: Backbone, seed: int = 0, size: int = 8, depth: int = 2) -> SmallDiffusion:
    """Return a denoiser of ``size`` pixels whose every layer matters."""
    layout = DenoiserLayout(size, 2, 16, depth, 2, backbone.tower("text").width, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PatchDenoiser(layout)
        for p in net.parameters():
            if p.ndim > 1:
                torch.nn.init.normal_(p, std=0.2)
    return SmallDiffusion(layout, dict(net.state_dict()), backbone)
