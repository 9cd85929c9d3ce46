"""A copy of an image tower of which only prompts and norms learn; the backbone itself does not change.

    [CLS] [v1] .. [vP] [patches]

v: (P, C) learnt tokens, inserted after the norm of the stem, without positions;  C: width of the tower
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from diptych.backbones.towers.edits import insert
from diptych.core import Backbone, Inputs
from diptych.features.networks import reached, twin_of
from diptych.features.strict_weights import load_tensors
from diptych.features.visual import SameInputs

if TYPE_CHECKING:
    from diptych.core import Stage, State

PATCH = 16
"""Side of a patch in the formula of the prompts' start; the authors' constant (VPT's), whatever the tower's own side.
"""


class TunedImage(nn.Module):
    """The copy of an image tower, with P prompts.

    Args:
        backbone: with an image tower that can be rebuilt; it is copied, not changed.
        prompts: P, >= 0. They start uniformly in +-sqrt(6 / (3 PATCH^2 + C)), from torch's global generator; seed it
            with ``Run.seeded``.

    Raises:
        MissingHook: the backbone has no image tower, or cannot be rebuilt.
    """

    def __init__(self, backbone: Backbone, prompts: int = 0) -> None:
        super().__init__()
        width = backbone.tower("image").width
        self.space = twin_of(backbone)
        self.twin = self.space.module().requires_grad_(False)
        bound = math.sqrt(6 / (3 * PATCH**2 + width))
        self.prompts = nn.Parameter(torch.empty(prompts, width).uniform_(-bound, bound)) if prompts else None

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, D) embeddings, not normalised, of (B, 3, S, S) normalised pixels."""
        tower = self.space.tower("image")

        def edit(stage: Stage, i: int, s: State) -> State:
            return insert(s, self.prompts, min(1, s.prefix)) if stage == "ready" and self.prompts is not None else s

        s = tower.blocks(tower.start(pixels, edit=edit))
        return tower.project(tower.pooled(s)).float()

    def norms(self, *, blocks_only: bool = False) -> tuple[str, ...]:
        """Return the names of weights and biases of the tower's LayerNorms.

        Args:
            blocks_only: leave out the norms of the stem and before the projection, which are in no block.
        """
        norms = [
            f"twin.{n}.{p}"
            for n, m in self.twin.named_modules()
            if isinstance(m, nn.LayerNorm)
            for p, _ in m.named_parameters()
        ]
        return reached(self, lambda: self._output(blocks_only), among=norms)

    def weights(self) -> tuple[str, ...]:
        """Return the names of all parameters that the embedding depends on."""
        return reached(self, self._output, among=[f"twin.{n}" for n, _ in self.twin.named_parameters()])

    def _output(self, blocks_only: bool = False) -> Tensor:
        """Return an image's embedding, or with ``blocks_only`` its tokens after the blocks.

        With ``blocks_only`` no gradient reaches the stem.
        """
        size = self.space.encoders["image"].size or 0
        x = torch.zeros(1, 3, size, size, device=next(self.twin.parameters()).device)
        if not blocks_only:
            out: Tensor = self(x)
            return out
        tower = self.space.tower("image")
        start = tower.start(x)
        return tower.blocks(replace(start, h=start.h.detach())).h


def values_hash(start: str, learnt: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits of what a tuning started from, and of the names and values that it learnt."""
    digest = hashlib.sha256(start.encode())
    for name, value in sorted(learnt.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class TunedEncoder(SameInputs):
    """An image encoder that runs a tuned tower.

    Args:
        backbone: whose pixels and width it has.
    """

    backbone: Backbone
    tuned: TunedImage
    fingerprint: str

    @classmethod
    def of(
        cls, backbone: Backbone, learnt: Mapping[str, Tensor], device: str = "cpu", *, blocks_only: bool = False
    ) -> TunedEncoder:
        """Return the encoder with these learnt parameters, by their names in ``TunedImage``: prompts, and norms.

        Args:
            backbone: whose tower learnt.
            learnt: its prompts, its norms, or both.
            device: of the encoder.
            blocks_only: whether the norms are those in the blocks alone.

        Raises:
            MissingHook: the backbone has no such tower.
            DataError: the parameters are not those of the tower.
        """
        with torch.random.fork_rng(devices=[]):  # prompts draw their first values from the global generator
            tuned = TunedImage(backbone, len(learnt["prompts"]) if "prompts" in learnt else 0)
        names: tuple[str, ...] = ("prompts",) if "prompts" in learnt else ()
        if len(learnt) > len(names):
            names += tuned.norms(blocks_only=blocks_only)
        load_tensors(tuned, learnt, names)
        return cls(backbone, tuned.to(device).eval(), values_hash(backbone.fingerprint, learnt))

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.backbone.image.dim

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings, not normalised."""
        assert isinstance(x, Tensor)
        out: Tensor = self.tuned(x)
        return out


class NoLAStudent(nn.Module):
    """The trained part: the head, and the prompts and norms of the tuned tower, if there is one.

    Args:
        head: (K, D) start.
        tuned: image tower that learns. None: images come as embeddings.
    """

    def __init__(self, head: Tensor, tuned: TunedImage | None) -> None:
        super().__init__()
        self.head = nn.Parameter(head.clone())
        self.tuned = tuned

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, K) logits of strong views: pixels, or embeddings where no tower is tuned."""
        return (x if self.tuned is None else self.tuned(x)) @ self.head.T
