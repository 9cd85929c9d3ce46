"""Fitting of a head on labelled pictures, for the curator ``vector-head``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, DataError, Run, Table, UnreadableItem, UsageError
from diptych.data.draws import uniform
from diptych.data.labelled import LabelledData
from diptych.features.embed import embed_arrays
from diptych.metrics.auroc_intervals import auroc_interval
from diptych.metrics.selective import precision_threshold
from diptych.nn.vector_head import VectorHead, fit_head

HELD_OUT = 0.3
"""Share of the pictures that a head is checked on, where the data have one split alone; by a hash of their content."""
PRECISIONS = (0.8, 0.9, 0.95)
"""Precisions whose thresholds a report names."""


def fit_labelled(
    data: LabelledData, positive: str, backbone: Backbone, run: Run
) -> tuple[VectorHead, tuple[UnreadableItem, ...]]:
    """Fit a head that scores pictures of one class high, and check it on pictures that it was not fitted on.

    Args:
        data: pictures with classes. The head is fitted on "train" and checked on "val", else on "test"; of one split
            alone, ``HELD_OUT`` of the pictures are held out.
        positive: name of the class; all others are negative.
        backbone: that gives the vectors.
        run: device, cache and seed.

    Returns:
        The head, and the pictures that cannot be read.

    Raises:
        UsageError: there is no such class.
        DataError: too few pictures of a kind.
    """
    if not data.classes:
        raise UsageError(f"{data.name} has no classes, and so no {positive!r}: give folders of classes, or a table.")
    if positive not in data.classes:
        raise UsageError(
            f"{data.name} has no class {positive!r} to score high, only {', '.join(data.classes)}: name one of them."
        )
    number, failed = data.classes.index(positive), list[UnreadableItem]()
    seen: dict[str, tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]] = {}
    for split, table in data.splits.items():
        embedded = embed_arrays(backbone.image, table.items, run)
        failed += embedded.failed
        seen[split] = (
            embedded.values[:, 0],
            table.labels()[embedded.kept] == number,
            _held_out(table, embedded.kept, run),
        )
    if "train" in seen and len(seen) > 1:
        fit, check = seen["train"][:2], seen["val" if "val" in seen else "test"][:2]
    else:
        vectors, marks, held = (np.concatenate(columns) for columns in zip(*seen.values(), strict=True))
        fit, check = (vectors[~held], marks[~held]), (vectors[held], marks[held])
    about: dict[str, Any] = {"name": positive, "backbone": backbone.fingerprint, "seed": run.integer("parts of a head")}
    return fit_head(*fit, *check, **about), tuple(failed)


def _held_out(table: Table[Any], positions: NDArray[np.int64], run: Run) -> NDArray[np.bool_]:
    seed = run.integer("held out of a head")
    return np.array([uniform(seed, table.items.key(i)) < HELD_OUT for i in positions.tolist()], dtype=bool)


def head_report(head: VectorHead) -> dict[str, Any]:
    """Return what a head is and how well it did on pictures it was not fitted on: AUC with its 95 % interval, and the
    threshold of each of ``PRECISIONS``, None where none is promised.
    """
    facts: dict[str, Any] = {"name": head.name, "dim": head.dim, "layers": len(head.layers)}
    if not len(head.val):
        return facts
    area = auroc_interval(head.val[None], head.right)
    cuts: dict[str, float | None] = {}
    for precision in PRECISIONS:
        try:
            cuts[f"{precision:g}"] = precision_threshold(head.val, head.right, precision)
        except DataError:
            cuts[f"{precision:g}"] = None
    return {
        **facts, "val": len(head.val), "val_positive": int(head.right.sum()), "val_auc": area.value,
        "val_auc_interval": [area.low, area.high], "thresholds": cuts,
    }  # fmt: skip
