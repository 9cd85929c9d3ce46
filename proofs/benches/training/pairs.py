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

TRAINED_ON = "flickr8k_small"
"""What heads are trained on for a set without a split for it."""
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
    """Open captioned photos, whose split val is held out; ``queries`` are the captions of each that are asked for.

    A set of one split is held out as a whole, and what is trained on is the train split of ``TRAINED_ON``.
    """
    whole = _captioned(name)
    alone = len(whole.splits) == 1
    trained_on = _captioned(TRAINED_ON) if alone else whole
    split = next(iter(whole.splits)) if alone else "val"
    held = whole.split(split)
    if queries is not None:
        held = with_captions(held, [tuple(texts)[queries] for texts in held.columns["captions"].values])
    data = replace(whole, splits={"train": trained_on.split("train"), "val": held})
    bench = TuneBench(data, backbone, FRESH, run, seeds, part="recall_at_1", metric="value")
    sizes = {"items": len(bench.held_out), "train": len(bench.train)}
    facts = {"trained_on": TRAINED_ON, "trained_on_hash": _hash(trained_on)} if alone else {}
    bench.report = {
        "data_hash": _hash(whole), "split": split, **sizes, **facts, "trains": "linear heads on frozen towers",
    }  # fmt: skip
    return bench


def _captioned(name: str) -> LabelledData:
    return open_data(present(name, "captions.csv"), need="captions", text="caption_*")


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
