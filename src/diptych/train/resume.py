"""Which training a folder holds, and whether it may be continued."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from diptych.core import ParamGroup, UsageError
from diptych.train import checkpoint
from diptych.train.schedule import Fit

CHANGES_NOTHING = (
    *("save_every", "keep", "skip_bad_steps", "log_every", "watch_every", "log"),
    *("shard", "shard_blocks", "shard_offload", "compile"),
)
"""Settings of a fit that a training may be continued without."""
LENGTHS = ("epochs", "steps", "seconds")
"""Settings that say how long a training is."""
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
    decisive = {k: v for k, v in fit.as_dict().items() if k not in CHANGES_NOTHING}
    each = {phase: [asdict(group) for group in members] for phase, members in groups.items()}
    whole = {"fit": decisive, "steps": None if fit.seconds else steps, "seed": seed, "groups": each}
    return dict(json.loads(json.dumps(whole)))


def longer(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether ``settings`` are others in their length alone, which has become longer.

    Example:
        >>> told = [settings(Fit(0.1, 4, steps=n), n, 1, {}) for n in (3, 5)]
        >>> longer(told[0], told[1]), longer(told[1], told[0])
        (True, False)
    """
    rest = [{**s, "steps": None, "fit": {k: v for k, v in s["fit"].items() if k not in LENGTHS}} for s in (before, now)]
    units = [{name for name in LENGTHS if s["fit"].get(name) is not None} for s in (before, now)]
    if rest[0] != rest[1] or units[0] != units[1]:
        return False
    return all(now["fit"][name] > before["fit"][name] for name in units[0])


def reopened(
    out: Path | None, resume: bool, settings: Mapping[str, Any], parameters: Mapping[str, Tensor]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Return tensors and state of the newest checkpoint of a folder; None where there is none.

    Args:
        out: of the run; None: nothing is written.
        resume: whether the training is to be continued.
        settings: its ``settings``.
        parameters: name -> weights of the module as it is now.

    Raises:
        UsageError: there is one and ``resume`` is False, or it is of other frozen weights, or of other settings that
            are not those of a shorter training.
        DataError: it is damaged.
    """
    newest = checkpoint.newest(out / "checkpoints") if out else None
    if newest is None:
        return None
    if not resume:
        raise UsageError(f"{out} has a training already: give resume=True to continue it, or another folder.")
    tensors, state = checkpoint.read(newest, parameters)
    if state["settings"] != settings:
        if not longer(state["settings"], settings):
            raise UsageError(
                f"{newest} was trained with another fit, seed or groups: give the same ones, a longer fit, or another "
                f"folder."
            )
        if settings["fit"]["schedule"]["kind"] != "constant" or settings["fit"]["schedule"]["cooldown"]:
            warnings.warn(
                f"The training in {out} becomes longer, and its learning rate goes on as if it had been so from the "
                f"start: a constant rate without a cool-down changes nothing of what was trained.",
                stacklevel=2,
            )
    if checkpoint.unchanged(parameters, state["frozen"], ROUNDING).keys() != state["frozen"].keys():
        raise UsageError(f"{newest} began with other frozen weights: give the same backbone, or another folder.")
    return tensors, state
