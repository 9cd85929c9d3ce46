"""What the adapters share: a library's module behind two encoders, with nothing of any one library in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diptych.backbones.spec import fingerprint
from diptych.backbones.tokens import Tokens
from diptych.core import Backbone, Dense, Encoder, Inputs, Space, Spec, Tower


@dataclass(frozen=True, eq=False)
class ModuleImage:
    """The image encoder of a module; an adapter adds ``inputs`` and ``encode``.

    Args:
        weights: hash of the weights.
    """

    model: nn.Module
    spec: Spec
    weights: str
    modality = "image"

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.spec.dim

    @property
    def size(self) -> int:
        """Side of the square input in pixels."""
        return self.spec.pixels.size

    @property
    def fingerprint(self) -> str:
        """Hash of weights, architecture and pixel recipe."""
        return fingerprint("image", self.spec, self.weights)


@dataclass(frozen=True, eq=False)
class ModuleText:
    """The text encoder of a module; an adapter adds ``inputs`` and ``encode``.

    Args:
        weights: hash of the weights.
        truncate: cut texts that are too long instead of raising.
    """

    model: nn.Module
    spec: Spec
    weights: str
    tokens: Tokens
    truncate: bool = False
    modality = "text"
    size = None

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.spec.dim

    @property
    def fingerprint(self) -> str:
        """Hash of weights, architecture, tokenizer and truncation, since a truncated text has another vector."""
        return fingerprint("text", self.spec, self.weights, identity=self.tokens.identity, truncate=self.truncate)


class StatedSpace(Space):
    """Base of spaces that hold their specification and their encoders as they are.

    Attributes:
        _spec: what ``spec`` gives.
        _encoders: what ``encoders`` gives.
    """

    _spec: Spec
    _encoders: Mapping[str, Encoder[Any]]

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """Name of a modality -> its encoder."""
        return self._encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """How scaled cosines become probabilities: sigmoid for models with a logit bias (SigLIP), else softmax."""
        return self._spec.score

    @property
    def spec(self) -> Spec:
        """What this model is."""
        return self._spec


class ModuleBackbone(StatedSpace, Backbone):
    """A backbone of one module, whose towers and maps follow from the type of the module.

    Subclasses add ``scale`` and ``rebuild``.

    Args:
        model: set to eval mode; its weights must not change afterwards (use ``rebuild`` after training).
    """

    def __init__(self, model: nn.Module, spec: Spec, encoders: Mapping[str, Encoder[Any]]) -> None:
        self._model, self._spec, self._encoders = model.eval(), spec, dict(encoders)

    def module(self) -> nn.Module:
        """Return the library's own module."""
        return self._model

    def tower(self, modality: str) -> Tower:
        """Return the cut tower of "image" or "text".

        Raises:
            MissingHook: the tower is no transformer that can be cut.
        """
        from diptych.backbones.towers.of import tower_of

        return tower_of(self._model, modality, self._spec)

    def dense(self) -> Dense:
        """Return the dense maps of the image tower.

        Raises:
            MissingHook: the tower has none.
        """
        from diptych.backbones.dense import dense_of

        return dense_of(self._model, self._spec)


def scale_and_bias(scale: Any, bias: Any) -> tuple[Tensor, Tensor]:
    """Return two scalars of a scale and a bias, which may have one dimension of one; a bias that is None is 0."""
    scalar: Tensor = scale.reshape(())
    return scalar, torch.zeros_like(scalar) if bias is None else bias.reshape(())


def on_device(x: Inputs, model: nn.Module) -> Tensor:
    """Return the pixels or ids among the inputs, on the module's device."""
    tensor = x if isinstance(x, Tensor) else x["ids"]
    return tensor.to(next(model.parameters()).device)
