"""Retrievers on records with entities: records of unseen entities are linked by what other entities taught; R@1.

A seed deals the entities into three parts. Each part is tested once, by a system that was fitted on the records of the
other two, so every record is asked once per seed. A hit: the nearest gallery record is of the same entity; ties count
against (``metrics.retrieval``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core import Backbone, DataError, Evidence, Kit, Retriever, Run, UnreadableItem
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Measured, Statistic
from diptych.evaluation.datasets import LinkageData
from diptych.features import artefacts
from diptych.features.artefacts import About
from diptych.metrics.retrieval import candidates, first_ranks
from diptych.tasks.link import readable_records

SLOW: tuple[Arm, ...] = (Arm("clippings"),)
"""Rows that train both towers, which takes hours on a CPU: run only where they are asked for by name."""
PARTS = 3
"""Parts into which entities are split."""
Rows = NDArray[np.int64]


@dataclass
class RecordBench:
    """How retrievers are measured; gains are over the untrained mean of picture and text.

    Records whose picture cannot be read are left out, with their text, and named in ``failed``.

    Raises:
        DataError: no record has a partner that can be read, or the records are of fewer entities than parts.
    """

    data: LinkageData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    metric: str = "recall@1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (Arm("clippings", "mean"), Arm(CHANCE))
    failed: tuple[UnreadableItem, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.data, self.failed = only_readable(self.data, self.backbone, self.run)
        self.may, self.true = candidates(self.data.entities, self.data.groups)
        side = np.ones(len(self.true), dtype=bool) if self.data.groups is None else self.data.groups == 0
        self.rows = np.flatnonzero(self.true.any(1) & side)
        if not len(self.rows):
            raise DataError(f"No record of {self.data.name} has a partner: give matches.")
        if (entities := len(np.unique(self.data.entities))) < PARTS:
            raise DataError(
                f"The records of {self.data.name} are of {entities} entities: give {PARTS} or more, since others teach."
            )

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash and sizes."""
        entities = int(self.data.entities.max()) + 1
        return {"dataset": self.data.name, "data_hash": self.data.hash, "items": len(self.rows), "entities": entities}

    def measure(self, arm: Arm) -> Measured:
        """Link every record that has a partner, once per seed: the deals differ even where nothing is trained."""
        return Measured(np.stack([self._hits(arm, replace(self.run, seed=s)) for s in self.seeds]), {}, self.seeds)

    def read(self, folder: Path, about: About) -> Any:
        """Return the retriever of a folder; raises UsageError where it was fitted on another backbone."""
        return artefacts.load(folder, Kit.of(self.backbone))

    def _hits(self, arm: Arm, run: Run) -> Floats:
        """Return the hits of the asked records, or the expected ones of chance."""
        data, hits = self.data, np.zeros(len(self.data.records))
        rng = np.random.default_rng(run.integer("parts"))
        part_of = rng.permutation(int(data.entities.max()) + 1) % PARTS
        for part in range(PARTS):
            inside = part_of[data.entities] == part
            # a catalogue is there whole, its other entries distract
            answers = inside if data.groups is None else data.groups == 1
            queries, gallery = np.intersect1d(np.flatnonzero(inside), self.rows), np.flatnonzero(answers)
            if not len(queries):
                continue
            may, true = (pairs[np.ix_(queries, gallery)] for pairs in (self.may, self.true))
            if arm.system == CHANCE:
                hits[queries] = true.sum(1) / may.sum(1)
                continue
            scores = np.where(may, self._scores(arm, np.flatnonzero(~inside), queries, gallery, run), -np.inf)
            hits[queries] = first_ranks(scores, true) == 1
        return hits[self.rows]

    def _scores(self, arm: Arm, learn: Rows, queries: Rows, gallery: Rows, run: Run) -> NDArray[np.floating[Any]]:
        data: LinkageData = arm.spoil(self.data, learn, run) if arm.spoil else self.data
        if arm.loaded is not None:
            fitted = arm.loaded.fitted
        else:
            method = catalog.row(catalog.find(arm.system, Retriever), arm.variant)
            evidence = Evidence(train=data.table(learn)) if "train" in method.card.needs.optional else Evidence()
            fitted = method.fit(Kit({"main": self.backbone}), evidence, run)
        scores = fitted.against(data.records.take(gallery.tolist()), run)(data.records.take(queries.tolist()))
        return np.asarray(scores.numpy())


def only_readable(data: LinkageData, backbone: Backbone, run: Run) -> tuple[LinkageData, tuple[UnreadableItem, ...]]:
    """Return the records whose picture can be read, and why others cannot; each is embedded, as the base row needs."""
    records, places, failed = readable_records(data.records, backbone, run)
    if not failed:
        return data, ()
    rows = np.array(list(places), dtype=np.int64)
    entities = np.unique(data.entities[rows], return_inverse=True)[1]  # an entity may have lost all its records
    groups = None if data.groups is None else data.groups[rows]
    return replace(data, records=records, entities=entities.astype(np.int64), groups=groups), failed
