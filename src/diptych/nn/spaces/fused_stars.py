"""Classes of stars by all three modalities: the mean of their unit embeddings, and a linear head.

    e      = (p / |p| + s / |s| + m / |m|) / 3
    logits = W e + b

p, s, m: (B, D) embeddings of the light curve, the spectrum and the metadata of B stars
W, b: (K, D) and (K,) of the head of K classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import DataError, Inputs, Parts
from diptych.data.stars import Star
from diptych.features.derived_space import LabelledTower, restored
from diptych.features.released_tensors import check_released
from diptych.features.strict_weights import load_tensors
from diptych.nn.spaces.star_space import StarSpace, hash_of


@dataclass(frozen=True, eq=False)
class FusedEncoder:
    """Embeds stars by all modalities of a space.

    Args:
        base: the space.
        fingerprint: of its weights and input settings.
    """

    base: StarSpace
    fingerprint: str
    modality: str = "photometry"  # by which a space is asked for stars
    size: int | None = None

    @property
    def dim(self) -> int:
        """D."""
        return self.base.dim

    def inputs(self, items: Sequence[Star], size: int | None = None) -> dict[str, Tensor]:
        """Return the input of each modality's tower for B stars.

        Raises:
            DataError: a star lacks a modality.
        """
        encoders: Mapping[str, Any] = self.base.encoders
        return {name: encoder.inputs(items) for name, encoder in encoders.items()}

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, D) means of the unit embeddings."""
        assert isinstance(x, Mapping)
        units = [normalize(encoder.encode(x[name]), dim=-1) for name, encoder in self.base.encoders.items()]
        return torch.stack(units).mean(0)


class FusedStars(LabelledTower):
    """Stars by all towers of a space, and the head of their classes.

    Args:
        base: the space.
        head: (D -> K), in eval mode.
    """

    def __init__(self, base: StarSpace, head: nn.Linear) -> None:
        self.base, self.head = base, head
        weights = hash_of(base.spec.weights, head.state_dict())
        spec = replace(base.spec, name=f"{base.spec.name}+fused", weights=weights)
        super().__init__(spec, FusedEncoder(base, f"fused-{weights[:16]}"), "fused")

    @classmethod
    def of_released(cls, base: StarSpace, learnt: Mapping[str, Tensor], name: str) -> FusedStars:
        """Return the classifier of a released head, "weight" and "bias".

        Raises:
            DataError: a tensor is missing, or of another shape than the embeddings ask for.
        """
        with torch.random.fork_rng(devices=[]):
            head = nn.Linear(base.dim, len(learnt.get("weight", ())) or 1)
        load_tensors(head, check_released(learnt, head.state_dict(), name))
        return cls(base, head.requires_grad_(False).eval())

    def module(self) -> nn.Linear:
        """Return the head."""
        return self.head

    def class_logits(self, vectors: Tensor) -> Tensor:
        """Return the (N, K) logits for (N, D) means."""
        with torch.no_grad():
            logits: Tensor = self.head(vectors.to(self.head.weight.device))
        return logits.cpu()

    def parts(self) -> Parts:
        """Return the number of classes, and the tensors of the head."""
        tensors = {f"own/{name}": t for name, t in self.head.state_dict().items()}
        return Parts(self.base, {"classes": self.head.out_features}, tensors)

    @classmethod
    def of_parts(cls, parts: Parts) -> FusedStars:
        """Return the space of these parts.

        Raises:
            DataError: the space of the towers is missing.
        """
        base, classes = parts.base, int(parts.settings["classes"])
        if not isinstance(base, StarSpace):
            raise DataError("These classes of stars name no space of towers: convert the file again.")
        return cls(base, restored(lambda: nn.Linear(base.dim, classes), parts))
