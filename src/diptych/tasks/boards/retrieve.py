"""Retrievers on records with entities: a third of the entities is asked, the records of the others teach, in turn; R@1 beside chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diptych.core.backbone import Backbone
from diptych.core.errors import UnreadableItem
from diptych.core.run import Run
from diptych.tasks.boards.bench import MEANS, Job, Measured, Statistic
from diptych.tasks.proofs.retrieve import CHANCE, LinkageBench, LinkageData

SLOW: tuple[Job, ...] = (("clippings", ""),)
"""Rows that train both towers, which takes hours on a CPU: run only where they are asked for by name."""


@dataclass
class RecordBench:
    """How retrievers are measured; gains are over the untrained mean of picture and text.

    Args:
        data: records with entities.
        backbone: of all retrievers.
        run: device and cache.
        seeds: of the deals of entities, and of trainings.

    Raises:
        DataError: no record has a partner.
    """

    data: LinkageData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    failed: tuple[UnreadableItem, ...] = ()
    metric: str = "recall@1"
    statistic: Statistic = MEANS
    always: tuple[Job, ...] = (("clippings", "mean"), (CHANCE, ""))
    bench: LinkageBench = field(init=False)

    def __post_init__(self) -> None:
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
