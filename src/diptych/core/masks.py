"""Interfaces of mask models: proposers of regions, and decoders of masks from points, boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from diptych.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Proposals:
    """Regions of one image that may each be one thing, whatever it is.

    Args:
        masks: (Q, h, w) float32 in [0, 1], how much a cell, evenly over the image, belongs to a region.
        scores: (Q,) float32 in [0, 1], how sure the proposer is of each; all 1 where it does not say.
        size: (H, W) of the image, in pixels.
        words: (Q,) int64 position of the word that each was found for; None: the proposer reads no words.
        boxes: (Q, 4) x0 y0 x1 y1 in pixels, of a proposer that finds boxes; None: those round the masks.

    Raises:
        DataError: masks and scores differ in number.
    """

    masks: Tensor
    scores: Tensor
    size: tuple[int, int]
    words: Tensor | None = None
    boxes: Tensor | None = None

    def __post_init__(self) -> None:
        if self.masks.dim() != 3 or len(self.masks) != len(self.scores):
            raise DataError(
                f"Proposals need one score per mask, and there are masks of shape {tuple(self.masks.shape)} and "
                f"{len(self.scores)} scores: return (Q, h, w) and (Q,)."
            )

    def __len__(self) -> int:
        return len(self.scores)


@runtime_checkable
class MaskProposer(Protocol):
    """A part that proposes regions of an image."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal hash of weights and settings: equal if and only if the proposals are."""

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return the regions of a PIL image, best first. The gradient mode stays as it is.

        Args:
            image: any size.
            words: what is looked for. Most proposers find everything and do not read them.

        Raises:
            UsageError: a proposer that finds words gets none.
        """


@dataclass(frozen=True)
class Seen:
    """An image that a promptable model has encoded once, for any number of prompts.

    Args:
        features: the model's own maps, finest first.
        size: (H, W) of the image, in pixels.
        scale: pixels of the model's input a pixel of the image, (vertical, horizontal).
    """

    features: tuple[Tensor, ...]
    size: tuple[int, int]
    scale: tuple[float, float]


@dataclass(frozen=True)
class Prompts:
    """P prompts for one image, each of any of the three kinds.

    Args:
        points: (P, n, 2) x and y in pixels of the image; None: no points.
        labels: (P, n) of the points: 1 inside, 0 outside, -10 no point. None: all inside.
        boxes: (P, 4) x0 y0 x1 y1 in pixels of the image; None: no boxes.
        masks: (P, h, w) logits over the image, resized by the model to its own grid; None: no masks.

    Raises:
        UsageError: there is no prompt, or the kinds differ in number.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        counts = {len(t) for t in (self.points, self.labels, self.boxes, self.masks) if t is not None}
        if not counts or (self.labels is not None and self.points is None):
            raise UsageError("A promptable model needs points, boxes or masks, and got none: give some.")
        if len(counts) > 1:
            raise UsageError(f"Points, boxes and masks differ in number ({sorted(counts)}): give one each per prompt.")

    def __len__(self) -> int:
        return next(len(t) for t in (self.points, self.boxes, self.masks) if t is not None)


@dataclass(frozen=True)
class Prompted:
    """Answers to P prompts, M masks each.

    Args:
        logits: (P, M, H, W) float32 at the image's own size; a pixel is inside where its logit is above 0.
        iou: (P, M) float32, the model's own estimate of each mask's IoU with the thing that was meant.
    """

    logits: Tensor
    iou: Tensor


@runtime_checkable
class PromptableMasks(Protocol):
    """A part that draws the mask that points, a box or a rough mask mean."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal hash of weights and settings: equal if and only if the masks are."""

    def see(self, image: Any, /) -> Seen:
        """Encode a PIL image of any size, once."""

    def ask(self, seen: Seen, prompts: Prompts, /, *, several: bool = False) -> Prompted:
        """Return the masks of prompts; one per prompt, or the model's several readings of each.

        The gradient mode stays as it is.
        """
