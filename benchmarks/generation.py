"""Pictures of 32 pixels from words: one pass of GALIP, in its row ``small``, beside the many of the denoiser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.measure import Row, Target, quiet
from diptych.backbones.diffusion.load import load_diffusion
from diptych.backbones.sources.load import load
from diptych.core import EditAsk, Run
from diptych.methods.edit.galip import GALIP, FittedGALIP
from diptych.nn.bridge_gan import BridgeGenerator
from diptych.tasks.generate import GUIDANCE, STEPS, generate

TEXT = "a red circle"
CLAIM = 120.0
"""Times as fast, says the abstract of GALIP, as the diffusion models that it is compared with there."""


@contextlib.contextmanager
def pictures(count: int) -> Iterator[Row]:
    """Yield the row of ``count`` pictures of one text; GALIP's weights are random, which changes no speed."""
    with quiet():
        backbone: Any = load("tiny")
    small = GALIP(**GALIP.card.variants["small"])
    fitted = FittedGALIP(backbone, small, BridgeGenerator(small.layout(backbone)).state_dict())
    diffusion, ask, run = load_diffusion("small", backbone), EditAsk("", TEXT, count=count), Run(workers=0)

    def denoised(guidance: float) -> Callable[[], object]:
        return torch.no_grad()(lambda: generate([TEXT], diffusion, run, count=count, guidance=guidance))

    base = f"denoiser, {STEPS} steps"
    yield Row(
        {base: denoised(GUIDANCE), f"{base}, no guidance": denoised(1.0), "galip": lambda: fitted.edit(ask, run)},
        count,
        "pictures",
        same=None,
        facts={
            "pixels": diffusion.size,
            "weights of the denoiser": sum(p.numel() for p in diffusion.net.parameters()),
            "weights of the generator": sum(w.numel() for w in fitted.weights.values()),
            "weights of the tower that helps it": sum(
                p.numel() for n, p in backbone.module().named_parameters() if n.startswith("visual.")
            ),
        },
        targets=(Target("galip / denoiser", lambda rates: rates["galip"] / rates[base], CLAIM),),
    )
