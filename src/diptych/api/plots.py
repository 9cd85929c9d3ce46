"""Plots of results as figures of matplotlib: classes, a confusion matrix, a reliability diagram, and the pictures."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.core import UsageError
from diptych.core.errors import need_extra
from diptych.core.wording import short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 16
"""Pictures of a figure."""
MOST_CLASSES = 30
"""Classes of a figure; of more the most frequent are shown."""
BINS = 10
WIDEST = 32
"""Characters of a name beside an axis; twice as many stand in a line of a title."""


def plot(results: Any, kind: str = "") -> Figure:
    """Return a figure; see ``Results.plot``."""
    need_extra("plot", "A plot")
    kinds = {
        "board": _board,
        "classes": _classes,
        "confusion": _confusion,
        "reliability": _reliability,
        "pictures": _pictures,
    }
    if kind and kind not in kinds:
        raise UsageError(f"{{kind}} must be one of {', '.join(kinds)}, got {kind!r}.")
    if not len(results):
        raise UsageError(f"There is nothing to plot: {results.title}.")
    usual = (
        "board"
        if _is_board(results)
        else "confusion"
        if results.truth
        else "classes"
        if results.table is not None
        else "pictures"
    )
    return kinds[kind or usual](results)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _plain(text: object) -> str:
    """Return a name as matplotlib is to draw it: what stands between two dollars is no formula."""
    return str(text).replace("$", r"\$")


def _tick(name: object) -> str:
    """Return a name beside an axis, which has no room for a wide one: its end is left out."""
    text = str(name)
    return _plain(text if len(text) <= WIDEST else text[: WIDEST - 1] + "…")


def _classes(results: Any) -> Figure:
    """Bars: how many results have each label, the most frequent first."""
    names, counts = np.unique(np.array(results.labels, dtype=object).astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    figure, axes = _figure(6, 1 + 0.28 * len(order))
    ax = axes[0, 0]
    ax.barh(range(len(order)), counts[order])
    ax.set_yticks(range(len(order)), [_tick(names[i]) for i in order])
    ax.invert_yaxis()
    ax.set_xlabel("number of results")
    return figure  # type: ignore[no-any-return]


def _is_board(results: Any) -> bool:
    return {"low", "high"}.issubset(results.columns)


def _board(results: Any) -> Figure:
    """Points with their 95 % intervals, a row each, in the order of the board."""
    if not _is_board(results):
        raise UsageError("These results are not a board, whose rows have a metric with its interval.")
    names = list(results.columns)
    metric = names[names.index("low") - 1]
    value, low, high = (np.array(results.columns[c], dtype=float) for c in (metric, "low", "high"))
    figure, axes = _figure(7, 1 + 0.32 * len(value))
    ax = axes[0, 0]
    ax.errorbar(value, range(len(value)), xerr=[value - low, high - value], fmt="o", capsize=3)
    ax.set_yticks(range(len(value)), [_tick(name) for name in results.item_names])
    ax.invert_yaxis()
    ax.set(xlabel=f"{metric}, with its 95 % interval", title=_plain(fill(results.title, 2 * WIDEST)))
    return figure  # type: ignore[no-any-return]


def _confusion(results: Any) -> Figure:
    """A matrix: true classes in rows, those that were named in columns, shares of the row."""
    table = results.confusion_matrix()
    totals, title = table.sum(axis=1), f"accuracy {results.accuracy:.1%}"
    if len(table) > MOST_CLASSES:
        title += f"; {MOST_CLASSES} of {len(table)} classes"
        most = totals.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]
        table, totals = table.loc[most, most], totals[most]
    counts = table.to_numpy()
    shares = counts / np.maximum(totals.to_numpy()[:, None], 1)  # of the whole row, with what is left out
    longest = min(max(map(len, map(str, table.columns))), WIDEST)
    side = 2.5 + 0.32 * len(table) + 0.08 * max(0, longest - 10)  # with room for the names, at 10 points
    figure, axes = _figure(side, side)
    ax = axes[0, 0]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(table)), [_tick(name) for name in table.columns], rotation=90)
    ax.set_yticks(range(len(table)), [_tick(name) for name in table.index])
    ax.set(xlabel="named", ylabel="true", title=title)
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[i, j] > 0.5 else "black"
        ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=7)
    return figure  # type: ignore[no-any-return]


def _reliability(results: Any) -> Figure:
    """Accuracy in bins of confidence, beside the diagonal on which both are equal; under it how many are in each."""
    if not results.truth or results.table is None:
        raise UsageError("A reliability diagram needs labelled photos and the probabilities of all classes.")
    confidence = np.asarray(results.table).max(axis=1)
    right = np.array([a == b for a, b in zip(results.labels, results.truth, strict=True)])
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    figure, axes = _figure(5, 5)
    ax = axes[0, 0]
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    there = [b for b in range(BINS) if (bins == b).any()]
    ax.plot([confidence[bins == b].mean() for b in there], [right[bins == b].mean() for b in there], marker="o")
    for b in there:
        ax.text(confidence[bins == b].mean(), 0.02, str(int((bins == b).sum())), ha="center", fontsize=7)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    return figure  # type: ignore[no-any-return]


def _pictures(results: Any) -> Figure:
    """The first pictures with their labels: photos, overlays of label maps, heat maps."""
    if results.picture is None:
        raise UsageError("These results have no pictures: look at to_pandas().")
    shown = [(i, p) for i in range(min(len(results), SHOWN)) if (p := results.picture(i)) is not None]
    if not shown:
        raise UsageError("These results have no pictures: look at to_pandas().")
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = _figure(3 * columns, 3 * rows, rows, columns)
    for ax in axes.flat:
        ax.axis("off")
    names = short_names(results.item_names)
    for ax, (i, picture) in zip(axes.flat, shown, strict=False):
        ax.imshow(picture)
        ax.set_title(_plain(f"{names[i]}\n{results.lines[i][:40]}"), fontsize=8)
    return figure  # type: ignore[no-any-return]
