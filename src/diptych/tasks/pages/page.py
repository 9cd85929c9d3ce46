"""What all pages share: one file without script that loads nothing, readable on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Container, Sequence
from html import escape
from importlib.resources import files

CLOSING = "</main></html>"
TABLE_END = "</tbody></table></div>"
"""What ends the table that ``table`` begins."""


def opening(title: str, header: str = "", *, style: str = "", pictures: bool = True) -> str:
    """Return a page down to its header.

    Args:
        title: plain text; it is the heading too.
        header: HTML below the heading.
        style: CSS behind that of all pages.
        pictures: whether the page holds pictures, as data URIs.

    Returns:
        HTML that ``CLOSING`` ends.

    Example:
        >>> page = opening("Cats & dogs", pictures=False)
        >>> "<h1>Cats &amp; dogs</h1>" in page, "img-src" in page
        (True, False)
    """
    sheet = files("diptych").joinpath("assets", "report.css").read_text(encoding="utf-8") + style
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("; img-src data:" if pictures else "")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<style>{sheet}</style><main><header><h1>{escape(title)}</h1>{header}</header>"
    )


def table(heads: Sequence[str], *, left: Container[int] = (0,), caption: str = "") -> str:
    """Return a table down to its first row, which scrolls where it is wider than the page.

    Args:
        heads: of the columns, as HTML.
        left: positions of columns that are set to the left.
        caption: HTML above the table; "": none.

    Example:
        >>> table(["system", "top-1"]).count("<th ")
        2
    """
    kinds = (' class="left"' if i in left else "" for i in range(len(heads)))
    cells = (f'<th scope="col"{kind}>{head}</th>' for kind, head in zip(kinds, heads, strict=True))
    above = f"<caption><span>{caption}</span></caption>" if caption else ""
    return f'<div class="scroll"><table>{above}<thead><tr>{"".join(cells)}</tr></thead><tbody>'
