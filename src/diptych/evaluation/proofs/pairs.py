"""The bench of proofs over captioned photos: train small heads on frozen towers, then find held-out photos by caption
and back.

Every training of a proof runs for the same number of steps, from the same start of each seed; nothing is chosen on the
held-out photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Table
from diptych.core.errors import UnreadableItem
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Learns, Objective, Recipe, Trained, everything
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Measured, Statistic
from diptych.features.fresh import fresh_heads
from diptych.features.frozen import Headed, HeadSpace, head_names, on_trunks
from diptych.metrics.retrieval import first_ranks
from diptych.metrics.spread import effective_rank
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule

Floats = NDArray[np.float64]

KS = (1, 5, 10)
"""Numbers at which recall is measured."""
WIDTH = 128
"""Joint width of fresh heads."""
FRESH = Fit(lr=1e-3, batch=128, steps=200, schedule=Schedule(warmup=20), log_every=50)
"""Settings of fresh heads in every proof, fixed before any result was seen."""


@dataclass(frozen=True)
class Training:
    """One way to train: the system of an arm.

    Args:
        method: objective or recipe.
        fit: its settings.
        rows: changes the training rows: shuffled captions, fewer of them.
        kit: parts beside the space, made from the training rows as they were.
        own_heads: train the backbone's own heads instead of fresh ones.
        start: scale and bias of fresh heads at the start.
        learns: which parameters of the space learn.
    """

    method: Objective | Recipe
    fit: Fit = FRESH
    rows: Callable[[Table[Any], Run], Table[Any]] | None = None
    kit: Callable[[Table[Any], Run], Mapping[str, Any]] | None = None
    own_heads: bool = False
    start: tuple[float, float] = (1 / 0.07, 0.0)
    learns: Learns = everything


def shuffled_captions(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the captions of each photo given to another."""
    order = np.random.default_rng(run.integer("captions")).permutation(len(table))
    return with_captions(table, [table.columns["captions"].values[i] for i in order])


def with_captions(table: Table[Any], captions: Sequence[Sequence[str]]) -> Table[Any]:
    """Return the table with other captions."""
    return Table(table.items, {**table.columns, "captions": Column("captions", tuple(tuple(c) for c in captions))})


@dataclass
class PairBench:
    """Captioned photos as trunk vectors; each arm trains on them and is asked for the held-out ones.

    Args:
        name: of the data set.
        backbone: whose towers are frozen.
        run: device, cache and progress.
        seeds: of heads, draws and shuffles.
        queries: which captions of a held-out photo are searched for.
    """

    name: str
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    queries: slice = field(default_factory=lambda: slice(None))  # Python 3.11 hashes no slice
    metric: str = "value"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = ()
    failed: tuple[UnreadableItem, ...] = ()

    def __post_init__(self) -> None:
        data = open_data(present(self.name, "captions.csv"), need="captions", text="caption_*")
        self.hash = _hash(data)
        self.whole = Headed(self.backbone)
        self.train, self.test = (on_trunks(self.whole, data.split(split), self.run) for split in ("train", "val"))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Hash, sizes, and what is trained."""
        sizes = {"items": len(self.test), "train": len(self.train)}
        return {"data_hash": self.hash, "split": "val", **sizes, "trains": "linear heads on frozen towers"}

    def start(self, how: Training, run: Run) -> HeadSpace:
        """Return the space that a training starts from."""
        return (
            self.whole if how.own_heads else fresh_heads(self.whole, WIDTH, run, scale=how.start[0], bias=how.start[1])
        )

    def trained(self, how: Training) -> list[Trained]:
        """Return what a training made of each seed."""
        heads = head_names(self.backbone) if how.own_heads else None
        learns: Learns = how.learns if heads is None else lambda name: name in heads and how.learns(name)
        results = []
        for seed in self.seeds:
            run = replace(self.run, seed=seed, workers=0, out=None)
            rows = how.rows(self.train, run) if how.rows else self.train
            parts = how.kit(self.train, run) if how.kit else {}
            kit = Kit({"main": self.start(how, run), **parts})
            results.append(train_space(how.method, kit, Evidence(train=rows), how.fit, run, learns=learns))
        return results

    def measure(self, arm: Arm) -> Measured:
        """Train, and find each held-out photo by its captions and back.

        Parts: "recall_at_1" and "recall_at_5", (R, N) means of both directions, and "effective_rank", (R, 1) of photos
        and queries as a share of the width. Chance has the expected recalls, and rank 0.
        """
        if arm.system == CHANCE:
            recalls = {k: np.tile(self._chance(k), (len(self.seeds), len(self.test))) for k in KS}
            ranks = np.zeros((len(self.seeds), 1))
        else:
            pairs = [self.vectors(result.space) for result in self.trained(arm.system)]
            recalls = {k: np.stack([recall(x, y, k) for x, y in pairs]) for k in KS}
            ranks = np.array([[_spread(x, y)] for x, y in pairs])
        others = {f"recall_at_{k}": float(values.mean()) for k, values in recalls.items()}
        others["effective_rank"] = float(ranks.mean())
        parts = {f"recall_at_{k}": Measured(values, others, self.seeds) for k, values in recalls.items()}
        parts["effective_rank"] = Measured(ranks, others, self.seeds)
        return Measured(recalls[1], others, self.seeds, parts)

    def vectors(self, space: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, D) and (N, Q, D) unit embeddings of the held-out photos and of their queries."""
        texts = [tuple(c)[self.queries] for c in self.test.columns["captions"].values]
        with torch.inference_mode():
            x = space.image.encode(space.image.inputs([self.test.items[i] for i in range(len(self.test))]))
            y = space.text.encode(space.text.inputs([t for own in texts for t in own]))
        return normalize(x, dim=-1), normalize(y, dim=-1).unflatten(0, (len(texts), -1))  # type: ignore[no-untyped-call]

    def _chance(self, k: int) -> float:
        n, q = len(self.test), len(tuple(self.test.columns["captions"].values[0])[self.queries])
        missed = np.prod([(n * q - q - i) / (n * q - i) for i in range(k)])
        return float((1 - missed + k / n) / 2)


def _spread(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((effective_rank(x.numpy()) + effective_rank(y.flatten(0, 1).numpy())) / 2 / x.shape[1])


def recall(images: torch.Tensor, texts: torch.Tensor, k: int) -> Floats:
    """Return (N,) recall at k, the mean of both directions.

    Args:
        images: (N, D) unit embeddings.
        texts: (N, Q, D) unit embeddings of each image's own texts.
        k: how many of the best count.
    """
    n, q = texts.shape[:2]
    scores = (images @ texts.flatten(0, 1).T).double().numpy()
    own = np.repeat(np.eye(n, dtype=bool), q, axis=1)
    to_text = first_ranks(scores, own) <= k
    to_image = (first_ranks(scores.T, own.T) <= k).reshape(n, q).mean(1)
    return np.asarray((to_text + to_image) / 2, dtype=np.float64)


def _hash(data: LabelledData) -> str:
    digest = hashlib.sha256(data.hash.encode())
    for table in data.splits.values():
        for captions in table.columns["captions"].values:
            digest.update("\n".join(captions).encode())
    return digest.hexdigest()
