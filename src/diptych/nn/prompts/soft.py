"""Soft prompts put free vectors among the token embeddings of class names, for any text tower.

    [start] v1 ... vM name . [end]

v: (M, C) context vectors, in the space of the token embeddings. They stand before the name (position "end"), after it
    ("front"), or half before and half after it ("middle")
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from diptych.core import Backbone, Edit, Tower, UsageError

Position = Literal["end", "middle", "front"]
"""Where the class name stands in the context."""


@dataclass(frozen=True)
class Slots:
    """Class prompts with positions for M context vectors.

    Args:
        ids: (K, T) token ids. Each position holds the id of an ordinary token, so that the end token is found where it
            is.
        embeds: (K, T, C) token embeddings, frozen.
        mask: (K, T), True for real tokens. None: the tower finds them from the ids.
        positions: (K, M) positions of the context vectors.
    """

    ids: Tensor
    embeds: Tensor
    mask: Tensor | None
    positions: Tensor


def slots(backbone: Backbone, names: Sequence[str], length: int, position: Position = "end") -> Slots:
    """Return the prompts "NAME." of K classes with M = ``length`` positions for context vectors.

    Args:
        backbone: with a text tower.
        names: K class names.
        length: M, >= 1.
        position: where the name stands; "middle" puts floor(M / 2) vectors before it.

    Raises:
        MissingHook: the backbone has no text tower.
        UsageError: a name and M more tokens do not fit into the context of the tower.
    """
    tower = backbone.tower("text")
    ids, mask = _tokens(backbone, [f"{name}." for name in names])
    start, one = _start(backbone), _lengths(backbone, ["a"])[0]
    word = int(_tokens(backbone, ["a"])[0][0, start])
    sizes = [int(n) - int(one) + 1 for n in _lengths(backbone, names)]
    before = {"end": length, "middle": length // 2, "front": 0}[position]
    context = getattr(tower, "context", backbone.spec.context)
    if max(_lengths(backbone, [f"{name}." for name in names])) + length > context:
        raise UsageError(
            f"The longest class name and {length} context vectors do not fit in the {context} tokens of "
            f"{backbone.spec.name}: take fewer."
        )
    rows, masks, positions = [], [], []
    for k, size in enumerate(sizes):
        after = start + size
        order = [
            *range(start),
            *[-1] * before,
            *range(start, after),
            *[-1] * (length - before),
            *range(after, ids.shape[1]),
        ]
        order = order[:context]  # what falls off is padding
        index = torch.tensor(order, device=ids.device)
        rows.append(torch.where(index < 0, word, ids[k, index.clamp_min(0)]))
        masks.append(torch.ones_like(index) if mask is None else torch.where(index < 0, 1, mask[k, index.clamp_min(0)]))
        positions.append((index < 0).nonzero()[:, 0])
    new = torch.stack(rows)
    with torch.no_grad():
        embeds = tower.embed(new)
    return Slots(new, embeds, None if mask is None else torch.stack(masks), torch.stack(positions))


def word_vectors(backbone: Backbone, words: str) -> Tensor:
    """Return the (M, C) token embeddings of words such as "a photo of a", to start a context from."""
    start, one = _start(backbone), int(_lengths(backbone, ["a"])[0])
    size = int(_lengths(backbone, [words])[0]) - one + 1
    with torch.no_grad():
        return backbone.tower("text").embed(_tokens(backbone, [words])[0][:, start : start + size])[0].clone()


def encode_prompts(tower: Tower, where: Slots, context: Tensor, *, edit: Edit | None = None) -> Tensor:
    """Return the (K, D) embeddings of class prompts, not normalised.

    If the tower is frozen, only the context gets gradients.

    Args:
        tower: of the text.
        where: K prompts.
        context: (M, C), the same for all classes, or (K, M, C), one for each.
        edit: of the blocks, such as deep tokens. None: there is none.
    """
    rows = torch.arange(len(where.ids), device=where.ids.device)[:, None]
    filled = context.to(where.embeds).expand(len(where.ids), -1, -1)
    fields = {"ids": where.ids, "embeds": where.embeds.index_put((rows, where.positions), filled)}
    if where.mask is not None:
        fields["mask"] = where.mask
    s = tower.blocks(tower.start(fields), edit=edit)
    return tower.project(tower.pooled(s)).float()


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let no parameter of a module collect a gradient; afterwards its flags are as they were."""
    flags = [(p, p.requires_grad) for p in module.parameters()]
    for p, _ in flags:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)


def _tokens(backbone: Backbone, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Return the (B, L) ids and, if the encoder gives one, the (B, L) mask, on the device of the tower."""
    x = backbone.text.inputs(list(texts))
    device = next(backbone.module().parameters()).device
    if isinstance(x, Tensor):
        return x.to(device), None
    return x["ids"].to(device), x["mask"].to(device) if "mask" in x else None


def _lengths(backbone: Backbone, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, without padding."""
    ids, mask = _tokens(backbone, texts)
    real = ids != backbone.spec.pad if mask is None else mask.bool()
    return (ids.shape[1] - real.flip(1).int().argmax(1)).tolist()


def _start(backbone: Backbone) -> int:
    """Return the number of tokens before the words, which are the same for any two texts."""
    ids, _ = _tokens(backbone, ["a", "of"])
    return int((ids[0] == ids[1]).int().cumprod(0).sum())
