"""What an article in JATS XML says: its figures with captions, the paragraphs that cite them, and facts of its own."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from diptych.core import UnreadableItem

MAX_XML = 64 * 2**20
"""Largest article in bytes."""
MAX_DEPTH = 200
"""Largest number of elements inside each other."""
HREF = "{http://www.w3.org/1999/xlink}href"
_BLOCKS = frozenset(("title", "p", "label", "list-item", "disp-quote", "break"))
_SKIPPED = frozenset(("tex-math", "annotation"))


def parse(data: bytes, name: str) -> Element:
    """Parse XML without entities of its own and without reading anything else.

    An entity that an article does not declare, such as ``&alpha;``, is the character that HTML calls so.

    Raises:
        UnreadableItem: it is damaged, too large, or declares an entity.
    """
    if len(data) > MAX_XML:
        raise UnreadableItem(name, f"{len(data):,} bytes, more than the limit of {MAX_XML:,}")
    builder = TreeBuilder()
    reader = expat.ParserCreate(namespace_separator="}")
    reader.buffer_text = True
    reader.ordered_attributes = True

    depth = 0

    def start(tag: str, attributes: list[str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableItem(name, f"more than {MAX_DEPTH} elements inside each other")
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        builder.start(_named(tag), {_named(key): value for key, value in pairs})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_named(tag))

    def declared(entity: str, *_: Any) -> None:
        raise UnreadableItem(name, f"declares an entity of its own ({entity!r}), which is refused")

    def skipped(entity: str, parameter: bool) -> None:
        if not parameter:
            builder.data(html.unescape(f"&{entity};"))

    reader.StartElementHandler = start
    reader.EndElementHandler = end
    reader.CharacterDataHandler = builder.data
    reader.EntityDeclHandler = declared
    reader.SkippedEntityHandler = skipped
    try:
        reader.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, AssertionError) as error:
        raise UnreadableItem(name, f"damaged XML ({str(error)[:80]})") from None


def plain_text(element: Element | None) -> str:
    """Return the words of an element on one line, without markup; formulas in TeX are left out."""
    return "" if element is None else re.sub(r"\s+", " ", "".join(_words(element))).strip()


def graphics(article: Element) -> Iterator[tuple[str, Element | None]]:
    """Yield (name of the picture, nearest element around it with a caption) of every graphic, in document order."""
    parents = {child: parent for parent in article.iter() for child in parent}
    for graphic in article.iter("graphic"):
        around: Element | None = parents.get(graphic)
        while around is not None and around.find("caption") is None:
            around = parents.get(around)
        yield graphic.get(HREF, "").strip(), around


def contexts(article: Element) -> dict[str, list[str]]:
    """Return id of a figure -> the paragraphs outside captions that cite it, each once, in document order."""
    paragraphs: dict[str, list[str]] = {}
    captions = {id(p) for caption in article.iter("caption") for p in caption.iter("p")}
    for paragraph in article.iter("p"):
        cited = [r for x in paragraph.iter("xref") if x.get("ref-type") == "fig" for r in x.get("rid", "").split()]
        if id(paragraph) in captions or not cited:
            continue
        text = plain_text(paragraph)
        for name in dict.fromkeys(cited):
            if text not in paragraphs.setdefault(name, []):
                paragraphs[name].append(text)
    return paragraphs


def article_facts(article: Element) -> dict[str, Any]:
    """Return what an article says of itself; see ``Figure``. What it does not say is "" or []."""
    front = article.find("front/article-meta")
    meta = Element("article-meta") if front is None else front
    ids = {e.get("pub-id-type", ""): plain_text(e) for e in meta.findall("article-id")}
    pmc = ids.get("pmc", ids.get("pmcid", ""))
    licence = _licence(meta)
    return {
        "article": ids.get("doi") or (f"PMC{pmc.removeprefix('PMC')}" if pmc else ""),
        "article_title": plain_text(meta.find("title-group/article-title")),
        "journal": plain_text(article.find("front/journal-meta//journal-title")),
        "year": plain_text(meta.find("pub-date/year")),
        "subjects": [plain_text(e) for e in meta.iter("subject")],
        "keywords": [plain_text(e) for e in meta.iter("kwd")],
        "licence": licence,
        "licence_group": licence_group(licence),
    }


def licence_group(licence: str) -> str:
    """Return PubMed Central's group of a licence: "commercial" (CC0, CC BY, CC BY-SA, CC BY-ND), "noncommercial" (a CC
    licence with NC), or "other".

    Args:
        licence: an address, such as "http://creativecommons.org/licenses/by/2.0", or words.
    """
    match = re.search(r"creativecommons\.org/(?:licenses/(by[a-z-]*)|publicdomain/(?:zero|mark))", licence.lower())
    if match is None:
        return "other"
    return "noncommercial" if "-nc" in (match[1] or "") else "commercial"


def _licence(meta: Element) -> str:
    """Return the address of the licence, else its words."""
    licence = meta.find(".//license")
    if licence is None:
        return plain_text(meta.find(".//copyright-statement"))
    links = [e.get(HREF, "") for e in licence.iter()] + [plain_text(e) for e in licence.iter() if "}" in e.tag]
    return next((link for link in links if "creativecommons.org" in link), plain_text(licence))


def _words(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if child.tag not in _SKIPPED:
            block = " " if child.tag in _BLOCKS else ""
            yield block
            yield from _words(child)
            yield block
        yield child.tail or ""


def _named(tag: str) -> str:
    return "{" + tag if "}" in tag else tag
