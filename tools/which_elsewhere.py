"""For docs/which-classifier.md: what cards quote of classifiers on models that no board measures, and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diptych import catalog

MEAN = re.compile(r"mean of 11 data sets, (\d+) shots?")
"""The data set of a quoted figure: the mean of the field's eleven, at so many labelled photos per class."""


def quoted(cards: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[int, float]]]:
    """Return backbone -> system -> shots -> top-1, for the figures that are means of the eleven data sets.

    Example:
        >>> figure = {"dataset": "mean of 11 data sets, 1 shot", "backbone": "RN50", "metric": "top-1", "value": 62.19}
        >>> quoted([{"slug": "gda", "headlines": [figure, figure | {"dataset": "ImageNet"}]}])
        {'RN50': {'gda': {1: 62.19}}}
    """
    result: dict[str, dict[str, dict[int, float]]] = {}
    for card in cards:
        for figure in card["headlines"]:
            shots = MEAN.fullmatch(figure["dataset"])
            if shots and figure["metric"] == "top-1":
                by_system = result.setdefault(figure["backbone"], {})
                by_system.setdefault(card["slug"], {})[int(shots[1])] = figure["value"]
    return result


def memory(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how much memory the boards with these rows took; "" where none says.

    A row holds the peak of its process so far, so one system's own need is not among them.

    Example:
        >>> print(memory([{"peak_memory_mib": 700.0}, {"peak_memory_mib": 2228.6}]).split(",")[0])
        Memory: whole boards took up to 2.2 GiB
    """
    peaks = [row["peak_memory_mib"] for row in rows if row.get("peak_memory_mib")]
    if not peaks:
        return ""
    return (
        f"Memory: whole boards took up to {max(peaks) / 1024:.1f} GiB, the model and all photos' vectors among them. "
        "What one system takes of it was not measured apart, since a board runs them in one process."
    )


def elsewhere(measured: Sequence[str], cards: Sequence[Mapping[str, Any]] | None = None) -> Iterator[str]:
    """Yield the section on models that no board measured; nothing where no card quotes a mean.

    Args:
        measured: the models of the boards.
        cards: of the classifiers; None: those of the catalogue.
    """
    known = cards if cards is not None else [card for card in catalog.cards() if card["verb"] == "classify"]
    figures = quoted(known)
    if not figures:
        return
    shots = sorted({n for systems in figures.values() for row in systems.values() for n in row})
    names = ", ".join(f"`{name}`" for name in measured)
    yield "## With other models"
    yield ""
    yield (
        f"The boards here are of {names}. None is of a CLIP that was trained on photos with captions, so none says "
        "which system suits it, what it gains there, or how long it takes: `diptych recommend DATA --backbone NAME` "
        "measures that on your photos. What is known is what authors state. Top-1 in percent, means of the field's "
        "eleven data sets by labelled photos per class, as the cards quote them; none was repeated here, and a choice "
        "of settings on val, or on test, may be in them:"
    )
    yield ""
    yield f"| model | system | {' | '.join(map(str, shots))} |"
    yield f"|---|---|{'--:|' * len(shots)}"
    for backbone, systems in figures.items():
        for slug, row in sorted(systems.items()):
            cells = (f"{row[n]:.2f}" if n in row else "–" for n in shots)
            yield f"| {backbone} | `{slug}` | {' | '.join(cells)} |"
    for line in _orders(figures, shots):
        yield from ("", line)


def _orders(figures: Mapping[str, Mapping[str, Mapping[int, float]]], shots: Sequence[int]) -> Iterator[str]:
    """Yield for each model of several systems which is highest at each number of shots."""
    for backbone, systems in figures.items():
        if len(systems) < 2:
            continue
        best = []
        for n in shots:
            values = {slug: row[n] for slug, row in systems.items() if n in row}
            if len(values) > 1:
                best.append(f"`{max(values, key=lambda slug: values[slug])}` at {n}")
        if best:
            yield f"Highest on {backbone}, of those quoted: {', '.join(best)}."
