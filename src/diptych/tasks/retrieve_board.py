"""Every fitting retriever on one set of records, with the same deals of entities, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.errors import MissingEvidence, MissingExtra, MissingHook, MissingPart, UsageError
from diptych.core.method import Retriever
from diptych.core.run import Run
from diptych.metrics.interval import Interval, bootstrap_mean, paired_bootstrap
from diptych.tasks.proofs.retrieve import CHANCE, LinkageBench, LinkageData
from diptych.tasks.record import circumstances, plain, write_json

BASE = ("clippings", "mean")
"""The row that gains are measured against: the untrained mean."""
SLOW = (("clippings", ""),)
"""Rows that train both towers: run only where they are asked for by name."""


@dataclass(frozen=True)
class RetrieveRow:
    """One system over all seeds.

    Args:
        method: slug of the system; ``variant``: its row on the card.
        recall: share of records whose nearest is of the same entity, R@1, with its interval over records and seeds.
        gain: over the untrained mean, paired by record and seed; None for that row, or where it was not run.
    """

    method: str
    variant: str
    recall: Interval
    gain: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        gain = None if self.gain is None else {"recall@1": self.gain.value, "ci95": [self.gain.low, self.gain.high]}
        found = {"recall@1": self.recall.value, "ci95": [self.recall.low, self.recall.high], "gain": gain}
        return {"method": self.method, "variant": self.variant, **found}


@dataclass(frozen=True)
class RetrieveBoard:
    """All rows, best first, and why others did not run."""

    rows: tuple[RetrieveRow, ...]
    missing: Mapping[str, str]
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found: dict[str, Any] = plain(
            {"kind": "board-retrieve", **self.facts, "missing": self.missing, "rows": [r.as_dict() for r in self.rows]}
        )
        return found

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json; raises UsageError where it exists and ``overwrite`` is False."""
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)


def retrieve_board(
    data: LinkageData,
    backbone: Backbone,
    run: Run,
    *,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    command: str = "",
) -> RetrieveBoard:
    """Run every fitting retriever: a third of the entities is asked, the records of the others teach, in turn.

    Args:
        data: records with entities.
        backbone: for all rows.
        run: device, precision, cache and progress.
        methods: slugs; None: all but the rows that train both towers, which takes hours on a CPU.
        seeds: of the deals and trainings.
        command: the command line that repeats the run.

    Raises:
        UsageError: no seeds, or a method links no records.
        DataError: no record has a partner.
    """
    if not seeds:
        raise UsageError("A board takes at least one seed: give --seeds 1,2,3.")
    slugs = methods or [card["slug"] for card in catalog.cards() if card["verb"] == "retrieve"]
    jobs = [(CHANCE, "")]
    for slug in slugs:
        found = catalog.find(slug)
        if not issubclass(found, Retriever):
            raise UsageError(f"{slug} links no records: see 'diptych systems --verb retrieve'.")
        jobs += [(slug, variant) for variant in found.card.variants if methods or (slug, variant) not in SLOW]
    bench, missing, hits = LinkageBench(data, backbone, replace(run, out=None), tuple(seeds)), dict[str, str](), {}
    with run.track("rows", len(jobs)) as bar:
        for job in jobs:
            try:
                hits[job] = bench.hits(*job)
            except (MissingHook, MissingPart, MissingExtra, MissingEvidence) as error:
                missing[" ".join(filter(None, job))] = str(error)
            bar.advance()
    seed, base = run.integer("bootstrap"), hits.get(BASE)
    rows = [
        RetrieveRow(*job, bootstrap_mean(own, seed), None if base is None or job == BASE else paired_bootstrap(own, base, seed))
        for job, own in hits.items()
    ]
    facts = {
        "dataset": data.name,
        "data_hash": data.hash,
        "items": int(np.shape(hits[CHANCE, ""])[1]),
        "entities": int(data.entities.max()) + 1,
        "seeds": list(seeds),
        **circumstances(backbone, run, command),
    }
    return RetrieveBoard(tuple(sorted(rows, key=lambda r: -r.recall.value)), missing, facts)
