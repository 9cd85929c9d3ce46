"""Groups of trained parameters: their optimiser, and the phase after which they step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Set

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diptych.core import ParamGroup, UsageError
from diptych.train.layers import depths
from diptych.train.schedule import Fit

SPACE = "space."
"""What the names of the parameters of a trained space begin with in the modules of pair trainees."""


def by_phase(
    groups: list[ParamGroup], parameters: Mapping[str, Tensor], phases: tuple[str, ...]
) -> dict[str, list[ParamGroup]]:
    """Return phase -> the groups that step after it, in the order of the phases.

    Args:
        groups: of the trainee.
        parameters: name -> parameter of the module.
        phases: of a step.

    Raises:
        UsageError: an unknown parameter or phase, a parameter in two groups, or no parameter at all.
    """
    names = [n for g in groups for n in g.names]
    unknown = sorted(
        {n for n in names if n not in parameters} | {p for g in groups for p in g.phases if p not in phases}
    )
    if unknown:
        raise UsageError(
            f"Parameter groups name {', '.join(unknown)}, which the module or the phases lack: name what they have."
        )
    doubled = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if doubled or not names:
        wrong = f"{', '.join(doubled)} is in several" if doubled else "there is no parameter"
        raise UsageError(f"Every trained parameter must be in one group, and {wrong}: change the groups.")
    ends = [max((phases.index(p) for p in g.phases), default=len(phases) - 1) for g in groups]
    return {
        phase: of_phase
        for i, phase in enumerate(phases)
        if (of_phase := [g for g, end in zip(groups, ends, strict=True) if end == i])
    }


def make_optimizer(groups: list[ParamGroup], parameters: Mapping[str, nn.Parameter], fit: Fit) -> Optimizer:
    """Return the optimiser of groups that step together; "factor" of a group is its factor on the learning rate."""
    sets = [
        {"params": [parameters[n] for n in names], "weight_decay": fit.decay * g.decay, "factor": g.lr * factor}
        for g in groups
        for factor, names in _by_rate(g.names, parameters, fit.layer_decay).items()
    ]
    if fit.optimizer == "sgd":
        return torch.optim.SGD(sets, lr=fit.lr, momentum=fit.betas[0])
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "radam": torch.optim.RAdam}
    optimizer: torch.optim.Optimizer = kinds[fit.optimizer](sets, lr=fit.lr, betas=fit.betas, eps=fit.eps)
    return optimizer


def _by_rate(
    names: tuple[str, ...], parameters: Mapping[str, Tensor], layer_decay: float
) -> dict[float, tuple[str, ...]]:
    """Return factor on the learning rate -> names; what belongs to no tower of the space has 1."""
    if layer_decay == 1.0:
        return {1.0: names}
    depth = depths(n.removeprefix(SPACE) for n in parameters if n.startswith(SPACE))
    rates: dict[float, tuple[str, ...]] = {}
    for name in names:
        factor = layer_decay ** depth.get(name.removeprefix(SPACE), ("", 0))[1] if name.startswith(SPACE) else 1.0
        rates[factor] = (*rates.get(factor, ()), name)
    return rates


@contextlib.contextmanager
def training(module: nn.Module, trained: set[str]) -> Iterator[None]:
    """Switch to training mode with the named parameters trainable; restore modes and flags at the end."""
    modes = {m: m.training for m in module.modules()}
    flags = {p: p.requires_grad for p in module.parameters()}
    for name, p in module.named_parameters():
        p.requires_grad_(name in trained)
    train_mode(module, {p for name, p in module.named_parameters() if name in trained})
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode
        for p, flag in flags.items():
            p.requires_grad_(flag)
            p.grad = None


def train_mode(module: nn.Module, trained: Set[nn.Parameter]) -> None:
    """Put a module in training mode, and in eval mode each part whose parameters are all frozen.

    So a frozen tower neither drops activations nor moves the running statistics of its BatchNorm. A part without
    parameters, such as a dropout, has the mode of what it belongs to.
    """
    module.train()
    frozen = [m for m in module.modules() if (parameters := list(m.parameters())) and trained.isdisjoint(parameters)]
    for m in frozen:
        m.eval()
