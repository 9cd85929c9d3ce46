"""Editing: generators with a style space, what inverts them, and the role that changes pictures by words."""

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
    """What a style generator draws B pictures from.

    Args:
        s: (B, S) style channels, layer after layer: what an edit changes.
        rest: (B, R) all else that the pictures hang on and no edit changes (StyleGAN2: w+, from which its ToRGB layers
            take their styles).
    """

    s: Tensor
    rest: Tensor

    def __len__(self) -> int:
        return len(self.s)

    def take(self, index: slice | Tensor) -> Styles:
        """Return the chosen pictures' styles."""
        return Styles(self.s[index], self.rest[index])


@runtime_checkable
class StyleGenerator(Protocol):
    """Draws pictures from styles, without randomness and differentiably.

    Attributes:
        size: side of the square pictures, in pixels.
        channels: style channels a layer, coarsest layer first; S is their sum.
        fingerprint: hexadecimal hash: equal iff the pictures are.
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
        """Hash that is equal iff the pictures are."""
        ...

    def sample(self, n: int, g: torch.Generator, /) -> Styles:
        """Draw the styles of n pictures, on the CPU."""
        ...

    def synthesise(self, styles: Styles, /) -> Tensor:
        """Return (B, 3, size, size) float32 pictures in [0, 1], on the device of the styles."""
        ...


@runtime_checkable
class Inverter(Protocol):
    """Finds styles from which a generator draws given pictures again, as well as it can."""

    def invert(self, images: Tensor, /) -> Styles:
        """Return the styles of (B, 3, size, size) pictures in [0, 1], of the generator's own size."""
        ...


@dataclass(frozen=True)
class EditAsk:
    """What to change, in words, and on which pictures.

    Args:
        source: what the pictures show, as far as the edit touches it: "a red circle", or a neutral word such as "face".
        target: what they shall show: "a blue circle".
        styles: pictures of a generator; or
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
        before: (B, 3, H, W) float32 in [0, 1], what the editor started from: of photos, what the generator makes of
            them.
        after: the same size.
        change: (B, S) what was added to the styles; None where the editor has no style space.
    """

    before: Tensor
    after: Tensor
    change: Tensor | None = None


class FittedEditor(ABC):
    """What ``Editor.fit`` returns: a frozen dataclass that holds tensors, plain values, its generator and the
    ``backbone``.
    """

    @abstractmethod
    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Edit the pictures of an ask, each without regard to the others.

        Raises:
            UsageError: the ask has neither styles nor images, or both.
            MissingPart: it has images, and the fit was given nothing that inverts them.
            UnreadableItem: an image cannot be read.
        """


class Editor(Method):
    """Role of ``edit``: from a generator, and perhaps pictures, to something that changes pictures by words."""

    verb = "edit"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedEditor:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
