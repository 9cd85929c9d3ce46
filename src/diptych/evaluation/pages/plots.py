"""Plots of a report as inline SVG, without a drawing library, in the page's light or dark colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = 7
"""Number of series colours that the page defines as --s0, --s1, ..."""
_MARKS = ("circle", "square", "diamond", "triangle", "cross", "ring", "bar")


@dataclass(frozen=True)
class Point:
    """A measured value with its interval.

    Args:
        x: where it lies, such as shots.
        value, low, high: fractions.
    """

    x: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """Points of one system.

    Args:
        name: what the legend says.
        points: in order of x.
    """

    name: str
    points: tuple[Point, ...]


def ticks(low: float, high: float) -> list[float]:
    """Return about five round values that enclose [low, high]."""
    span = max(high - low, 1e-3)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if span / s <= 6)
    first, last = int(low / step + 1e-9), int(-(-high // step))
    return [round(step * i, 4) for i in range(first, max(last, first + 1) + 1)]


def mark(kind: int, x: float, y: float, r: float = 4.2) -> str:
    """Return the marker of series ``kind``: shapes differ as well as colours."""
    style = f'style="fill:var(--s{kind % COLOURS})"'
    stroke = f'style="fill:var(--page);stroke:var(--s{kind % COLOURS});stroke-width:2"'
    match _MARKS[kind % len(_MARKS)]:
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" {style}/>'
        case "ring":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r - 0.5}" {stroke}/>'
        case "square":
            return (
                f'<rect x="{x - r + 0.4:.1f}" y="{y - r + 0.4:.1f}" width="{2 * r - 0.8}" height="{2 * r - 0.8}" '
                f"{style}/>"
            )
        case "bar":
            return f'<rect x="{x - r:.1f}" y="{y - 2:.1f}" width="{2 * r}" height="4" {style}/>'
        case "diamond":
            return f'<path d="M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z" {style}/>'
        case "triangle":
            return f'<path d="M{x:.1f} {y - r - 0.5:.1f}l{r + 0.5} {2 * r}h{-2 * r - 1}z" {style}/>'
        case _:
            return f'<path d="M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}" {stroke}/>'


def curves(series: Sequence[Series], reference: Point | None, *, title: str, x_label: str, y_label: str) -> str:
    """Return accuracy against shots, one line per system, whiskers for the intervals, a dashed line with its band for
    the reference over the whole width; the title is read out in place of the picture.
    """
    width, height, left, right, top, bottom = 1000, 400, 58, 16, 14, 46
    points = [p for s in series for p in s.points] + ([reference] if reference else [])
    marks = ticks(min(p.low for p in points), max(p.high for p in points))
    places = sorted({p.x for s in series for p in s.points})

    def at_x(x: float) -> float:
        return left + (places.index(x) + 0.5) * (width - left - right) / len(places)

    def at_y(value: float) -> float:
        return top + (marks[-1] - value) / (marks[-1] - marks[0]) * (height - top - bottom)

    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    for m in marks:
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at_y(m):.1f}" y2="{at_y(m):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{at_y(m) + 4:.1f}" text-anchor="end">{100 * m:.0f}</text>')
    parts += [
        f'<text class="tick" x="{at_x(x):.1f}" y="{height - bottom + 20}" text-anchor="middle">{x:g}</text>'
        for x in places
    ]
    parts.append(
        f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 6}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
    )
    middle = (top + height - bottom) / 2
    parts.append(
        f'<text class="axis" transform="translate(14 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    if reference:
        band = at_y(reference.low) - at_y(reference.high)
        parts.append(
            f'<rect class="band" x="{left}" y="{at_y(reference.high):.1f}" width="{width - left - right}" '
            f'height="{band:.1f}"/>'
        )
        parts.append(
            f'<line class="reference" x1="{left}" x2="{width - right}" y1="{at_y(reference.value):.1f}" '
            f'y2="{at_y(reference.value):.1f}"/>'
        )
    for i, s in enumerate(series):
        shift = 13 * (i - (len(series) - 1) / 2)  # side by side, so that whiskers do not cover each other
        placed = [(at_x(p.x) + shift, p) for p in s.points]
        colour = f'style="stroke:var(--s{i % COLOURS})"'
        line = " ".join(f"{x:.1f},{at_y(p.value):.1f}" for x, p in placed)
        parts.append(f'<polyline class="line" points="{line}" {colour}/>')
        for x, p in placed:
            parts.append(
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{at_y(p.low):.1f}" y2="{at_y(p.high):.1f}" '
                f"{colour}/>"
            )
            parts.append(mark(i, x, at_y(p.value)))
    return "".join(parts) + "</svg>"


def legend(names: Sequence[str], reference: str | None = None) -> str:
    """Return the legend of ``curves`` as HTML."""
    keys = [
        f'<li><svg viewBox="0 0 14 14" aria-hidden="true">{mark(i, 7, 7)}</svg>{escape(n)}</li>'
        for i, n in enumerate(names)
    ]
    if reference:
        line = '<line class="reference" x1="0" x2="14" y1="7" y2="7"/>'
        keys.append(f'<li><svg viewBox="0 0 14 14" aria-hidden="true">{line}</svg>{escape(reference)}</li>')
    return f'<ul class="legend">{"".join(keys)}</ul>'


def reliability(bins: Sequence[tuple[float, float, int]], *, title: str) -> str:
    """Return accuracy against confidence by bins of (mean confidence, accuracy, items): a dot a bin, its area by its
    items, on the diagonal of perfect calibration.
    """
    size, left, top, bottom = 220, 36, 8, 40
    side = size - left - 14
    most = max((n for _, _, n in bins), default=1)
    parts = [
        f'<svg viewBox="0 0 {size} {side + top + bottom}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    for t in (0.0, 0.5, 1.0):
        x, y = left + t * side, top + (1 - t) * side
        parts.append(f'<line class="grid" x1="{left}" x2="{left + side}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * t:.0f}</text>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{top + side + 17}" text-anchor="middle">{100 * t:.0f}</text>')
    parts.append(
        f'<text class="axis" x="{left + side / 2}" y="{top + side + 34}" text-anchor="middle">confidence, %</text>'
    )
    parts.append(f'<line class="reference" x1="{left}" x2="{left + side}" y1="{top + side}" y2="{top}"/>')
    for confidence, accuracy, n in bins:
        x, y, r = left + confidence * side, top + (1 - accuracy) * side, 2 + 7 * (n / most) ** 0.5
        parts.append(
            f'<line class="gap" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{top + (1 - confidence) * side:.1f}"/>'
        )
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"><title>{n} items</title></circle>')
    return "".join(parts) + "</svg>"


def critical_difference(
    names: Sequence[str], ranks: Sequence[float], difference: float, groups: Sequence[Sequence[int]]
) -> str:
    """Return the plot of mean ranks: an axis from 1 (best, left), a line to each name, a bar over each group that
    chance may explain.

    Args:
        names: (K,) systems.
        ranks: (K,) mean ranks.
        difference: critical difference, drawn as a ruler.
        groups: positions that a bar joins.
    """
    order = sorted(range(len(names)), key=lambda k: ranks[k])
    half = (len(order) + 1) // 2
    width, side, row, axis = 1000, 300, 21, 62
    last = max(2.0, float(len(names)))
    bars = 9 * len(groups)
    height = axis + 14 + bars + row * half + 8

    def at(rank: float) -> float:
        return side + (rank - 1) / (last - 1) * (width - 2 * side)

    title = f"Mean ranks, best first: {', '.join(f'{names[k]} {ranks[k]:.2f}' for k in order)}"
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    ruler = at(1) + difference / (last - 1) * (width - 2 * side)
    parts.append(f'<line class="reference" x1="{at(1):.1f}" x2="{min(ruler, width - 4):.1f}" y1="20" y2="20"/>')
    parts.append(f'<text class="tick" x="{at(1):.1f}" y="13">critical difference {difference:.2f}</text>')
    parts.append(
        f'<line class="whisker" style="stroke:var(--ink)" x1="{side}" x2="{width - side}" y1="{axis}" y2="{axis}"/>'
    )
    step = max(1, round(last / 10))
    for tick in range(1, int(last) + 1, step):
        parts.append(f'<line class="grid" x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="{axis - 6}" y2="{axis}"/>')
        parts.append(f'<text class="tick" x="{at(tick):.1f}" y="{axis - 11}" text-anchor="middle">{tick}</text>')
    for number, group in enumerate(groups):
        first, end = (at(f(ranks[k] for k in group)) for f in (min, max))
        y = axis + 9 + 9 * number
        parts.append(
            f'<line class="line" style="stroke:var(--s1);stroke-width:4" x1="{first - 4:.1f}" x2="{end + 4:.1f}" '
            f'y1="{y}" y2="{y}"/>'
        )
    for i, k in enumerate(order):
        left = i < half
        y = axis + 14 + bars + row * (i if left else len(order) - 1 - i) + 8
        edge, anchor = (side - 8, "end") if left else (width - side + 8, "start")
        parts.append(
            f'<polyline class="gap" style="fill:none" points="{at(ranks[k]):.1f},{axis} {at(ranks[k]):.1f},{y} '
            f'{edge},{y}"/>'
        )
        label = f"{names[k]} {ranks[k]:.2f}" if left else f"{ranks[k]:.2f} {names[k]}"
        parts.append(
            f'<text class="axis" x="{edge + (-4 if left else 4)}" y="{y + 4}" '
            f'text-anchor="{anchor}">{escape(label)}</text>'
        )
    return "".join(parts) + "</svg>"
