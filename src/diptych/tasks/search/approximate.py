"""Build the approximate index of a search index where it pays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.core import Backbone, Run, Texts
from diptych.data.words.wordnet import WordNet
from diptych.features.embed import embed
from diptych.features.unit_rows import unit_rows
from diptych.search_index import ann, recall
from diptych.search_index.described import Vectors
from diptych.search_index.opening import AnyIndex, index_at
from diptych.search_index.recall import Approximate
from diptych.search_index.rows import MODALITIES, Modality

GROWN = 0.2
"""Share of an index that may lie behind its approximate index before that is built anew."""


def approximate(
    out: Path, backbone: Backbone, run: Run, *, always: bool = False, words: bool = True
) -> dict[Modality, Approximate]:
    """Build the approximate index where it pays (or ``always``) and is missing or outgrown; recall is measured on rows
    and, in a space with ``words``, on WordNet's nouns as queries.

    Raises:
        MissingExtra: faiss is not installed, for an index in a folder.
        DataError: the structure of a database finds too few of the nearest.
    """
    built: dict[Modality, Approximate] = {}
    with index_at(out) as opened:
        queries: Vectors | None = None
        for modality in outgrown(opened, always):
            if queries is None and words:
                queries = _nouns(backbone, run)
            built[modality] = ann.build(opened, modality, run, queries=queries)
    return built


def outgrown(index: AnyIndex, always: bool) -> list[Modality]:
    """Return the modalities whose approximate index is missing where it pays, or covers too little."""
    modalities: list[Modality] = []
    for modality in MODALITIES:
        slots, known = len(index.vectors(modality)), ann.about(index, modality)
        enough = slots <= recall.EXACT or (known is not None and slots - known.slots <= GROWN * slots)
        if slots >= 1000 and (always or not enough):
            modalities.append(modality)
    return modalities


def _nouns(backbone: Backbone, run: Run) -> Vectors:
    words = sorted({w for w in WordNet.load().names() if w.isalpha()})
    drawn = np.random.default_rng(run.integer("nouns")).choice(len(words), 200, replace=False)
    values: Vectors = embed(backbone.text, Texts(tuple(f"a photo of a {words[i]}." for i in drawn)), run).numpy()
    return unit_rows(values)
