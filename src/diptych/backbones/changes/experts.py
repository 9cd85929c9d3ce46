"""Mixtures of experts in the place of the MLPs of the last blocks of both towers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from diptych.backbones.changes.apply import changed
from diptych.backbones.towers.of import tower_of
from diptych.core import Backbone, MissingHook, Run, Spec, UsageError

Last: TypeAlias = Mapping[str, int | None]
"""Modality -> number of last blocks; None: all."""


class MixtureOfExperts(nn.Module):
    """Sends each token to a few of several MLPs, and returns the weighted sum of what they give.

        y = sum over e in E_k of p_e / (sum over E_k of p) f_e(h),     p = softmax(W h)

    h: a normed token, (C,);  f_e: MLP of expert e;  W: (N, C) router
    E_k: the k experts with the largest p

    Experts that are all equal give the MLP's own output for every router, since the weights sum to 1.

    Args:
        experts: N MLPs from (..., C) to (..., C).
        width: C.
        top: k, in [1, N].

    Source: Zhang et al. 2024 (CLIP-MoE), section 3.2.

    Example:
        >>> mlp = nn.Linear(4, 4)
        >>> mixture = MixtureOfExperts([mlp, mlp, mlp], width=4, top=2)
        >>> h = torch.randn(2, 5, 4)
        >>> torch.allclose(mixture(h), mlp(h), atol=1e-6)
        True
    """

    def __init__(self, experts: Sequence[nn.Module], width: int, top: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = nn.Linear(width, len(experts), bias=False)
        self.top = top

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., C) outputs of (..., C) tokens."""
        tokens = h.reshape(-1, h.shape[-1])
        weights, chosen = self.router(tokens).float().softmax(-1).topk(self.top, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(tokens)
        for e, expert in enumerate(self.experts):
            rows, ranks = torch.nonzero(chosen == e, as_tuple=True)
            part = weights[rows, ranks, None] * expert(tokens[rows])
            out = out.index_add(0, rows, part.to(out.dtype))
        return out.reshape(h.shape)


def mlps(module: nn.Module, spec: Spec, last: Last) -> dict[str, nn.Module]:
    """Return "image/0" and so on -> the block that owns the MLP, for the last blocks of both towers.

    Raises:
        MissingHook: a tower cannot be cut, or a block has no ``mlp``.
        UsageError: there are fewer blocks.
    """
    modules: dict[str, nn.Module] = {}
    for modality, count in last.items():
        layers = tower_of(module, modality, spec).layers  # type: ignore[attr-defined]  # every tower of ours is cut
        first = 0 if count is None else len(layers) - count
        if first < 0:
            raise UsageError(f"{count} blocks are more than the {len(layers)} of the {modality} tower: give fewer.")
        modules |= {f"{modality}/{i}": layers[i].module for i in range(first, len(layers))}
    if not all(isinstance(getattr(block, "mlp", None), nn.Module) for block in modules.values()):
        raise MissingHook(f"The blocks of {spec.name} have no MLP that can be replaced: use an open_clip ViT backbone.")
    return modules


def mixed(
    module: nn.Module, spec: Spec, *, experts: int, top: int, image: int | None, text: int | None, seed: int
) -> Spec:
    """Replace the MLPs of the last blocks by mixtures, whose experts are equal copies of them. Modified in place.

    Args:
        module: of a backbone whose two towers can be cut in blocks.
        spec: what it is.
        experts: N, >= 1.
        top: k, in [1, N].
        image: number of blocks in the image tower; None: all.
        text: number of blocks in the text tower; None: all.
        seed: of the routers' weights.

    Returns:
        The spec as it is.

    Raises:
        MissingHook: a tower cannot be cut, or its blocks have no MLP, or they are mixtures already.
        UsageError: a number is out of its range.
    """
    if not 1 <= top <= experts:
        raise UsageError(f"top must be in [1, {experts}], the number of experts, got {top}: give another.")
    blocks = mlps(module, spec, {"image": image, "text": text})
    if mixtures(module):
        raise MissingHook(f"{spec.name} has experts already: start from a backbone without.")
    with Run(seed=seed).seeded("routers"):
        for block in blocks.values():
            mlp: Any = block.mlp
            like = next(mlp.parameters())
            copies = [copy.deepcopy(mlp) for _ in range(experts)]
            width = like.shape[1]
            mixture = MixtureOfExperts(copies, width, top).to(device=like.device, dtype=like.dtype)
            block.mlp = mixture.train(mlp.training)
    return replace(spec)


def mixtures(module: nn.Module) -> list[MixtureOfExperts]:
    """Return the mixtures inside a module, in its order."""
    return [m for m in module.modules() if isinstance(m, MixtureOfExperts)]


@contextlib.contextmanager
def routed(among: Iterable[MixtureOfExperts]) -> Iterator[list[Tensor]]:
    """Collect the (n, N) router logits of every mixture that runs within the block, one tensor a call."""
    logits: list[Tensor] = []

    def keep(router: nn.Module, inputs: Any, output: Tensor) -> None:
        logits.append(output)

    hooks = [mixture.router.register_forward_hook(keep) for mixture in among]
    try:
        yield logits
    finally:
        for hook in hooks:
            hook.remove()


def mlp_names(space: Backbone, last: Last) -> frozenset[str]:
    """Return the names of the parameters of the MLPs of the last blocks."""
    blocks: list[Any] = list(mlps(space.module(), space.spec, last).values())
    inside = {id(p) for block in blocks for p in block.mlp.parameters()}
    return frozenset(n for n, p in space.module().named_parameters() if id(p) in inside)


def merged(spaces: Sequence[Backbone], top: int, last: Last, seed: int) -> Backbone:
    """Return the mixture of N models of one architecture; all but the MLPs of the last blocks is of the first one.

    Args:
        spaces: the N models.
        top: k, experts a token.
        last: modality "image" and "text" -> number of blocks.
        seed: of the routers' weights.
    """
    copy = changed(
        spaces[0], "experts", experts=len(spaces), top=top, image=last["image"], text=last["text"], seed=seed
    )
    module = copy.module()
    blocks: dict[str, Any] = dict(mlps(module, copy.spec, last))
    for e, space in enumerate(spaces):
        theirs: dict[str, Any] = dict(mlps(space.module(), space.spec, last))
        for name, block in blocks.items():
            block.mlp.experts[e].load_state_dict(theirs[name].mlp.state_dict())
    rebuilt = copy.rebuild(module, copy.spec)
    assert isinstance(rebuilt, Backbone)  # rebuild keeps the kind
    return rebuilt
