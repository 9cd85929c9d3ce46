"""What segmenters that learn masks share: labelled crops, the names of the trained classes, and the words of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from diptych.core import Backbone, ClassNames, DataError, Evidence, MissingEvidence, Row, Run, Table
from diptych.core.void import WIDE, void_in
from diptych.data.images import need_size
from diptych.data.labelled import NamedTable
from diptych.data.words.classnames import tidy
from diptych.features.heads import text_head

IGNORE = WIDE
"""Class position of pixels of no class in training, whatever the width of the label maps."""


@dataclass(frozen=True)
class ClassWords:
    """The words of K classes as vectors.

    Args:
        vectors: (W, D) unit embeddings of the words.
        owner: (W,) int64 class position of each.
    """

    vectors: Tensor
    owner: Tensor


def words_of(backbone: Backbone, classes: ClassNames, run: Run) -> ClassWords:
    """Embed every word of every class, with all templates each."""
    queries, owner = classes.queries()
    return ClassWords(text_head(backbone, queries.prompts(), run), torch.tensor(owner))


def trained_on(evidence: Evidence[Any], classes: ClassNames) -> tuple[Table[Any], ClassNames]:
    """Return the labelled photos, and the classes that their masks number.

    A ``data.labelled.NamedTable`` knows its classes; masks of another table number the classes of the task.

    Raises:
        MissingEvidence: there is no train table.
        DataError: it has no masks.
    """
    table = evidence.train
    if table is None:
        raise MissingEvidence(
            "This segmenter learns masks from photos with label maps, and evidence.train is missing: give some."
        )
    if not len(table) or not {"mask", "panoptic"} & table.columns.keys():
        raise DataError(f"The {len(table)} photos to learn from have no masks: give photos with label maps.")
    if isinstance(table, NamedTable) and table.classes:
        names = tuple(tidy(c) for c in table.classes)
        words = tuple((n, *w[1:]) for n, w in zip(names, table.words, strict=True)) if table.words else ()
        return table, ClassNames(names, classes.templates, words)
    return table, classes


def seen_classes(classes: ClassNames, trained: ClassNames) -> tuple[bool, ...]:
    """Return K marks: True for classes of which a word is one of the words of the trained classes.

    Example:
        >>> seen_classes(ClassNames(("Cow", "lion")), ClassNames(("cow", "grass")))
        (True, False)
    """
    known = {w.casefold() for of_class in _words(trained) for w in of_class}
    return tuple(any(w.casefold() in known for w in of_class) for of_class in _words(classes))


def crop_view(row: Row, g: Generator, side: int, zoom: float) -> dict[str, Tensor]:
    """Return a random square of a labelled photo, and its labels: one item of a batch.

    Args:
        row: of a table with a column "panoptic" or "mask".
        g: random numbers.
        side: S of the crop, in pixels.
        zoom: the square is the shorter side of the photo, divided by up to this, >= 1. Half of the squares are
            mirrored.

    Returns:
        "pixels" (3, S, S) in [0, 1] and "labels" (2, S, S) int64, see ``mask_queries.segments``.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=g)))
    labels = labels_of(row)
    need_size(row.key, labels.shape[1:], (row.item.height, row.item.width))
    cut = max(1, round(min(row.item.size) / rng.uniform(1, zoom)))
    left, top = (int(rng.integers(length - cut + 1)) for length in row.item.size)
    square = row.item.convert("RGB").crop((left, top, left + cut, top + cut))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    at = ((np.arange(side) + 0.5) * cut / side).astype(np.int64)
    part = labels[:, top + at[:, None], left + at]
    x, y = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(part.astype(np.int64))
    if rng.random() < 0.5:
        x, y = x.flip(2), y.flip(2)
    return {"pixels": x.contiguous(), "labels": y.contiguous()}


def labels_of(row: Row) -> NDArray[np.integer[Any]]:
    """Return (2, H, W) int32: class positions, ``IGNORE`` for pixels of none, and numbers of segments, which are 0
    where only classes are known.
    """
    if "panoptic" in row.columns:
        classes, numbers = np.moveaxis(np.asarray(row.columns["panoptic"]), -1, 0)
    else:
        classes = np.asarray(row.columns["mask"])
        numbers = np.zeros_like(classes)
    known = np.where(classes == void_in(classes), IGNORE, classes.astype(np.int32))
    return np.stack([known, numbers.astype(np.int32)])


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise where a label is neither a class position nor ``IGNORE``.

    Raises:
        DataError: there is one.
    """
    strange = labels[:, 0][(labels[:, 0] >= classes) & (labels[:, 0] != IGNORE)]
    if len(strange):
        raise DataError(
            f"A mask has label {int(strange[0])}, and there are {classes} classes: number them from 0, or give photos "
            f"whose data set names them."
        )


def _words(classes: ClassNames) -> Sequence[Sequence[str]]:
    return classes.words or [(name,) for name in classes.names]
