"""Figures of scientific articles in JATS XML, as PubMed Central gives them, as pairs of a picture and a caption.

The caption of a graphic is that of the nearest element around it that has one. The context are the paragraphs that cite
the figure. A picture has the name that the graphic gives, beside the article or in a folder named as the article.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.core import UnreadableItem, UsageError
from diptych.data.format import Format, Request, files_below
from diptych.data.formats.articles import MAX_XML, article_facts, contexts, graphics, parse, plain_text
from diptych.data.formats.outcomes import ShardStream
from diptych.data.formats.pairs import PictureFile
from diptych.data.images import SUFFIXES

ENDINGS = (".nxml", ".xml")
"""File endings of articles."""
_PICTURES = sorted(SUFFIXES - {".jpg", ".png"})
_ORDER = (".jpg", ".png", *_PICTURES)
"""Endings of pictures in the order in which they are looked for: PubMed Central gives figures as JPEG too."""


@dataclass(frozen=True)
class Figure(PictureFile):
    """One graphic of an article, whose picture is decoded on demand.

    Args:
        caption: its caption as plain text; "" where it has none.
        facts: "figure" (its label), "element" ("fig", "table-wrap", ...), "context" (paragraphs that cite it), and
            those of the article: "article" (DOI, or PubMed Central's number), "article_title", "journal", "year",
            "subjects", "keywords", "licence", "licence_group".
    """

    caption: str
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def text(self) -> str:
        """Return the caption."""
        return self.caption


@dataclass(frozen=True)
class ArticleStream(ShardStream[Figure]):
    """Figures of articles, see ``open_articles``, with one article in memory; one that cannot be read is one error."""

    def items(self, shard: str, skip: int) -> Generator[tuple[int, Figure | UnreadableItem], None, None]:
        """Yield (number, figure or error) of an article."""
        yield from itertools.islice(enumerate(_figures(shard)), skip, None)


def open_articles(path: str | os.PathLike[str]) -> ArticleStream:
    """Open an article, or all articles below a folder, in the order of their names.

    Raises:
        UsageError: there are none.
    """
    shards = tuple(files_below(Path(path), ENDINGS))
    if not shards:
        raise UsageError(f"There are no articles below {path}: give a folder of .nxml or .xml files, or one of them.")
    return ArticleStream(shards)


def _figures(path: str) -> Iterator[Figure | UnreadableItem]:
    try:
        with open(path, "rb") as file:
            root = parse(file.read(MAX_XML + 1), path)
    except UnreadableItem as error:
        yield error
        return
    except OSError as error:
        unread = UnreadableItem(path, f"cannot be read ({error.strerror})")
        unread.__cause__ = error
        yield unread
        return
    articles = [root] if root.tag == "article" else list(root.iter("article"))
    if not articles:
        yield UnreadableItem(path, f"is no JATS article: its root is {root.tag!r}")
    for article in articles:
        cited, facts = contexts(article), article_facts(article)
        for href, around in graphics(article):
            if around is None:
                figure: dict[str, Any] = {"figure": "", "element": "", "context": []}
            else:
                figure = {"figure": plain_text(around.find("label")), "element": around.tag}
                figure["context"] = cited.get(around.get("id", ""), [])
            caption = plain_text(None if around is None else around.find("caption"))
            picture = _picture(path, href)
            yield picture if isinstance(picture, UnreadableItem) else Figure(picture, caption, {**figure, **facts})


def _picture(article: str, href: str) -> str | UnreadableItem:
    """Return the path of the picture that a graphic names; names that lead elsewhere are refused."""
    where = f"{article}: {href or 'a graphic without name'}"
    if not href or re.search(r"[/\\:\0]", href) or href.startswith("."):
        return UnreadableItem(where, "its name leads outside the folder of the article")
    file = Path(article)
    stem, ending = os.path.splitext(href)
    names = [href + e for e in _ORDER] if ending.lower() not in SUFFIXES else [href, *(stem + e for e in _ORDER)]
    for folder in (file.parent, file.with_suffix("")):
        for name in names:
            if (folder / name).is_file():
                return str(folder / name)
    return UnreadableItem(where, "there is no such picture beside the article")


def _matches(path: Path, request: Request) -> bool:
    return next(files_below(path, ENDINGS), None) is not None


ARTICLES = Format(
    "articles in JATS XML (.nxml, .xml), or a folder of them",
    _matches,
    lambda path, request: open_articles(path),
    frozenset(("photos", "texts")),
)
