"""Editing: generators with a style space, their inverters, and the role that changes pictures by text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from diptych.core.data import Evidence, Samples
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Styles:
    """Styles of B pictures, the input of a style generator.

    Args:
        s: (B, S) style channels, layer after layer: what an edit changes.
        rest: (B, R) all other inputs, which no edit changes (StyleGAN2: w+, from which its ToRGB layers compute their
            styles).
    """

    s: Tensor
    rest: Tensor

    def __len__(self) -> int:
        return len(self.s)

    def take(self, index: slice | Tensor) -> Styles:
        """Return the styles of the selected pictures."""
        return Styles(self.s[index], self.rest[index])


@runtime_checkable
class StyleGenerator(Protocol):
    """A deterministic, differentiable function from styles to pictures.

    Attributes:
        size: side of the square pictures, in pixels.
        channels: style channels a layer, coarsest layer first; S is their sum.
        fingerprint: hexadecimal hash, equal if and only if the pictures are.
    """

    @property
    def size(self) -> int:
        """Side of the pictures."""
        ...

    @property
    def channels(self) -> tuple[int, ...]:
        """Style channels a layer."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash that is equal if and only if the pictures are."""
        ...

    def sample(self, n: int, g: torch.Generator, /) -> Styles:
        """Draw the styles of n pictures, on the CPU."""
        ...

    def synthesise(self, styles: Styles, /) -> Tensor:
        """Return (B, 3, size, size) float32 pictures in [0, 1], on the device of the styles."""
        ...


@runtime_checkable
class Inverter(Protocol):
    """Finds the styles from which a generator reproduces given pictures as closely as possible."""

    def invert(self, images: Tensor, /) -> Styles:
        """Return the styles of (B, 3, size, size) pictures in [0, 1], of the generator's own size."""
        ...


@dataclass(frozen=True)
class EditAsk:
    """One edit: what to change, in words, and the pictures.

    Args:
        source: the attribute that the edit changes, in words: "a red circle", or a neutral word such as "face".
        target: what replaces it: "a blue circle".
        styles: pictures of a generator; give these or
        images: pictures of any origin.
    """

    source: str
    target: str
    styles: Styles | None = None
    images: Samples[Any] | None = None


@dataclass(frozen=True)
class Edited:
    """Edited pictures.

    Args:
        before: (B, 3, H, W) float32 in [0, 1], the start of the edit; of photos, their reconstruction by the
            generator.
        after: the same size.
        change: (B, S) what was added to the styles; None where the editor has no style space.
    """

    before: Tensor
    after: Tensor
    change: Tensor | None = None


class FittedEditor(ABC):
    """What ``Editor.fit`` returns.

    It is a frozen dataclass of tensors, plain values, the generator and the ``backbone``.
    """

    @abstractmethod
    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Edit each picture of a request independently of the others.

        Raises:
            UsageError: the request has neither styles nor images, or both.
            MissingPart: it has images, and the kit of the fit had no inverter.
            UnreadableItem: an image cannot be read.
        """


class Editor(Method):
    """Role of ``edit``: from a generator, and perhaps pictures, to a fitted editor of pictures by text."""

    verb = "edit"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedEditor:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
