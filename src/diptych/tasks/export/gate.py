"""How good exported encoders are: cosines to torch's vectors, and zero-shot top-1 on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engines.parity import Reference, rows
from diptych.core import Backbone, ClassNames, Encoder, Run, Runner, Samples, Table, UnreadableItem, UsageError
from diptych.core.run import silent
from diptych.features.heads import text_head

BATCH = 16


@dataclass(frozen=True)
class Parity:
    """Cosines of exported to torch's float32 vectors.

    Args:
        items: how many.
        least, mean: over items that ran together.
        least_alone: over the same items, each alone.
        mates: least cosine of an item's two vectors to each other: a vector must not depend on its batch mates.
    """

    items: int
    least: float
    mean: float
    least_alone: float
    mates: float


@dataclass(frozen=True)
class Gate:
    """Zero-shot top-1 on labelled images, fractions.

    Args:
        exported: of the exported image encoder's, with torch's class head.
        allowed: greatest drop that is allowed.
    """

    items: int
    torch: float
    exported: float
    allowed: float


@dataclass(frozen=True)
class Pictures:
    """Readable images, read again whenever they are asked for: hundreds of full-size photos do not fit into memory."""

    images: Samples[Any]
    chosen: tuple[int, ...]

    def __iter__(self) -> Iterator[Any]:
        return (self.images[i] for i in self.chosen)

    def chunks(self) -> Iterator[list[Any]]:
        """Yield them, some at a time."""
        for start in range(0, len(self.chosen), BATCH):
            yield [self.images[i] for i in self.chosen[start : start + BATCH]]


def readable(images: Samples[Any], limit: int, skipped: dict[str, UnreadableItem]) -> Pictures:
    """Return up to ``limit`` images, evenly spread, without those that cannot be read, which ``skipped`` then holds by
    name.

    Raises:
        UsageError: none can be read.
    """
    chosen = tuple(i for i in _spread(len(images), limit) if _read(images, i, skipped) is not None)
    if not chosen:
        raise UsageError("None of the images can be read: give a folder of photos.")
    return Pictures(images, chosen)


def _read(images: Samples[Any], i: int, skipped: dict[str, UnreadableItem]) -> Any | None:
    """Return an image; None where it cannot be read, and remember why."""
    try:
        return images[i]
    except UnreadableItem as error:
        skipped[error.name] = error
        return None


def _spread(count: int, limit: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, limit)).round())] if count else []


def parity(
    encoder: Encoder[Any], forward: Callable[[Any], NDArray[np.float32]], items: Pictures | None, run: Run
) -> Parity:
    """Compare an exported encoder's vectors with torch's, on images or, with None, on fixed items."""
    parts = []
    with run.track("compare vectors", len(items.chosen)) if items else silent("", None) as bar:
        for some in items.chunks() if items else [None]:
            parts.append(Reference(encoder, some).compared(forward))
            bar.advance(len(some or ()))
    together, alone, mates = (
        np.concatenate([getattr(f, name) for f in parts]) for name in ("together", "alone", "mates")
    )
    return Parity(len(together), float(together.min()), float(together.mean()), float(alone.min()), float(mates.min()))


def gate(
    backbone: Backbone, forward: Runner, labelled: Table[Any], classes: ClassNames, run: Run, limit: int,
    allowed: float, skipped: dict[str, UnreadableItem],
) -> Gate:  # fmt: skip
    """Count right answers of zero-shot classification, with torch's class head.

    Args:
        backbone: in torch, float32.
        forward: the exported image encoder.
        labelled: images with labels; those that cannot be read are remembered in ``skipped``.
        classes: their names.
        run: cache of the head, and progress.
        limit: images that are used, evenly spread.
        allowed: greatest drop that is allowed, a fraction.
        skipped: name -> error, added to.

    Raises:
        UsageError: none can be read.
    """
    head = text_head(backbone, classes.prompts(), replace(run, engine=None)).numpy()
    labels, chosen = labelled.labels(), _spread(len(labelled), limit)
    right, count = np.zeros(2), 0
    with run.track("count right answers", len(chosen)) as bar:
        for start in range(0, len(chosen), BATCH):
            part = chosen[start : start + BATCH]
            read = {i: image for i in part if (image := _read(labelled.items, i, skipped)) is not None}
            bar.advance(len(part))
            if not read:
                continue
            x = backbone.image.inputs(list(read.values()))
            for which, vectors in enumerate((rows(backbone.image, x), forward(x))):
                unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
                right[which] += ((unit @ head.T).argmax(1) == labels[list(read)]).sum()
            count += len(read)
    if not count:
        raise UsageError("None of the labelled images can be read: give a folder of class folders with photos.")
    return Gate(count, float(right[0] / count), float(right[1] / count), allowed)
