"""What the marks of an index allow: the cut of each level, and by whose marks it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.core import DataError
from diptych.search_index.opening import index_at
from diptych.search_index.rows import Modality
from diptych.tasks.search.calibration import calibrated, calibration
from diptych.tasks.search.marks import marked_by, read_marks

LEVELS = (0.5, 0.7, 0.8, 0.9)
PICTURES: Mapping[Modality, float] = {"image": 1.0}


def report(folder: Path, source: str) -> dict[str, Any]:
    """Return what the marks of word queries on pictures allow, as plain data.

    Args:
        folder: the index.
        source: whose marks are counted, see ``Mark``.

    Returns:
        "source", with its "marks", "queries" and those that are "right"; "cut_by": the source of the marks that a
        search is cut by, and "why_not": why these are others, "" where they are not; "cuts": level -> share, interval,
        absent words with an answer and the source of the marks "by" which it is, or why there is none.

    Raises:
        DataError: there are none, or too few.
    """
    with index_at(folder) as index:
        fitted = calibration(index, "text", PICTURES)
    marks = [m for m in read_marks(folder) if m.source == source and m.score is not None]
    why_not = ""
    if fitted.source != source:
        try:
            calibrated(marks, "text", PICTURES)
            why_not = f"those {marked_by(fitted.source)} count before them"
        except DataError as error:
            why_not = str(error).removesuffix(".")
    cuts: dict[str, Any] = {}
    for level in LEVELS:
        try:
            by, cut = fitted.at(level)
        except DataError as error:
            cuts[f"{level:g}"] = str(error)
            continue
        cuts[f"{level:g}"] = {
            "share": cut.share, "interval": [cut.low, cut.high], "above": cut.above, "absent": cut.absent,
            "absent_words": cut.words, "depth": cut.depth, "by": by.source,
        }  # fmt: skip
    right, queries = sum(bool(m.right) for m in marks), len({m.query for m in marks})
    counted = {"source": source, "marks": len(marks), "queries": queries, "right": right}
    return {**counted, "cut_by": fitted.source, "why_not": why_not, "cuts": cuts}
