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


def _opening(width: int, height: int, title: str) -> str:
    title = escape(title)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}"><title>{title}</title>'


def _element(tag: str, kind: str, content: str | None = None, **attributes: float | str) -> str:
    """Return an element of a class, such as a line or a text; numbers that are not whole have one decimal."""
    given = {name.replace("_", "-"): value for name, value in attributes.items()}
    shown = {name: value if isinstance(value, (int, str)) else f"{value:.1f}" for name, value in given.items()}
    opened = " ".join([f'<{tag} class="{kind}"', *(f'{name}="{value}"' for name, value in shown.items())])
    return f"{opened}/>" if content is None else f"{opened}>{content}</{tag}>"


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

    parts = [_opening(width, height, title)]
    for m in marks:
        parts.append(_element("line", "grid", x1=left, x2=width - right, y1=at_y(m), y2=at_y(m)))
        parts.append(_element("text", "tick", f"{100 * m:.0f}", x=left - 8, y=at_y(m) + 4, text_anchor="end"))
    low = height - bottom + 20
    parts += [_element("text", "tick", f"{x:g}", x=at_x(x), y=low, text_anchor="middle") for x in places]
    across, down = (left + width - right) / 2, f"translate(14 {(top + height - bottom) / 2}) rotate(-90)"
    parts.append(_element("text", "axis", escape(x_label), x=across, y=height - 6, text_anchor="middle"))
    parts.append(_element("text", "axis", escape(y_label), transform=down, text_anchor="middle"))
    if reference:
        high, middle = at_y(reference.high), at_y(reference.value)
        band = at_y(reference.low) - high
        parts.append(_element("rect", "band", x=left, y=high, width=width - left - right, height=band))
        parts.append(_element("line", "reference", x1=left, x2=width - right, y1=middle, y2=middle))
    for i, s in enumerate(series):
        shift = 13 * (i - (len(series) - 1) / 2)  # side by side, so that whiskers do not cover each other
        placed = [(at_x(p.x) + shift, p) for p in s.points]
        colour = f"stroke:var(--s{i % COLOURS})"
        line = " ".join(f"{x:.1f},{at_y(p.value):.1f}" for x, p in placed)
        parts.append(_element("polyline", "line", points=line, style=colour))
        for x, p in placed:
            parts.append(_element("line", "whisker", x1=x, x2=x, y1=at_y(p.low), y2=at_y(p.high), style=colour))
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
    parts = [_opening(size, side + top + bottom, title)]
    for t in (0.0, 0.5, 1.0):
        x, y = left + t * side, top + (1 - t) * side
        parts.append(_element("line", "grid", x1=left, x2=left + side, y1=y, y2=y))
        parts.append(_element("text", "tick", f"{100 * t:.0f}", x=left - 6, y=y + 4, text_anchor="end"))
        parts.append(_element("text", "tick", f"{100 * t:.0f}", x=x, y=top + side + 17, text_anchor="middle"))
    middle, low = left + side / 2, top + side + 34
    parts.append(_element("text", "axis", "confidence, %", x=middle, y=low, text_anchor="middle"))
    parts.append(_element("line", "reference", x1=left, x2=left + side, y1=top + side, y2=top))
    for confidence, accuracy, n in bins:
        x, y, r = left + confidence * side, top + (1 - accuracy) * side, 2 + 7 * (n / most) ** 0.5
        parts.append(_element("line", "gap", x1=x, x2=x, y1=y, y2=top + (1 - confidence) * side))
        parts.append(_element("circle", "dot", f"<title>{n} items</title>", cx=x, cy=y, r=r))
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
    parts = [_opening(width, height, title)]
    ruler = min(at(1) + difference / (last - 1) * (width - 2 * side), width - 4.0)
    parts.append(_element("line", "reference", x1=at(1), x2=ruler, y1=24, y2=24))
    parts.append(_element("text", "tick", f"critical difference {difference:.2f}", x=at(1), y=17))
    parts.append(_element("line", "whisker", style="stroke:var(--ink)", x1=side, x2=width - side, y1=axis, y2=axis))
    step = max(1, round(last / 10))
    for tick in range(1, int(last) + 1, step):
        parts.append(_element("line", "grid", x1=at(tick), x2=at(tick), y1=axis - 6, y2=axis))
        parts.append(_element("text", "tick", str(tick), x=at(tick), y=axis - 11, text_anchor="middle"))
    for number, group in enumerate(groups):
        first, end = (at(f(ranks[k] for k in group)) for f in (min, max))
        y = axis + 9 + 9 * number
        style = "stroke:var(--s1);stroke-width:4"
        parts.append(_element("line", "line", style=style, x1=first - 4, x2=end + 4, y1=y, y2=y))
    for i, k in enumerate(order):
        left = i < half
        y = axis + 14 + bars + row * (i if left else len(order) - 1 - i) + 8
        edge, anchor = (side - 8, "end") if left else (width - side + 8, "start")
        line = f"{at(ranks[k]):.1f},{axis} {at(ranks[k]):.1f},{y} {edge},{y}"
        parts.append(_element("polyline", "gap", style="fill:none", points=line))
        label = f"{names[k]} {ranks[k]:.2f}" if left else f"{ranks[k]:.2f} {names[k]}"
        beside = edge + (-4 if left else 4)
        parts.append(_element("text", "axis", escape(label), x=beside, y=y + 4, text_anchor=anchor))
    return "".join(parts) + "</svg>"
