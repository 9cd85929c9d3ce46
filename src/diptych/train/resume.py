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


class OtherTraining(UsageError):
    """A folder has a training of other settings, which cannot go on with these.

    Args:
        out: the folder.
        differences: which settings, with both values.
    """

    def __init__(self, out: Path | None, differences: str) -> None:
        super().__init__(
            f"The training in {out} has another fit, seed or groups ({differences}): give the same ones, a longer fit, "
            f"or another folder."
        )
        self.out, self.differences = out, differences

    def __reduce__(self) -> tuple[type[OtherTraining], tuple[Path | None, str]]:
        return OtherTraining, (self.out, self.differences)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return how ``settings`` differ, each with both values.

    Example:
        >>> differences(settings(Fit(0.1, 4, steps=9), 9, 1, {}), settings(Fit(0.1, 4, steps=5), 5, 2, {}))
        'steps 9, now 5; seed 1, now 2'
    """
    flat = [{**{k: v for k, v in s.items() if k not in ("fit", "groups")}, **s["fit"]} for s in (before, now)]
    names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name)]
    lines = [f"{name} {flat[0].get(name)}, now {flat[1].get(name)}" for name in names]
    return "; ".join([*lines, *(["other groups of parameters"] if before["groups"] != now["groups"] else [])])


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
        UsageError: there is one and ``resume`` is False, or it is of other frozen weights.
        OtherTraining: it is of other settings that are not those of a shorter training.
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
            raise OtherTraining(out, differences(state["settings"], settings))
        if settings["fit"]["schedule"]["kind"] != "constant" or settings["fit"]["schedule"]["cooldown"]:
            warnings.warn(
                f"The training in {out} becomes longer, and its learning rate goes on as if it had been so from the "
                f"start: a constant rate without a cool-down changes nothing of what was trained.",
                stacklevel=2,
            )
    if checkpoint.unchanged(parameters, state["frozen"], ROUNDING).keys() != state["frozen"].keys():
        raise UsageError(f"{newest} began with other frozen weights: give the same backbone, or another folder.")
    return tensors, state
