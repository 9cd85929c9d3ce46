"""Proofs of linkage: records of unseen entities, linked by what other entities taught, and the same with shuffled
matches.

A seed deals the entities into three parts. Each part is tested once, by a system that was fitted on the records of the
other two, so every record is asked once a seed. A hit: the nearest gallery record is of the same entity; ties count
against (``metrics.retrieval``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import Evidence
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Retriever
from diptych.core.run import Run
from diptych.evaluation.datasets import LinkageData, open_linkage
from diptych.evaluation.proofs.own import OwnTrial, claim, control
from diptych.metrics.retrieval import candidates, first_ranks

PARTS = 3
"""Parts into which entities are dealt."""
CHANCE = "chance"


@dataclass(frozen=True)
class LinkageTrial:
    """The proof of one retriever.

    Args:
        variant: row of the card that is proved.
        over: data set -> (system, variant) that must be beaten; CHANCE is one.
        control_over: (system, variant) that the control must not beat.
        control: what is shuffled: "matches" of train, or "texts" among the records.
    """

    over: Mapping[str, tuple[tuple[str, str], ...]]
    control_over: tuple[str, str]
    variant: str = ""
    control: str = "matches"
    metric: str = "recall@1"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return hash, items, claims and control; see ``OwnTrial``."""
        bench = LinkageBench(open_linkage(name), backbone, run, tuple(seeds))
        seed = run.integer("bootstrap")
        own = bench.hits(slug, self.variant)
        claims = []
        for system, variant in self.over[bench.data.name]:
            about = {"over": system, "variant": variant, "shots": 0}
            claims.append(claim(about, self.metric, own, bench.hits(system, variant), seed))
        spoiled, base = bench.hits(slug, self.variant, spoil=self.control), bench.hits(*self.control_over)
        about = {"over": self.control_over[0], "variant": self.control_over[1], "shots": 0}
        return {
            "data_hash": bench.data.hash,
            "items": own.shape[1],
            "entities": int(bench.data.entities.max()) + 1,
            "claims": claims,
            "controls": [control(about, self.metric, spoiled, base, seed)],
            "beside": [],
        }


@dataclass
class LinkageBench:
    """One set with its deals, and what each system hit on it."""

    data: LinkageData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    known: dict[tuple[str, str, str], NDArray[np.float64]] = field(default_factory=dict)

    def hits(self, slug: str, variant: str, *, spoil: str = "") -> NDArray[np.float64]:
        """Return (seeds, asked records) hits of a system, or the expected ones of chance.

        Raises:
            UsageError: the system is no retriever.
            DataError: an entity has a single record, so nothing can be linked to it.
        """
        place = (slug, variant, spoil)
        if place not in self.known:
            self.known[place] = np.stack([self._hits(slug, variant, spoil, seed)[self.asked()] for seed in self.seeds])
        return self.known[place]

    def asked(self) -> NDArray[np.int64]:
        """Return the positions of records that ask and have a partner; raises DataError where none has, or all are of
        two entities.
        """
        _, true = candidates(self.data.entities, self.data.groups)
        side = np.ones(len(true), dtype=bool) if self.data.groups is None else self.data.groups == 0
        rows = np.flatnonzero(true.any(1) & side)
        if not len(rows):
            raise DataError(f"No record of {self.data.name} has a partner: give matches.")
        if (entities := len(np.unique(self.data.entities))) < PARTS:
            raise DataError(
                f"The records of {self.data.name} are of {entities} entities: give {PARTS} or more, since others teach."
            )
        return rows

    def _hits(self, slug: str, variant: str, spoil: str, seed: int) -> NDArray[np.float64]:
        data, run = self.data, replace(self.run, seed=seed)
        rng = np.random.default_rng(run.integer("parts"))
        part_of = rng.permutation(int(data.entities.max()) + 1) % PARTS
        found = np.zeros(len(data.records))
        for part in range(PARTS):
            inside = part_of[data.entities] == part
            answers = (
                inside if data.groups is None else data.groups == 1
            )  # a catalogue is there whole, its other entries distract
            asked, gallery = np.intersect1d(np.flatnonzero(inside), self.asked()), np.flatnonzero(answers)
            if not len(asked):
                continue
            may, true = candidates(data.entities, data.groups)
            true = true[np.ix_(asked, gallery)]
            if slug == CHANCE:
                found[asked] = true.sum(1) / may[np.ix_(asked, gallery)].sum(1)
                continue
            scores = self._scores(slug, variant, spoil, np.flatnonzero(~inside), asked, gallery, run)
            scores = np.where(may[np.ix_(asked, gallery)], scores, -np.inf)
            found[asked] = first_ranks(scores, true) == 1
        return found

    def _scores(
        self,
        slug: str,
        variant: str,
        spoil: str,
        learn: NDArray[np.int64],
        asked: NDArray[np.int64],
        gallery: NDArray[np.int64],
        run: Run,
    ) -> NDArray[np.floating[Any]]:
        system = catalog.find(slug)
        if not issubclass(system, Retriever):
            raise UsageError(f"{slug} links no records: see 'diptych systems --verb retrieve'.")
        rng, data = np.random.default_rng(run.integer("spoil")), self.data
        if spoil == "texts":
            data = replace(
                data,
                records=replace(
                    data.records, texts=tuple(data.records.texts[i] for i in rng.permutation(len(data.records)))
                ),
            )
        shuffled = rng.permutation(data.entities[learn]) if spoil == "matches" else None
        evidence = Evidence(train=data.table(learn, shuffled)) if "train" in system.card.needs.optional else Evidence()
        fitted = system(**system.card.variants[variant]).fit(Kit({"main": self.backbone}), evidence, run)
        return np.asarray(
            fitted.against(data.records.take(gallery.tolist()), run)(data.records.take(asked.tolist())).numpy()
        )


_SINGLE = (("clippings", "mean"), ("clippings", "image"), ("clippings", "text"))
TRIALS: Mapping[str, OwnTrial] = MappingProxyType(
    {
        "clippings": LinkageTrial(
            {
                "grocery_packages": _SINGLE,
                "archiscribe_lines": (*_SINGLE, ("string-matching", ""), ("string-matching", "jaccard")),
            },
            ("clippings", "mean"),
            variant="maps",
        ),
        "string-matching": LinkageTrial(
            {"archiscribe_lines": ((CHANCE, ""),)}, (CHANCE, ""), variant="jaccard", control="texts"
        ),
    }
)
