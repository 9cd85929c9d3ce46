"""Who learns, with which optimiser, and after which phase it steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diptych.core.errors import UsageError
from diptych.core.train import ParamGroup
from diptych.train.schedule import Fit


def by_phase(
    groups: list[ParamGroup], parameters: Mapping[str, Tensor], phases: tuple[str, ...]
) -> dict[str, list[ParamGroup]]:
    """Return the phase after which groups step -> those groups, in the order of the phases.

    Raises:
        UsageError: an unknown parameter or phase, a parameter in two groups, or no parameter at all.
    """
    names = [n for g in groups for n in g.names]
    unknown = sorted(
        {n for n in names if n not in parameters} | {p for g in groups for p in g.phases if p not in phases}
    )
    if unknown:
        raise UsageError(f"Parameter groups name what the module or the phases lack: {', '.join(unknown)}.")
    doubled = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if doubled or not names:
        raise UsageError(f"Every trained parameter belongs in one group: {', '.join(doubled) or 'there is none'}.")
    ends = [max((phases.index(p) for p in g.phases), default=len(phases) - 1) for g in groups]
    return {
        phase: own
        for i, phase in enumerate(phases)
        if (own := [g for g, end in zip(groups, ends, strict=True) if end == i])
    }


def make_optimizer(groups: list[ParamGroup], parameters: Mapping[str, nn.Parameter], fit: Fit) -> Optimizer:
    """Return the optimiser of the groups that step together; each keeps its factor on the learning rate as
    ``"factor"``.
    """
    sets = [
        {"params": [parameters[n] for n in g.names], "weight_decay": fit.decay * g.decay, "factor": g.lr}
        for g in groups
    ]
    if fit.optimizer == "sgd":
        return torch.optim.SGD(sets, lr=fit.lr, momentum=fit.betas[0])
    kind = torch.optim.AdamW if fit.optimizer == "adamw" else torch.optim.Adam
    return kind(sets, lr=fit.lr, betas=fit.betas, eps=fit.eps)


@contextlib.contextmanager
def training(module: nn.Module, trained: set[str]) -> Iterator[None]:
    """Switch to training with all else frozen, and leave modes and flags as they were."""
    modes = {m: m.training for m in module.modules()}
    flags = {p: p.requires_grad for p in module.parameters()}
    module.train()
    for name, p in module.named_parameters():
        p.requires_grad_(name in trained)
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode
        for p, flag in flags.items():
            p.requires_grad_(flag)
            p.grad = None
