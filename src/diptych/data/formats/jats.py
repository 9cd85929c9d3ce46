"""Figures of scientific articles in JATS XML, as PubMed Central gives them, as pairs of a picture and a caption.

The caption of a graphic is that of the nearest element around it that has one. The context are the paragraphs that cite
the figure. A picture has the name that the graphic gives, beside the article or in a folder named as the article.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from diptych.core.errors import UnreadableItem, UsageError
from diptych.data.articles import MAX_XML, article_facts, contexts, graphics, parse, plain_text
from diptych.data.format import Format, Request, files_below
from diptych.data.formats.outcomes import usable
from diptych.data.images import SUFFIXES, open_image

ENDINGS = (".nxml", ".xml")
"""File endings of articles."""
_PICTURES = sorted(SUFFIXES - {".jpg", ".png"})
_ORDER = (".jpg", ".png", *_PICTURES)
"""Endings of pictures in the order in which they are looked for: PubMed Central gives figures as JPEG too."""
_SHARD = 2**32  # positions: number of the article * _SHARD + number of the graphic in it


@dataclass(frozen=True)
class Figure:
    """One graphic of an article, whose picture is decoded on demand.

    Args:
        name: path of the picture.
        caption: its caption as plain text; "" where it has none.
        facts: "figure" (its label), "element" ("fig", "table-wrap", ...), "context" (paragraphs that cite it), and
            those of the article: "article" (DOI, or PubMed Central's number), "article_title", "journal", "year",
            "subjects", "keywords", "licence", "licence_group".
    """

    name: str
    caption: str
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def image(self) -> Image.Image:
        """Return the picture.

        Raises:
            UnreadableItem: it cannot be read.
        """
        return open_image(self.name)

    def text(self) -> str:
        """Return the caption."""
        return self.caption


@dataclass(frozen=True)
class ArticleStream:
    """Figures of articles, in the order of the files, as a Stream of core.data with one article in memory.

    Args:
        shards: articles; see ``open_articles``.
        broken: function that takes the error of each article or figure that cannot be read, which is then skipped.
            None (default): the error is raised.
        start: position of the first figure. A position has the number of the article and of the graphic in it.
        stop: position of the end, the first of an article. None: the end of the last article.
    """

    shards: tuple[str, ...]
    broken: Callable[[UnreadableItem], None] | None = None
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[int, Figure]]:
        return usable(self.outcomes(), self.broken)

    def outcomes(self) -> Generator[tuple[int, Figure | UnreadableItem], None, None]:
        """Yield (position, figure or error); an article that cannot be read is one error."""
        first, skip = divmod(self.start, _SHARD)
        for number in range(first, len(self.shards) if self.stop is None else self.stop // _SHARD):
            for place, figure in enumerate(_figures(self.shards[number])):
                if number > first or place >= skip:
                    yield number * _SHARD + place, figure

    def seek(self, position: int) -> ArticleStream:
        """Return the stream that starts at ``position``."""
        return replace(self, start=position)

    def parts(self, count: int) -> list[ArticleStream]:
        """Return at most ``count`` streams of whole articles; each figure is in one, at the same position."""
        cuts = sorted({len(self.shards) * k // count for k in range(count + 1)})
        return [replace(self, start=a * _SHARD, stop=b * _SHARD) for a, b in itertools.pairwise(cuts)]


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
                own: dict[str, Any] = {"figure": "", "element": "", "context": []}
            else:
                own = {"figure": plain_text(around.find("label")), "element": around.tag}
                own["context"] = cited.get(around.get("id", ""), [])
            caption = plain_text(None if around is None else around.find("caption"))
            picture = _picture(path, href)
            yield picture if isinstance(picture, UnreadableItem) else Figure(picture, caption, {**own, **facts})


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
