"""Features of towers at every position, for losses that compare two models: cells of maps, tokens and embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Inputs, MissingHook, Space

_PROBES = ("a", "a red bicycle", "two dogs on the grass", "123")
"""Texts by whose ids two tokenizers are compared, with the first ones of the material."""


def image_features(space: Space, x: Inputs, *, maps: bool) -> dict[str, Tensor]:
    """Return "embedding", (B, 1, D), and with ``maps`` also "map", (B, h, w, C) normed cells, of one forward pass.

    Raises:
        MissingHook: a map is wanted, and the image encoder has none.
    """
    if not maps:
        return {"embedding": space.encoders["image"].encode(x)[:, None]}
    pixels = x if isinstance(x, Tensor) else x["pixels"]
    try:
        tower = space.tower("image")
    except MissingHook:
        dense = space.dense()
        last = dense.maps(pixels)[-1]
        return {"embedding": dense.project(dense.pool(last)).float(), "map": last.float().movedim(1, -1)}
    state = tower.blocks(tower.start(pixels))
    assert state.grid is not None  # of images
    cells = tower.norm(state.h)[:, state.prefix : state.prefix + state.grid[0] * state.grid[1]]
    embedding = tower.project(tower.pooled(state))
    return {"embedding": embedding.float()[:, None], "map": cells.float().reshape(len(cells), *state.grid, -1)}


def text_features(space: Space, x: Inputs, *, tokens: bool, project: bool) -> tuple[dict[str, Tensor], Tensor]:
    """Return "embedding", (B, 1, D), with ``tokens`` also "tokens", (B, T, C or D), and their (B, T) mask.

    Args:
        space: the space with the text encoder.
        x: B texts.
        tokens: whether tokens are wanted; else the mask is empty.
        project: whether tokens are projected to the joint space, as a teacher's are.
    """
    if not tokens:
        embedding = space.encoders["text"].encode(x)
        return {"embedding": embedding[:, None]}, torch.empty(len(embedding), 0, dtype=torch.bool)
    tower = space.tower("text")
    state = tower.blocks(tower.start(x))
    assert state.valid is not None  # it was started from ids
    h = tower.norm(state.h)
    features = {"embedding": tower.project(tower.pooled(state))[:, None], "tokens": tower.project(h) if project else h}
    return {kind: f.float() for kind, f in features.items()}, state.valid


def same_tokens(one: Space, other: Space, texts: Sequence[str]) -> bool:
    """Return whether both text encoders are towers that can be cut, and give a few texts the same token ids."""
    try:
        one.tower("text"), other.tower("text")
    except MissingHook:
        return False
    return all(_ids(one, text) == _ids(other, text) for text in (*_PROBES, *texts[:8]))


def _ids(space: Space, text: str) -> list[int]:
    x = space.encoders["text"].inputs([text])
    ids: list[int] = (x if isinstance(x, Tensor) else x["ids"])[0].tolist()
    return ids


def resized(f: Tensor, grid: Sequence[int]) -> Tensor:
    """Return a (B, h, w, C) map in another grid, bilinearly."""
    if tuple(f.shape[1:3]) == tuple(grid):
        return f
    size = (int(grid[0]), int(grid[1]))
    return F.interpolate(f.movedim(-1, 1), size, mode="bilinear", align_corners=False).movedim(1, -1)
