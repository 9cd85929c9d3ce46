"""Which audit must find which fault: written down before it is run, and the comparison with what was found.

A cell compares the finding about a model with a fault with the finding about the same model without it, on the same
items. It is *worse* or *better* where the two 95 % intervals do not meet, and the *same* where they do. Intervals of
two honest models on the same items are disjoint far more rarely than in 5 % of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from diptych.core import Finding

ALARM = "its control found something too"
"""Why a cell cannot be read where the audit gave a false alarm: nothing is planted in what it was run on."""
Mark = Literal["worse", "better", "same", "not testable", "open"]


@dataclass(frozen=True)
class Cell:
    """One column of the matrix: a measure of one audit.

    Args:
        title: of the column.
        audit: slug.
        measure, about: of the finding.
        high: whether a higher value is worse.
        room: a model whose interval does not lie on the good side of this has no room for a fault: not healthy here.
    """

    title: str
    audit: str
    measure: str
    about: str
    high: bool
    room: float

    def of(self, findings: Mapping[str, Sequence[Finding]]) -> Finding | None:
        """Return the finding of a report; None where the audit was not run."""
        every = findings.get(self.audit, ())
        return next((f for f in every if (f.measure, f.about) == (self.measure, self.about)), None)

    def healthy(self, f: Finding | None) -> str:
        """Return why a model without the fault leaves no room for it; "" where it does."""
        if f is None:
            return "not measured"
        if not f.testable or f.interval is None:
            return f.reason or "no interval"
        if f.control is not None and not f.control.held:
            return ALARM
        low, high = f.interval
        return "" if (high < self.room if self.high else low > self.room) else f"{f.value:.2f}: no room for a fault"

    def mark(self, honest: Finding, faulty: Finding | None) -> Mark:
        """Return what a fault changed."""
        if faulty is None or faulty.interval is None:
            return "not testable"
        assert honest.interval is not None
        above, below = faulty.interval[0] > honest.interval[1], faulty.interval[1] < honest.interval[0]
        if not above and not below:
            return "same"
        return "worse" if above == self.high else "better"


HOLISTIC = "holistic-robustness"
CELLS = (
    Cell("accuracy", HOLISTIC, "accuracy", "", False, 0.35),
    Cell("drop between backgrounds", "counteranimal", "drop", "", True, 0.4),
    Cell("drop, other backgrounds", HOLISTIC, "drop", "other backgrounds", True, 0.3),
    Cell("drop, hues", HOLISTIC, "drop", "color", True, 0.3),
    Cell("drop, stripes", HOLISTIC, "drop", "texture", True, 0.3),
    Cell("drop, darker", HOLISTIC, "drop", "darker", True, 0.3),
    Cell("worst factor", HOLISTIC, "worst_factor", "", True, 0.3),
    Cell("shape bias", HOLISTIC, "shape_bias", "cues", False, 0.5),
    Cell("calibration error", HOLISTIC, "calibration_error", "own", True, 0.2),
    Cell("calibration error, other backgrounds", HOLISTIC, "calibration_error", "other backgrounds", True, 0.2),
    Cell("temperature gain", HOLISTIC, "temperature_gain", "own", True, 0.2),
    Cell("AUROC of MCM", HOLISTIC, "auroc_mcm", "other shapes", False, 0.55),
    Cell("AUROC of the energy", HOLISTIC, "auroc_energy", "other shapes", False, 0.55),
    Cell("square, linear head", "shortcut-learning", "shortcut_bias", "linear head, square at 100 %", True, 0.5),
    Cell("square, network", "shortcut-learning", "shortcut_bias", "network, square at 100 %", True, 0.5),
    Cell("pairs, color", "mmvp", "pair_accuracy", "statements: color", False, 0.35),
    Cell("pairs, shape", "mmvp", "pair_accuracy", "statements: shape", False, 0.35),
    Cell("pairs, binding", "mmvp", "pair_accuracy", "statements: binding", False, 0.35),
    Cell("pairs, position", "mmvp", "pair_accuracy", "statements: position", False, 0.35),
    Cell("association of two objects", "concept-association-bias", "cab_score", "own", True, 0.4),
    Cell("edits, color", "augclip", "agreement", "right edit of color, or none", False, 0.6),
    Cell("edits, shape", "augclip", "agreement", "right edit of shape, or none", False, 0.6),
    Cell("wrong word, color", "clip4dm", "wrong_word_lower", "words: color", False, 0.6),
    Cell("wrong word, shape", "clip4dm", "wrong_word_lower", "words: shape", False, 0.6),
    Cell("lead of mixed sources", "quality-not-quantity", "effective_robustness", "other backgrounds", True, 0.3),
)
"""Columns, in the order of the page."""

_WRITTEN: Mapping[str, Mapping[str, Mark]] = {
    "honest, other noise": {},
    "background reader": {
        "accuracy": "better",
        "AUROC of MCM": "better",
        "drop between backgrounds": "worse",
        "drop, other backgrounds": "worse",
        "calibration error, other backgrounds": "worse",
        "square, linear head": "worse",
        "square, network": "worse",
        "wrong word, color": "open",
        "wrong word, shape": "open",
        "lead of mixed sources": "worse",
    },
    "colour blind": {
        "edits, color": "worse",
        "edits, shape": "open",
        "wrong word, color": "worse",
        "pairs, color": "worse",
        "pairs, binding": "worse",
        "association of two objects": "not testable",
    },
    "bag of words": {
        "pairs, binding": "worse",
        "pairs, position": "worse",
        "association of two objects": "worse",
        "edits, shape": "open",
        "wrong word, color": "not testable",
        "wrong word, shape": "not testable",
    },
    "texture reader": {
        "drop, stripes": "worse",
        "worst factor": "worse",
        "shape bias": "worse",
        "AUROC of MCM": "worse",
        "AUROC of the energy": "worse",
    },
    "over-confident": {
        "calibration error": "worse",
        "calibration error, other backgrounds": "worse",
        "temperature gain": "worse",
    },
    "duplicate label": {
        "accuracy": "worse",
        "AUROC of MCM": "worse",
        "shape bias": "open",
        "pairs, shape": "worse",
        "pairs, binding": "worse",
        "pairs, position": "worse",
        "association of two objects": "worse",
        "edits, shape": "worse",
        "wrong word, color": "not testable",
        "wrong word, shape": "not testable",
    },
}
EXPECTED: Mapping[str, Mapping[str, Mark]] = MappingProxyType(
    {fault: {c.title: given.get(c.title, "same") for c in CELLS} for fault, given in _WRITTEN.items()}
)
"""Fault -> column -> what must come out; *open*: the fault reaches this measure by a side."""

_SURE = ("accuracy", "calibration error", "temperature gain", "AUROC of MCM", "AUROC of the energy")
_SURE_AWAY = (*_SURE, "calibration error, other backgrounds")
_WRAPPED: Mapping[str, tuple[str, ...]] = {
    "background reader": _SURE,
    "colour blind": _SURE_AWAY,
    "bag of words": _SURE_AWAY,
    "duplicate label": tuple(c for c in _SURE_AWAY if c != "accuracy"),
}
"""Fault -> columns that are open where it is planted in a real backbone.

A wrapper is not made so that it costs nothing in distribution, as the oracle's faults are: how sure such a backbone is
of pictures in grey, of texts in another order, or of a mean of two names, is not known before.
"""


def written(backbone: str) -> Mapping[str, Mapping[str, Mark]]:
    """Return fault -> column -> what must come out with a backbone; "oracle" is the oracle."""
    if backbone == "oracle":
        return EXPECTED
    return {fault: {**given, **dict.fromkeys(_WRAPPED.get(fault, ()), "open")} for fault, given in EXPECTED.items()}


def judged(
    honest: Mapping[str, Sequence[Finding]],
    faulty: Mapping[str, Mapping[str, Sequence[Finding]]],
    expected: Mapping[str, Mapping[str, Mark]],
) -> list[dict[str, Any]]:
    """Return the rows of the matrix as plain data.

    Args:
        honest: audit -> findings about the model without a fault.
        faulty: fault -> audit -> findings. Where the control of an audit fires on the model without a fault, no cell
            of it is as written.
        expected: fault -> column -> mark; faults that are not in ``faulty`` are left out.
    """
    rows = []
    for fault, wanted in expected.items():
        if fault not in faulty:
            continue
        cells = []
        for cell in CELLS:
            base, planted = cell.of(honest), cell.of(faulty[fault])
            unfit = cell.healthy(base)
            mark = "" if unfit or base is None else cell.mark(base, planted)
            right = None if unfit or wanted[cell.title] == "open" else mark == wanted[cell.title]
            right = False if unfit == ALARM else right
            cells.append(
                {
                    "column": cell.title,
                    "expected": wanted[cell.title],
                    "found": mark,
                    "right": right,
                    "unhealthy": unfit,
                    "value": planted.value if planted is not None else None,
                    "interval": planted.interval if planted is not None else None,
                    "honest": base.value if base is not None else None,
                    "honest_interval": base.interval if base is not None else None,
                }
            )
        rows.append({"fault": fault, "cells": cells})
    return rows
