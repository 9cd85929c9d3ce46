"""Sampling from a pipeline by the schedulers of diffusers; our own DDIM is in ``nn.diffusion.ddim``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diptych.backbones.diffusion.flow_pipelines import FlowDiffusion
from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.core import Condition, DataError, TextDiffusion, UsageError
from diptych.core.wording import one_line

SCHEDULERS: Mapping[str, str] = {
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
}
"""Names of schedulers of pipelines that predict noise or v -> their classes in diffusers."""
DDIM = "ddim"
EULER_FLOW = "euler-flow"
FLOW_SCHEDULERS: Mapping[str, str] = {
    EULER_FLOW: "FlowMatchEulerDiscreteScheduler",
    "heun-flow": "FlowMatchHeunDiscreteScheduler",
}
"""Names of schedulers of pipelines of flow matching -> their classes in diffusers."""


def check_scheduler(name: str, *, flow: bool | None = None) -> None:
    """Refuse an unknown name, and one of the other kind of denoisers.

    Args:
        name: of a scheduler.
        flow: whether the denoiser is of flow matching; None: not known yet.

    Raises:
        UsageError: it names none, or none for this denoiser.

    Example:
        >>> check_scheduler("euler")
    """
    noise = (DDIM, *SCHEDULERS)
    if name not in noise and name not in FLOW_SCHEDULERS:
        raise UsageError(
            f"{{scheduler}} must be {', '.join(noise)}, or of flow matching {' or '.join(FLOW_SCHEDULERS)}, got "
            f"{name!r}: choose one of these."
        )
    if flow and name in noise:
        raise UsageError(
            f"The scheduler {name} is for denoisers that predict noise, and this one is of flow matching: give "
            f"{' or '.join(FLOW_SCHEDULERS)} as {{scheduler}}, or leave it out."
        )
    if flow is False and name in FLOW_SCHEDULERS:
        raise UsageError(
            f"The scheduler {name} is for denoisers of flow matching, and this one predicts noise: give one of "
            f"{', '.join(noise)} as {{scheduler}}, or leave it out."
        )


def scheduler_for(diffusion: TextDiffusion, name: str | None = None) -> str:
    """Return the scheduler that is named, or else the usual one of a denoiser: ddim, or euler-flow for flow matching.

    Raises:
        UsageError: the name is none, or none for this denoiser.
    """
    flow = isinstance(diffusion, FlowDiffusion)
    if name is None:
        return EULER_FLOW if flow else DDIM
    check_scheduler(name, flow=flow)
    return name


def sample_by(
    name: str,
    diffusion: Pipeline,
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
        name: in ``SCHEDULERS``, or in ``FLOW_SCHEDULERS`` for a pipeline of flow matching.
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
        scheduler.set_timesteps(steps, device=device, **_shift(scheduler, diffusion))
    except ValueError as error:
        raise DataError(
            f"The scheduler {name} does not take {steps} steps ({one_line(str(error))[:120]}): give others."
        ) from error
    more = {"generator": g} if "generator" in inspect.signature(scheduler.step).parameters else {}
    if away is None and guidance != 1.0:
        away = diffusion.encode_text([""] * len(z))
    scales = not isinstance(diffusion, FlowDiffusion)  # latents of flow matching are read as they are
    z = z.to(device) * (scheduler.init_noise_sigma if scales else 1.0)
    for t in scheduler.timesteps:
        noisy, at = scheduler.scale_model_input(z, t) if scales else z, t.expand(len(z))
        out = diffusion.output(noisy, at, condition)
        if away is not None and guidance != 1.0:
            without = diffusion.output(noisy, at, away)
            out = without + guidance * (out - without)
        z = scheduler.step(out, t, z, **more).prev_sample
    return z


def scheduler_of(name: str, diffusion: Pipeline) -> Any:
    """Return a scheduler of diffusers with the configuration of the folder's own.

    Raises:
        UsageError: the name is none.
        DataError: the configuration does not fit.
    """
    import diffusers

    check_scheduler(name, flow=isinstance(diffusion, FlowDiffusion))
    kind = getattr(diffusers, {DDIM: "DDIMScheduler", **SCHEDULERS, **FLOW_SCHEDULERS}[name])
    try:
        return kind.from_config(dict(diffusion.scheduler))
    except (ValueError, TypeError, NotImplementedError) as error:
        words = one_line(str(error))[:120]
        raise DataError(
            f"The scheduler {name} cannot be configured as that of {diffusion.folder} ({words}): choose another "
            f"{{scheduler}}."
        ) from error


def _shift(scheduler: Any, diffusion: Pipeline) -> dict[str, float]:
    """Return mu, by which steps are shifted where a scheduler of flow matching does that by the picture's size.

        mu = base + (greatest - base) (n - n_base) / (n_greatest - n_base),   n: cells of the picture

    Raises:
        DataError: the folder asks for that, and the scheduler has no such shift.
    """
    config = scheduler.config
    if not isinstance(diffusion, FlowDiffusion) or not config.get("use_dynamic_shifting", False):
        return {}
    if "mu" not in inspect.signature(scheduler.set_timesteps).parameters:
        raise DataError(
            f"{diffusion.folder} shifts its steps by the size of the picture, which {type(scheduler).__name__} does "
            f"not: give {EULER_FLOW} as {{scheduler}}, or leave it out."
        )
    low, high = config.base_image_seq_len, config.max_image_seq_len
    share = (diffusion.cells - low) / (high - low)
    return {"mu": config.base_shift + share * (config.max_shift - config.base_shift)}
