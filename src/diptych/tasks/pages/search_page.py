"""The answers of a search as one page: pictures inside, nothing loaded from anywhere, no script."""

from __future__ import annotations

from html import escape
from pathlib import Path

from diptych import __version__
from diptych.core import DiptychError
from diptych.data.memory import InMemory
from diptych.tasks.pages.page import CLOSING, opening
from diptych.tasks.pages.photo_page import thumbnail
from diptych.tasks.search.ask import Answer
from diptych.tasks.search.entry_picture import picture


def html(answer: Answer) -> str:
    """Return the answers as one page: pictures inside, nothing loaded from anywhere, no script."""
    query = " ".join(
        f"{'−' if t.weight < 0 else '+'} {abs(t.weight):g}:{Path(t.value).name if t.is_picture else t.value}"
        for t in answer.terms
    )
    title = query.removeprefix("+ ").removeprefix("1:") if len(answer.terms) == 1 else query
    lead = f"{len(answer.results)} of {answer.entries:,} entries, {answer.backbone}, " + (
        "exact search."
        if answer.recall is None
        else f"approximate search, measured recall@10 {min(answer.recall.values()):.2f}."
    )
    parts = [
        opening(
            title,
            f'<p class="lead">{escape(lead)}</p>',
            style="\n.card img { object-fit:contain; height:12rem; background:var(--line) }",
        )
    ]
    queries = [thumbnail(t.photos, 0, 240) for t in answer.terms if t.is_picture]
    if queries:
        parts.append(
            '<div class="few">'
            + "".join(f'<img src="{q}" alt="picture of the query">' for q in queries if q)
            + "</div>"
        )
    if answer.where:
        parts.append(f'<p class="note">Only entries with {escape(" and ".join(answer.where))}.</p>')
    if not answer.results:
        parts.append('<p class="warn">' + escape(answer.nothing) + "</p>")
    parts.append('<section><div class="photos">')
    for f in answer.results:
        picture = _thumbnail(f.entry.name)
        name = Path(f.entry.name.rpartition("!")[2]).name
        facts = " · ".join(f"{k} {v}" for k, v in f.entry.facts.items() if str(v) and k != "folder")[:200]
        parts.append('<figure class="card">' + (f'<img src="{picture}" alt="{escape(name)}">' if picture else ""))
        parts.append(f'<figcaption class="in"><span class="small" title="{escape(f.entry.name)}">{escape(name)}</span>')
        parts.append(f'<div class="bar first"><span>score</span><span>{f.score:.3f}</span>')
        parts.append(f'<i><b style="width:{100 * min(max(f.score, 0.0), 1.0):.1f}%"></b></i></div>')
        parts.append(
            "".join(f"<p>{escape(t[:300])}</p>" for t in (f.entry.caption, facts) if t) + "</figcaption></figure>"
        )
    parts.append(
        f'</div></section><p class="note">Written by diptych {__version__}. No script, nothing loaded from '
        f"elsewhere.</p>{CLOSING}"
    )
    return "\n".join(parts)


def _thumbnail(name: str) -> str:
    try:
        return thumbnail(InMemory((picture(name),), (name,)), 0, 420)
    except DiptychError:
        return ""
