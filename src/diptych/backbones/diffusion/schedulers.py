"""Sampling from a pipeline by the schedulers of diffusers; our own DDIM is in ``nn.diffusion.ddim``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diptych.backbones.diffusion.pipelines import PipelineDiffusion
from diptych.core import Condition, DataError, UsageError
from diptych.core.wording import one_line

SCHEDULERS: Mapping[str, str] = {
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
}
"""Names of schedulers -> their classes in diffusers."""
DDIM = "ddim"


def check_scheduler(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        UsageError: it names none.

    Example:
        >>> check_scheduler("euler")
    """
    if name != DDIM and name not in SCHEDULERS:
        raise UsageError(f"{{scheduler}} must be {DDIM}, {', '.join(SCHEDULERS)}, got {name!r}: choose one of these.")


def sample_by(
    name: str,
    diffusion: PipelineDiffusion,
    condition: Condition,
    z: Tensor,
    *,
    steps: int,
    guidance: float,
    away: Condition | None,
    g: torch.Generator,
) -> Tensor:
    """Take the noise from latents with a scheduler of diffusers, configured as the folder's own.

    Args:
        name: in ``SCHEDULERS``.
        diffusion: the pipeline.
        condition: of B texts.
        z: (B, C, h, w) normal latents.
        steps: number of them, >= 1.
        guidance: how far the prediction goes away from that of ``away``; 1 is none.
        away: condition of B texts, away from which it goes; None: that of no text.
        g: on the CPU; schedulers that add noise draw it from this.

    Returns:
        (B, C, h, w) latents of pictures.

    Raises:
        DataError: the scheduler cannot be configured as the folder's own, or takes no such number of steps.
    """
    scheduler, device = scheduler_of(name, diffusion), condition.tokens.device
    try:
        scheduler.set_timesteps(steps, device=device)
    except ValueError as error:
        raise DataError(
            f"The scheduler {name} does not take {steps} steps ({one_line(str(error))[:120]}): give others."
        ) from error
    more = {"generator": g} if "generator" in inspect.signature(scheduler.step).parameters else {}
    if away is None and guidance != 1.0:
        away = diffusion.encode_text([""] * len(z))
    z = z.to(device) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        noisy, at = scheduler.scale_model_input(z, t), t.expand(len(z))
        out = diffusion.output(noisy, at, condition)
        if away is not None and guidance != 1.0:
            without = diffusion.output(noisy, at, away)
            out = without + guidance * (out - without)
        z = scheduler.step(out, t, z, **more).prev_sample
    return z


def scheduler_of(name: str, diffusion: PipelineDiffusion) -> Any:
    """Return a scheduler of diffusers with the configuration of the folder's own.

    Raises:
        UsageError: the name is none.
        DataError: the configuration does not fit.
    """
    import diffusers

    check_scheduler(name)
    kind = getattr(diffusers, "DDIMScheduler" if name == DDIM else SCHEDULERS[name])
    try:
        return kind.from_config(dict(diffusion.scheduler))
    except (ValueError, TypeError, NotImplementedError) as error:
        words = one_line(str(error))[:120]
        raise DataError(
            f"The scheduler {name} cannot be configured as that of {diffusion.folder} ({words}): choose another "
            f"{{scheduler}}."
        ) from error
