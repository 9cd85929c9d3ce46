"""Which training a folder holds, and whether it may be continued."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from diptych.core import ParamGroup, UsageError
from diptych.train import checkpoint
from diptych.train.schedule import Fit

CHANGES_NOTHING = ("save_every", "keep", "skip_bad_steps", "log_every", "watch_every", "log", "shard", "compile")
"""Settings of a fit that a training may be continued without."""
ROUNDING = 1e-6
"""How far the sum of a frozen weight may be off."""


def settings(fit: Fit, steps: int, seed: int, groups: Mapping[str, Sequence[ParamGroup]]) -> dict[str, Any]:
    """Return what two runs of one training have in common, as it is read from a checkpoint.

    Args:
        fit: its settings.
        steps: of the whole training; left out where seconds say how long it is.
        seed: of the run.
        groups: phase -> its groups.
    """
    told = {k: v for k, v in fit.as_dict().items() if k not in CHANGES_NOTHING}
    each = {phase: [asdict(group) for group in own] for phase, own in groups.items()}
    whole = {"fit": told, "steps": None if fit.seconds else steps, "seed": seed, "groups": each}
    return dict(json.loads(json.dumps(whole)))


def reopened(
    out: Path | None, resume: bool, own: Mapping[str, Any], parameters: Mapping[str, Tensor]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Return tensors and state of the newest checkpoint of a folder; None where there is none.

    Args:
        out: of the run; None: nothing is written.
        resume: whether the training is to be continued.
        own: its ``settings``.
        parameters: name -> weights of the module as it is now.

    Raises:
        UsageError: there is one and ``resume`` is False, or it is of other settings or other frozen weights.
        DataError: it is damaged.
    """
    newest = checkpoint.newest(out / "checkpoints") if out else None
    if newest is None:
        return None
    if not resume:
        raise UsageError(f"{out} has a training already: give resume=True to continue it, or another folder.")
    tensors, state = checkpoint.read(newest, parameters)
    if state["settings"] != own:
        raise UsageError(
            f"{newest} was trained with another fit, seed or groups: give the same ones, or another folder."
        )
    if checkpoint.unchanged(parameters, state["frozen"], ROUNDING).keys() != state["frozen"].keys():
        raise UsageError(f"{newest} began with other frozen weights: give the same backbone, or another folder.")
    return tensors, state
