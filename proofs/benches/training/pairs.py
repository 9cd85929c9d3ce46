"""What proofs on captioned photos share: the bench of linear heads on frozen towers, fresh heads, and spoiled captions.

Every training of a proof runs for the same number of steps, from the same start of each seed; nothing is chosen on the
held-out photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.core import Backbone, Column, Run, Table
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.boards.tune import TuneBench
from diptych.features.frozen import Headed, HeadSpace
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.fresh import fresh_heads

WIDTH = 128
"""Joint width of fresh heads."""
FRESH = Fit(lr=1e-3, batch=128, steps=200, schedule=Schedule(warmup=20), log_every=50)
"""Settings of fresh heads in every proof, fixed before any result was seen."""


@dataclass(frozen=True)
class NewHeads:
    """Starts a training from untrained linear heads over the frozen towers."""

    scale: float = 1 / 0.07
    bias: float = 0.0

    def __call__(self, space: Headed, run: Run) -> HeadSpace:
        """Return the heads of a seed."""
        return fresh_heads(space, WIDTH, run, scale=self.scale, bias=self.bias)


def open_pairs(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, queries: slice | None = None
) -> TuneBench:
    """Open captioned photos, whose split val is held out; ``queries`` are the captions of each that are asked for."""
    whole = open_data(present(name, "captions.csv"), need="captions", text="caption_*")
    held = whole.split("val")
    if queries is not None:
        held = with_captions(held, [tuple(texts)[queries] for texts in held.columns["captions"].values])
    data = replace(whole, splits={"train": whole.split("train"), "val": held})
    bench = TuneBench(data, backbone, FRESH, run, seeds, part="recall_at_1", metric="value")
    sizes = {"items": len(bench.held_out), "train": len(bench.train)}
    bench.report = {"data_hash": _hash(whole), "split": "val", **sizes, "trains": "linear heads on frozen towers"}
    return bench


def shuffled_captions(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the captions of each photo given to another."""
    order = np.random.default_rng(run.integer("captions")).permutation(len(table))
    return with_captions(table, [table.columns["captions"].values[i] for i in order])


def with_captions(table: Table[Any], captions: Sequence[Sequence[str]]) -> Table[Any]:
    """Return the table with other captions."""
    return Table(table.items, {**table.columns, "captions": Column("captions", tuple(tuple(c) for c in captions))})


def _hash(data: LabelledData) -> str:
    digest = hashlib.sha256(data.hash.encode())
    for table in data.splits.values():
        for captions in table.columns["captions"].values:
            digest.update("\n".join(captions).encode())
    return digest.hexdigest()
