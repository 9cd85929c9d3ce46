"""Retrievers on records with entities: a third of the entities is asked, the records of the others teach, in turn; R@1
beside chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diptych.core.backbone import Backbone
from diptych.core.errors import UnreadableItem
from diptych.core.run import Run
from diptych.data.record_parts import RecordPart
from diptych.evaluation.boards.bench import MEANS, Job, Measured, Statistic
from diptych.evaluation.datasets import LinkageData
from diptych.evaluation.proofs.retrieve import CHANCE, LinkageBench
from diptych.features.embed import embed_readable

SLOW: tuple[Job, ...] = (("clippings", ""),)
"""Rows that train both towers, which takes hours on a CPU: run only where they are asked for by name."""


@dataclass
class RecordBench:
    """How retrievers are measured; gains are over the untrained mean of picture and text.

    Records whose picture cannot be read are left out, with their text, and named in ``failed``.

    Args:
        data: records with entities.
        backbone: of all retrievers.
        run: device and cache.
        seeds: of the deals of entities, and of trainings.

    Raises:
        DataError: no record has a partner that can be read.
    """

    data: LinkageData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    metric: str = "recall@1"
    statistic: Statistic = MEANS
    always: tuple[Job, ...] = (("clippings", "mean"), (CHANCE, ""))
    failed: tuple[UnreadableItem, ...] = field(init=False)
    bench: LinkageBench = field(init=False)

    def __post_init__(self) -> None:
        self.data, self.failed = only_readable(self.data, self.backbone, self.run)
        self.bench = LinkageBench(self.data, self.backbone, self.run, self.seeds)
        self.items = len(self.bench.asked())

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash and sizes."""
        entities = int(self.data.entities.max()) + 1
        return {"dataset": self.data.name, "data_hash": self.data.hash, "items": self.items, "entities": entities}

    def measure(self, slug: str, variant: str) -> Measured:
        """Link every record that has a partner, once a seed: the deals differ even where nothing is trained."""
        return Measured(self.bench.hits(slug, variant), {}, self.seeds)


def only_readable(data: LinkageData, backbone: Backbone, run: Run) -> tuple[LinkageData, tuple[UnreadableItem, ...]]:
    """Return the records without those whose picture cannot be read, and why it cannot; each is embedded, which the
    base row needs.
    """
    pictures = RecordPart(data.records, "image")
    found = embed_readable(backbone.image, pictures, run)
    if not found.failed:
        return data, ()
    broken = set(pictures.rows) - {pictures.rows[i] for i in found.kept.tolist()}
    rows = np.array([i for i in range(len(data.records)) if i not in broken], dtype=np.int64)
    entities = np.unique(data.entities[rows], return_inverse=True)[1].astype(
        np.int64
    )  # an entity may have lost all its records
    groups = None if data.groups is None else data.groups[rows]
    return replace(data, records=data.records.take(rows.tolist()), entities=entities, groups=groups), found.failed
