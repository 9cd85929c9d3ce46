"""Audited pairs as one HTML page: photo, caption, and its words on red or green background; no script."""

from __future__ import annotations

from html import escape
from typing import Any

from diptych.core import Samples
from diptych.tasks.audit.groups import AuditedPair, AuditedPairs
from diptych.tasks.pages.page import CLOSING, opening
from diptych.tasks.pages.photo_page import thumbnail

SHOWN = 200
"""Pairs on the page; the worst first."""

STYLE = """
.pairs td { vertical-align: top; padding: .4rem .8rem .4rem 0 } .pairs img { border-radius: 4px }
.pairs mark { border-radius: 3px; padding: 0 .1em; color: inherit } .pairs mark.wrong { outline: 2px solid #c00;
font-weight: 600 }
"""


def html(audited: AuditedPairs, items: Samples[Any], title: str) -> str:
    """Return the page."""
    strongest = max((abs(p.weight) for row in audited.rows for p in row.parts), default=1.0) or 1.0
    rows = "\n".join(_row(row, items, strongest) for row in audited.rows[:SHOWN])
    more = f", {SHOWN} shown" if len(audited.rows) > SHOWN else ""
    return (
        f"{opening(title, style=STYLE)}<p>{len(audited.rows)} pairs, the worst first{more}. Red words speak against "
        "the photo, green ones for it; framed ones are held for wrong.</p>\n<table "
        f'class="pairs">\n{rows}\n</table>{CLOSING}\n'
    )


def _row(row: AuditedPair, items: Samples[Any], strongest: float) -> str:
    picture = thumbnail(items, row.index, 160)
    return (
        f'<tr><td><img src="{picture}" alt=""></td><td>{_words(row, strongest)}<br><small>{escape(row.name)}<br>'
        f"{'' if row.right_share is None else _right_share(row)}F-CLIPScore {row.score:+.2e}, "
        f"cosine {row.cosine:.3f}</small></td></tr>"
    )


def _right_share(row: AuditedPair) -> str:
    mark = "stands out: " if row.stands_out else ""
    return f"{mark}{100 * (row.right_share or 0):.1f} % of right captions fit as badly; "


def _words(row: AuditedPair, strongest: float) -> str:
    out, at = [], 0
    for p in row.parts:
        shade = min(1.0, abs(p.weight) / strongest) ** 0.5
        colour = f"rgba({'200,0,0' if p.weight < 0 else '0,140,60'},{0.6 * shade:.2f})"
        kind = ' class="wrong"' if p.chosen else ""
        out.append(escape(row.text[at : p.start]))
        out.append(
            f'<mark{kind} style="background:{colour}" '
            f'title="{p.weight:+.2e}">{escape(row.text[p.start : p.end])}</mark>'
        )
        at = p.end
    return "".join(out) + escape(row.text[at:])
