"""An image encoder of masked crops, adapted to them by tuned weights, mask prompts or a map of its embeddings.

    z = f(x, M)                  the tower, with prompts where M hides a patch
    z <- z / |z| + B A z / |z|   the map, of rank r

x: masked crop;  M: kept patches;  A: (r, D), B: (D, r), with B = 0 at the start
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import Backbone, Inputs
from diptych.features.networks import reached, twin_of
from diptych.features.strict_weights import load_tensors
from diptych.nn.dense.masked_crops import MaskedCrop, kept_patches, masked_inputs
from diptych.nn.prompts.masked import fresh_prompts, mask_prompts


def mapped(z: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """Return (B, D) embeddings after the map.

    Args:
        z: (B, D), not normalised.
        down: A, (r, D).
        up: B, (D, r).
    """
    z = normalize(z, dim=-1)
    return z + z @ down.to(z).T @ up.to(z).T


class EmbeddingMap(nn.Module):
    """The map of embeddings, which begins as the identity.

    Args:
        dim: D.
        rank: r.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, dim) * dim**-0.5)
        self.up = nn.Parameter(torch.zeros(dim, rank))

    def forward(self, z: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, D) embeddings."""
        return mapped(z, self.down, self.up)


class MaskAdapted(nn.Module):
    """The image tower of a backbone for masked crops.

    Args:
        backbone: it does not change.
        copied: whether its weights are copied, so that they, or prompts before them, may learn.
        depth: layers of mask prompts, 0 for none; they need ``copied`` to learn.

    Raises:
        MissingHook: prompts, and the backbone has no image tower; or a copy, and it cannot be rebuilt.
    """

    def __init__(self, backbone: Backbone, *, copied: bool = False, depth: int = 0) -> None:
        super().__init__()
        self.space: Any = backbone
        if copied:
            self.space = twin_of(backbone)
            self.twin = self.space.module().requires_grad_(False)
        self.prompts: nn.Parameter | None = None
        if depth:
            tower = self.space.tower("image")
            (height, width), side = tower.patch, backbone.image.size or 0
            self.prompts = nn.Parameter(fresh_prompts(depth, side // height * (side // width), tower.width))

    def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Return (B, D) embeddings, not normalised.

        Args:
            pixels: (B, 3, S, S) normalised.
            mask: (B, S, S) bool.
        """
        if self.prompts is None:
            out: Tensor = self.space.image.encode(pixels)
            return out
        tower = self.space.tower("image")
        edit = mask_prompts(self.prompts, kept_patches(mask, tower.patch))
        z: Tensor = tower.project(tower.pooled(tower.blocks(tower.start(pixels, edit=edit), edit=edit)))
        return z.float()

    def weights(self) -> tuple[str, ...]:
        """Return the names of the tower's weights that an embedding depends on."""
        side = self.space.image.size or 0
        x = torch.zeros(1, 3, side, side, device=next(self.twin.parameters()).device)
        return reached(
            self, lambda: self.space.image.encode(x), among=[f"twin.{n}" for n, _ in self.twin.named_parameters()]
        )


@dataclass(frozen=True)
class MaskedEncoder:
    """An encoder of ``MaskedCrop``.

    Args:
        backbone: whose pixels and width it has.
        antialias: how crops are resized, see ``masked_inputs``.
    """

    backbone: Backbone
    adapted: MaskAdapted
    fingerprint: str
    antialias: bool = True
    modality = "image"

    @classmethod
    def of(
        cls, backbone: Backbone, learnt: Mapping[str, Tensor], device: str = "cpu", *, antialias: bool = True
    ) -> MaskedEncoder:
        """Return the encoder with learnt parameters, by their names in ``MaskAdapted``; {}: the backbone as it is.

        Raises:
            MissingHook: the backbone has no such tower.
            DataError: the parameters are not those of the tower.
        """
        depth = len(learnt["prompts"]) if "prompts" in learnt else 0
        with torch.random.fork_rng(devices=[]):  # prompts draw their first values from the global generator
            adapted = MaskAdapted(backbone, copied=any(name.startswith("twin.") for name in learnt), depth=depth)
        tuned = any(name.startswith("twin.") for name in learnt)
        names = (*(adapted.weights() if tuned else ()), *(("prompts",) if "prompts" in learnt else ()))
        load_tensors(adapted, learnt, names, optional=[n for n, _ in adapted.named_buffers()])
        plain = "" if antialias else "/not smoothed"
        digest = hashlib.sha256(f"masked-crops/1/{backbone.image.fingerprint}{plain}".encode())
        for name, value in sorted(learnt.items()):
            digest.update(name.encode() + value.contiguous().numpy().tobytes())
        return cls(backbone, adapted.to(device).eval(), digest.hexdigest()[:16], antialias)

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.backbone.image.dim

    @property
    def size(self) -> int | None:
        """Side S of the input in pixels."""
        return self.backbone.image.size

    def inputs(self, items: Sequence[MaskedCrop], size: int | None = None) -> dict[str, Tensor]:
        """Return {"pixels": (B, 3, S, S), "mask": (B, S, S)} of crops."""
        return masked_inputs(items, self.backbone.spec.pixels, size or self.size or 0, antialias=self.antialias)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings, not normalised."""
        assert not isinstance(x, Tensor)
        out: Tensor = self.adapted(x["pixels"], x["mask"])
        return out
