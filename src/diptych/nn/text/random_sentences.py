"""Sentences of random token ids, for text encoders that read ids."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from diptych.backbones.towers.text import TextTower
from diptych.core import Backbone, Inputs, MissingHook


def random_sentences(space: Backbone, number: int, length: int, g: torch.Generator) -> Inputs:
    """Return text inputs of V random sentences: token ids between the start and the end token.

    The tokens for start, end and padding are not drawn.

    Args:
        space: gives the tokenizer and the table of tokens.
        number: V.
        length: random tokens in a sentence.
        g: CPU generator.

    Raises:
        MissingHook: the text encoder does not take token ids.
    """
    real = space.text.inputs(["a"])
    row = real if isinstance(real, Tensor) else real.get("ids")
    tables = [m.num_embeddings for m in space.module().modules() if isinstance(m, nn.Embedding)]
    with contextlib.suppress(MissingHook):  # a tower says which of them is that of the tokens
        tables = [len(tower.token_table) for tower in (space.tower("text"),) if isinstance(tower, TextTower)] or tables
    if row is None or row.is_floating_point() or not tables:
        raise MissingHook(f"The text encoder of {space.spec.name} does not take token ids: use vocabulary='classes'.")
    ids = row[0].tolist()
    inside = space.text.inputs(["a a"])
    longer = (inside if isinstance(inside, Tensor) else inside["ids"])[0].tolist()
    at = (
        next((i for i, (x, y) in enumerate(zip(ids, longer, strict=False)) if x != y), len(ids)) - 1
    )  # position of "a", or where its tokens begin to repeat
    start, end = ids[:at], ids[at + 1]
    allowed = torch.tensor([i for i in range(max(tables)) if i not in {*start, end, space.spec.pad}])
    words = allowed[torch.randint(len(allowed), (number, length), generator=g)]
    sentences = torch.cat(
        [torch.tensor([start] * number, dtype=torch.long).reshape(number, -1), words, torch.full((number, 1), end)],
        dim=1,
    )
    if isinstance(real, Tensor):  # encoders of a fixed context have padded "a" to it
        return nn.functional.pad(sentences, (0, max(0, len(ids) - sentences.shape[1])), value=space.spec.pad)
    return {"ids": sentences, "mask": torch.ones_like(sentences)}
