"""A backbone whose towers ran before: training of what reads their tokens takes seconds.

The items are ``StoredImage``: the tokens of a frozen image tower after its last block, or the last map of one without
blocks. Texts are encoded once each. Of the module the scale alone is left to train.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.spec import state_hash
from diptych.core import Around, Backbone, Dense, Inputs, MissingHook, Run, Spec, State, Table, Tower
from diptych.features.vectors import Vectors

AT_ONCE = 64
"""Pictures in one pass of the tower."""


@dataclass(frozen=True)
class StoredImage:
    """What a frozen tower made of a picture.

    Args:
        tokens: (T, C) after the last block, not normed, or (C, h, w), the last map.
        size: (width, height) of the picture.
    """

    tokens: Tensor
    size: tuple[int, int]


@torch.no_grad()
def stored(space: Backbone, table: Table[Any], run: Run) -> Table[Any]:
    """Return a table of ``StoredImage`` with the columns of a table of pictures."""
    images: list[StoredImage] = []
    with run.track("towers", len(table)) as bar:
        for start in range(0, len(table), AT_ONCE):
            pictures = [table.items[i] for i in range(start, min(start + AT_ONCE, len(table)))]
            x = space.image.inputs(pictures)
            tokens = _last(space, x if isinstance(x, Tensor) else x["pixels"]).cpu()
            images += [StoredImage(t, p.size) for t, p in zip(tokens, pictures, strict=True)]
            bar.advance(len(pictures))
    return Table(Vectors(images, table.items), table.columns)


def _last(space: Backbone, pixels: Tensor) -> Tensor:
    try:
        tower = space.tower("image")
    except MissingHook:
        return space.dense().maps(pixels)[-1]
    return tower.blocks(tower.start(pixels)).h


class StoredTowers(Around):
    """See the head of this file.

    Args:
        whole: the backbone, which is frozen.
        module: has the logarithm of the scale; None: the backbone's.
        texts: known text embeddings, shared by all spaces of one backbone.
    """

    def __init__(
        self, whole: Backbone, module: nn.Module | None = None, texts: dict[str, Tensor] | None = None
    ) -> None:
        self.whole, self.texts = whole, {} if texts is None else texts
        self._module = module or _Scale(math.log(float(whole.scale()[0].detach())))
        self._tower: _StoredTower | None = None
        self._dense: _StoredDense | None = None
        try:
            tower = whole.tower("image")
        except MissingHook:
            self._dense = _StoredDense(whole.dense())
        else:
            side = whole.image.size or 1
            self._tower = _StoredTower(tower, tower.start(torch.zeros(1, 3, side, side)))
        weights = state_hash(self._module)
        image = _ImageEncoder(self, f"{whole.image.fingerprint}+{weights}")
        super().__init__(whole, {"image": image, "text": _TextEncoder(self, f"{whole.text.fingerprint}+{weights}")})

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return the trained scale, and no bias."""
        scale: Tensor = self._module.logit_scale  # type: ignore[assignment]
        return scale.exp(), torch.zeros(())

    def module(self) -> nn.Module:
        """Return the module with the scale."""
        return self._module

    def rebuild(self, module: nn.Module, spec: Spec) -> StoredTowers:
        """Return a space of the same towers with another scale."""
        return StoredTowers(self.whole, module, self.texts)

    def tower(self, modality: str) -> Tower:
        """Return the image tower without its blocks, which ran before.

        Raises:
            MissingHook: the image encoder has no tower, or another modality.
        """
        if modality != "image" or self._tower is None:
            return super().tower(modality)
        return self._tower

    def dense(self) -> Dense:
        """Return the stored maps.

        Raises:
            MissingHook: the image encoder has a tower, whose tokens are stored instead.
        """
        return super().dense() if self._dense is None else self._dense

    def read(self, texts: Sequence[str]) -> Tensor:
        """Return (B, D) embeddings of texts; new ones are encoded once."""
        new = [t for t in dict.fromkeys(texts) if t not in self.texts]
        if new:
            with torch.no_grad():
                self.texts.update(zip(new, self.whole.text.encode(self.whole.text.inputs(new)), strict=True))
        return torch.stack([self.texts[t] for t in texts])


class _Scale(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(value))


class _StoredTower:
    """A tower that ran: ``start`` takes its output, and the blocks leave it as it is."""

    depth = 0

    def __init__(self, tower: Tower, like: State) -> None:
        self.real, self.like = tower, like
        self.width, self.heads = tower.width, tower.heads

    def start(self, x: Inputs, /, **how: Any) -> State:
        h = x if isinstance(x, Tensor) else x["pixels"]
        pool = None if self.like.pool is None else self.like.pool.expand(len(h), -1)
        return replace(self.like, h=h, pool=pool)

    def blocks(self, s: State, /, first: int = 0, stop: int | None = None, **how: Any) -> State:
        return s

    def embed(self, ids: Tensor, /) -> Tensor:
        return self.real.embed(ids)

    def attend(self, s: State, i: int, kernel: Any = None, /) -> Tensor:
        raise MissingHook("The blocks of a stored tower ran before: take the backbone itself.")

    def rest(self, s: State, i: int, attended: Tensor, /) -> State:
        raise MissingHook("The blocks of a stored tower ran before: take the backbone itself.")

    @torch.no_grad()
    def norm(self, h: Tensor, /) -> Tensor:
        return self.real.norm(h)

    @torch.no_grad()
    def pooled(self, s: State, /) -> Tensor:
        return self.real.pooled(s)

    @torch.no_grad()
    def project(self, h: Tensor, /) -> Tensor:
        return self.real.project(h)


class _StoredDense:
    """The last map, stored."""

    def __init__(self, dense: Dense) -> None:
        self.real, self.strides = dense, dense.strides[-1:]

    def maps(self, x: Tensor, /) -> list[Tensor]:
        return [x]

    @torch.no_grad()
    def pool(self, m: Tensor, weights: Tensor | None = None, /) -> Tensor:
        return self.real.pool(m, weights)

    @torch.no_grad()
    def project(self, pooled: Tensor, /) -> Tensor:
        return self.real.project(pooled)


@dataclass(frozen=True, eq=False)
class _ImageEncoder:
    space: StoredTowers
    fingerprint: str
    modality = "image"

    @property
    def dim(self) -> int:
        return self.space.spec.dim

    @property
    def size(self) -> int | None:
        return self.space.whole.image.size

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        """Stored images are stacked; pictures go through the tower."""
        if items and isinstance(items[0], StoredImage):
            return torch.stack([item.tokens for item in items])
        x = self.space.whole.image.inputs(items, size)
        with torch.no_grad():
            return _last(self.space.whole, x if isinstance(x, Tensor) else x["pixels"])

    @torch.no_grad()
    def encode(self, x: Inputs, /) -> Tensor:
        h = x if isinstance(x, Tensor) else x["pixels"]
        if self.space._tower is not None:
            tower = self.space._tower
            return tower.project(tower.pooled(tower.start(h))).float()
        dense = self.space.dense()
        return dense.project(dense.pool(h)[:, 0]).float()


@dataclass(frozen=True, eq=False)
class _TextEncoder:
    space: StoredTowers
    fingerprint: str
    modality = "text"
    size = None

    @property
    def dim(self) -> int:
        return self.space.spec.dim

    def inputs(self, items: Sequence[str], size: int | None = None) -> Inputs:
        return self.space.read(list(items))

    def encode(self, x: Inputs, /) -> Tensor:
        assert isinstance(x, Tensor)
        return x
