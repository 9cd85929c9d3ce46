"""Findings of what scores edits, words of captions and sources of training pictures, about one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.planted.models import Planted
from benchmarks.planted.tables import EDITED
from diptych.core import AuditData, Backbone, Column, Evidence, Finding, Kit, Run, Samples, Table, Tower
from diptych.data.edits import edit_table
from diptych.data.joined import Joined
from diptych.methods.audit.augclip import AugCLIP
from diptych.methods.audit.clip4dm import CLIP4DM
from diptych.methods.audit.quality_not_quantity import PLUS, QualityNotQuantity
from diptych.metrics.closed_intervals import wilson
from diptych.tasks.audit.sources import Sources
from proofs.benches.audits.edits import preferred

EACH = 400
"""Pictures of each source of which heads are trained and tested, at most."""
USUAL, OTHER = "usual backgrounds", "other backgrounds"


class Explained(Planted):
    """A wrapped backbone with the text encoder and the text tower of the backbone inside: attributions need the tower,
    and a fault that is planted in pictures leaves it as it is.
    """

    @cached_property
    def encoders(self) -> Mapping[str, Any]:
        """The wrapped image encoder, and the inner text encoder."""
        assert self.inner is not None
        return {"image": super().encoders["image"], "text": self.inner.text}

    def tower(self, modality: str) -> Tower:
        """Return the inner tower."""
        assert self.inner is not None
        return self.inner.tower(modality)


def scored(model: Planted, data: AuditData, again: Samples[Any], run: Run) -> dict[str, list[Finding]]:
    """Return audit -> findings of augclip, of clip4dm where it can read the model, and of quality-not-quantity.

    Args:
        model: the oracle or a wrapped backbone.
        data: with pairs of pictures "statements".
        again: the first picture of each pair of ``tables.EDITED``, painted anew.
        run: cache and seed.
    """
    scores = {"augclip": list(edits(model, data, again, run)), "quality-not-quantity": sources(model, data, run)}
    if model.inner is not None and model.fault.worded is None:
        seen = Explained(model.world, model.fault, model.inner, seen=model.seen)
        scores["clip4dm"] = list(words(seen, data, run))
    return scores


def edits(model: Backbone, data: AuditData, again: Samples[Any], run: Run) -> Iterator[Finding]:
    """Yield how often AugCLIP prefers the other picture of a pair, which is the right edit of the first, to the first
    painted anew, in which nothing is edited.
    """
    table, fitted = data.probes["statements"].table, AugCLIP().fit(Kit({"main": model}), Evidence(), run)
    start = 0
    for kind in EDITED:
        before, after, captions = _pairs(table, kind)
        unedited = [start + n for n in range(len(before))]
        start += len(before)
        sources, lists = table.take(before).items, [[(text,) for text in texts] for texts in captions]
        values = [
            fitted.score(edit_table(sources, items, captions[1], *lists), run).values.double().numpy()
            for items in (table.take(after).items, Table(again).take(unedited).items)
        ]
        yield _share("agreement", f"right edit of {kind}, or none", preferred(*values))


def words(model: Backbone, data: AuditData, run: Run) -> Iterator[Finding]:
    """Yield how often, of colour and shape of a caption, the wrong one has the lower attribution.

    The caption is that of the other picture of the pair.
    """
    table, fitted = data.probes["statements"].table, CLIP4DM().fit(Kit({"main": model}), Evidence(), run)
    for kind in EDITED:
        before, _, captions = _pairs(table, kind)
        shown = table.take(before).items
        captioned: Table[Any] = Table(shown, {"captions": Column("captions", tuple((t,) for t in captions[1]))})
        wrong, right = (1, 2) if kind == "color" else (2, 1)  # "a red circle"
        parts = fitted.score(captioned, run).parts
        values = [
            preferred(np.array([parts_of[right].weight]), np.array([parts_of[wrong].weight]))[0] for parts_of in parts
        ]
        yield _share("wrong_word_lower", f"words: {kind}", np.array(values))


def sources(model: Backbone, data: AuditData, run: Run) -> list[Finding]:
    """Train heads on pictures before their usual backgrounds, on others, and on both, and return how far those of both
    lie above the line of the first.

    The shift is to the other backgrounds: a model whose features hold the background trains heads on the first source
    that lie lower there. Heads of the second source alone are then too poor on the first to be compared with its line.
    """
    usual, away = (data.probes[name] for name in ("own", OTHER))
    tables = [usual.table.take(range(min(EACH, len(usual.table)))), away.table.take(range(min(EACH, len(away.table))))]
    groups = np.repeat([USUAL, OTHER], list(map(len, tables)))
    labels = np.concatenate([t.labels() for t in tables])
    both: Table[Any] = Table(
        Joined(tuple(t.items for t in tables)),
        {"label": Column("label", labels), "group": Column("group", tuple(groups.tolist()))},
    )
    split = Sources.of(both, usual.named(), (USUAL, OTHER), run)
    every = QualityNotQuantity().audit(split.subjects(model, run), split.probes(), run)
    return [f for f in every if f.measure == "effective_robustness" and PLUS in f.subject]


def _pairs(table: Table[Any], kind: str) -> tuple[list[int], list[int], tuple[list[str], list[str]]]:
    """Return the positions of both pictures of each pair of a kind, and what is said of each with its colour."""
    first = [i for i, pattern in enumerate(table.columns["pattern"].values) if pattern == kind][::2]
    captioned = table.columns["told"].values
    return first, [i + 1 for i in first], ([captioned[i] for i in first], [captioned[i + 1] for i in first])


def _share(measure: str, about: str, values: Any) -> Finding:
    ends = wilson(round(float(values.sum())), len(values))
    return Finding("", measure, float(values.mean()), ends, about, range=(0.0, 1.0), count=len(values), counted="pairs")
