"""Trainable heads on frozen towers, whose outputs are precomputed so that training takes seconds.

    encode(x) = head( trunk(x) )

trunk: the backbone up to its pooled vector, without gradient;  head: the trained projection

``Headed`` has the heads of the backbone; a ``HeadSpace`` may have others over the same trunks. The items of both are
precomputed trunk vectors (``on_trunks``), or pictures and texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.module_backbone import StatedSpace
from diptych.core import Backbone, Dense, Inputs, MissingHook, Run, Samples, Spec, Table, Texts, Tower
from diptych.features.embed import embed
from diptych.features.networks import reached
from diptych.features.vectors import Vectors


def _by_tower(tower: Tower, x: Any) -> Tensor:
    return tower.pooled(tower.blocks(tower.start(x)))


def _by_maps(dense: Dense, x: Any) -> Tensor:
    return dense.pool(dense.maps(x)[-1])[:, 0]


@dataclass(frozen=True, eq=False)
class Trunk:
    """An encoder without its head: its outputs are the (B, C) pooled vectors of the tower.

    Args:
        modality: "image" or "text".
        pooled: inputs -> (B, C).
        dim: C, the width of the tower.
    """

    space: Backbone
    modality: str
    pooled: Callable[[Any], Tensor]
    dim: int

    @classmethod
    def of(cls, space: Backbone, modality: str) -> Trunk:
        """Cut an encoder of a backbone before its head.

        Raises:
            MissingHook: the backbone has neither a tower nor dense maps that it pools itself.
        """
        pooled: Callable[[Any], Tensor]
        try:
            tower = space.tower(modality)
            pooled = partial(_by_tower, tower)
        except MissingHook:
            if modality != "image":
                raise
            dense = space.dense()
            pooled = partial(_by_maps, dense)
        item: Any = "a" if modality == "text" else torch.zeros(3, *(2 * [space.encoders[modality].size or 1]))
        with torch.no_grad():
            width = pooled(space.encoders[modality].inputs([item])).shape[1]
        return cls(space, modality, pooled, width)

    @property
    def size(self) -> int | None:
        """Side of the square input in pixels."""
        return self.space.encoders[self.modality].size

    @property
    def fingerprint(self) -> str:
        """The encoder's fingerprint, with a suffix for the trunk."""
        return f"{self.space.encoders[self.modality].fingerprint}-trunk"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        """Return the inputs of the whole encoder."""
        return self.space.encoders[self.modality].inputs(items, size)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, C) float32 pooled vectors."""
        return self.pooled(x).float()


class Memory:
    """Trunk vectors of texts, so that each text is encoded once."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk, self.known = trunk, dict[str, Tensor]()

    def learn(self, texts: Sequence[str], run: Run) -> None:
        """Encode texts through the store."""
        new = tuple(dict.fromkeys(t for t in texts if t not in self.known))
        if new:
            self.known.update(zip(new, embed(self.trunk, Texts(new), run), strict=True))

    def read(self, texts: Sequence[str]) -> Tensor:
        """Return (B, C) vectors; texts that ``learn`` did not see are encoded and not stored."""
        new = [t for t in dict.fromkeys(texts) if t not in self.known]
        encoded: dict[str, Tensor] = {}
        if new:
            with torch.no_grad():
                encoded = dict(zip(new, self.trunk.encode(self.trunk.inputs(new)).cpu(), strict=True))
        return torch.stack([self.known[t] if t in self.known else encoded[t] for t in texts])


@dataclass(frozen=True, eq=False)
class HeadEncoder:
    """An encoder of one modality: a head over trunk vectors, or over pictures or texts.

    Args:
        modality: "image" or "text".
        dim: D.
        read: items -> (B, C) trunk vectors.
        project: (..., C) -> (..., D).
    """

    modality: str
    dim: int
    fingerprint: str
    read: Callable[[Sequence[Any]], Tensor]
    project: Callable[[Tensor], Tensor]
    size = None

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        """Return the (B, C) trunk vectors of items, which may be such vectors already."""
        if len(items) and isinstance(items[0], Tensor) and items[0].dim() == 1:
            return torch.stack(list(items))
        return self.read(items)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings of (B, C) trunk vectors."""
        assert isinstance(x, Tensor)
        return self.project(x).float()


class HeadSpace(StatedSpace, Backbone):
    """A space of heads over frozen trunks.

    Args:
        trunks: modality -> trunk, never trained.
        memory: trunk vectors of texts, shared by all spaces over these trunks.
        weights: hash of the heads, a part of the fingerprints.
        heads: modality -> projection.
    """

    def __init__(
        self,
        trunks: Mapping[str, Trunk],
        memory: Memory,
        spec: Spec,
        weights: str,
        heads: Mapping[str, Callable[[Tensor], Tensor]],
    ) -> None:
        self.trunks, self.memory, self._spec = trunks, memory, spec
        reads = {"image": self._pictures, "text": memory.read}
        self._encoders = {
            m: HeadEncoder(m, spec.dim, f"{trunks[m].fingerprint}+{weights}", reads[m], heads[m])
            for m in ("image", "text")
        }

    def _pictures(self, items: Sequence[Any]) -> Tensor:
        with torch.no_grad():
            return self.trunks["image"].encode(self.trunks["image"].inputs(items)).cpu()


class Headed(HeadSpace):
    """A backbone of which only the heads run and are trained.

    Args:
        whole: the backbone with the heads.
        trunks, memory: as for ``HeadSpace``; None: those of ``whole``.
    """

    def __init__(
        self, whole: Backbone, trunks: Mapping[str, Trunk] | None = None, memory: Memory | None = None
    ) -> None:
        self.whole = whole
        trunks = trunks or {m: Trunk.of(whole, m) for m in ("image", "text")}
        memory = memory or Memory(trunks["text"])
        super().__init__(
            trunks, memory, whole.spec, whole.fingerprint, {m: head_of(whole, m) for m in ("image", "text")}
        )

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return the backbone's scale and bias."""
        return self.whole.scale(a, b)

    def module(self) -> nn.Module:
        """Return the backbone's module."""
        return self.whole.module()

    def tower(self, modality: str) -> Tower:
        """Return the backbone's tower."""
        return self.whole.tower(modality)

    def dense(self) -> Dense:
        """Return the backbone's dense maps."""
        return self.whole.dense()

    def rebuild(self, module: nn.Module, spec: Spec) -> Headed:
        """Return a space of the same trunks with the heads of another module."""
        rebuilt = self.whole.rebuild(module, spec)
        assert isinstance(rebuilt, Backbone)  # rebuild keeps the kind
        return Headed(rebuilt, self.trunks, self.memory)


def head_of(space: Backbone, modality: str) -> Callable[[Tensor], Tensor]:
    """Return what takes (..., C) pooled vectors of a tower to (..., D) embeddings.

    Raises:
        MissingHook: the backbone has neither a tower nor dense maps.
    """
    try:
        return partial(_projected, space.tower(modality).project, space)
    except MissingHook:
        return partial(_projected, space.dense().project, space)


def _projected(project: Callable[[Tensor], Tensor], space: Backbone, h: Tensor) -> Tensor:
    return project(h.to(next(space.module().parameters()).device))


def head_names(space: Backbone) -> frozenset[str]:
    """Return the names of the parameters that a backbone's heads use, and of its scale and bias."""
    headed = Headed(space)
    outputs = [
        partial(encoder.encode, torch.zeros(1, headed.trunks[modality].dim))
        for modality, encoder in headed.encoders.items()
    ]
    scales = {n for n, _ in headed.module().named_parameters() if n.rsplit(".", 1)[-1] in ("logit_scale", "logit_bias")}
    return frozenset(reached(headed.module(), *outputs)) | scales


def side_names(space: Backbone, modality: str) -> frozenset[str]:
    """Return the names of a backbone's or its heads' parameters that "image" or "text" embeddings depend on."""
    encoder, module = space.encoders[modality], space.module()
    if isinstance(space, HeadSpace):
        x: Any = torch.zeros(1, space.trunks[modality].dim)
    else:
        side = encoder.size or 1
        x = encoder.inputs(["a"] if modality == "text" else [torch.zeros(3, side, side)])
    device = next(module.parameters()).device
    x = x.to(device) if isinstance(x, Tensor) else {name: value.to(device) for name, value in x.items()}
    return frozenset(reached(module, lambda: encoder.encode(x)))


def on_trunks(space: HeadSpace, table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with trunk vectors in place of its pictures.

    The texts of its columns of captions are encoded into ``space.memory``.
    """
    items: Samples[Any] = Vectors(embed(space.trunks["image"], table.items, run), table.items)
    read = [c.values for c in table.columns.values() if c.kind == "captions"]
    if read:
        texts = [t for values in read for text in values for t in ([text] if isinstance(text, str) else text)]
        space.memory.learn(texts, run)
    return Table(items, table.columns)
