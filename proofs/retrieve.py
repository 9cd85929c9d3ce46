"""Proofs of linkage: records of unseen entities, by what others taught, and the same with shuffled matches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from diptych.core import Backbone, Run
from diptych.evaluation.arms import CHANCE
from diptych.evaluation.boards.retrieve import RecordBench, Rows
from diptych.evaluation.datasets import LinkageData, open_linkage
from proofs.trial import Claim, Trial


def open_bench(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> RecordBench:
    """Open a set of records by path or by name."""
    return RecordBench(open_linkage(name), backbone, run, seeds)


def shuffled_matches(data: LinkageData, learn: Rows, run: Run) -> LinkageData:
    """Shuffle the entities among the records that are learnt from."""
    entities = data.entities.copy()
    entities[learn] = np.random.default_rng(run.integer("spoil")).permutation(entities[learn])
    return replace(data, entities=entities)


def shuffled_texts(data: LinkageData, learn: Rows, run: Run) -> LinkageData:
    """Shuffle the texts among all records."""
    order = np.random.default_rng(run.integer("spoil")).permutation(len(data.records))
    return replace(data, records=replace(data.records, texts=tuple(data.records.texts[i] for i in order)))


_LINES = ("archiscribe_lines",)
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "clippings": Trial(
            (
                *(Claim("clippings", variant=single) for single in ("mean", "image", "text")),
                *(Claim("string-matching", variant=measure, on=_LINES) for measure in ("", "jaccard")),
            ),
            shuffled_matches,
            "clippings",
            variant="maps",
            control_variant="mean",
        ),
        "string-matching": Trial(
            (Claim(CHANCE, variant="", on=_LINES),), shuffled_texts, variant="jaccard", control_variant=""
        ),
    }
)
