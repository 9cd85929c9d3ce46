"""``search``: find an entry of an index by words, by a picture, or by both."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError, UsageError
from diptych.core.ranges import at_least, between
from diptych.core.wording import from_here, one_line, several_words
from diptych.verbs import kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument
from diptych.verbs.declare import Verb
from diptych.verbs.index import space_of
from diptych.verbs.index_report import promise

if TYPE_CHECKING:
    from PIL import Image

    from diptych.search_index.rows import Hit, Modality
    from diptych.tasks.search import ask
    from diptych.tasks.search.term import Term
    from diptych.verbs.context import Context

QUERY = kinds.Kind(list[str], list[str])
"""Words and pictures; over HTTP words, or parts with a text or an image and a weight."""
FOLDER = kinds.Kind(Path)
AWAY = kinds.Kind(list[str] | None, None, lambda value: () if value is None else value)


@dataclass(frozen=True, kw_only=True)
class Search(Verb):
    """Find the entries nearest to words, pictures, or both."""

    item: ClassVar[str] = "Hit"
    report: ClassVar[str] = "Also write a .csv, .json or .html file."
    examples: ClassVar[tuple[str, ...]] = (
        'search photo-index "a red bicycle"',
        "search photo-index photo.jpg --minus snow --top 20",
    )
    without_model: ClassVar[str] = "that of the index"
    run_options: ClassVar[dict[str, Any]] = {"batch": 1, "workers": 1}
    offers: ClassVar[tuple[str, ...]] = ("overwrite", "json", "device", "engine", "cache")

    folder: Any = argument("Folder or address of diptych index.", FOLDER, flag="INDEX", positional=True)
    query: Any = argument('Words and pictures, added up: "a red car" photo.jpg "2:at night".', QUERY, positional=True)
    minus: Any = argument(
        'Words or pictures to move away from, such as "0.5:snow".', AWAY, (), short="-m",
        faces=("command", "python"),
    )  # fmt: skip
    where: str | Sequence[str] = argument(
        'Condition on metadata: label=cat, "year>=1990", "name~*holiday*".', kinds.TEXTS, (), short="-w"
    )
    top: int = argument("Number of answers.", default=10, short="-k", range=at_least(1))
    captions: float | None = argument(
        "Share of the captions in the score (default 0).", default=None, range=between(0, 1)
    )
    exact: bool = argument("Compare with every entry, instead of an approximate search.", default=False)
    at_least: float | None = argument(
        "Keep answers above a cut where this share is expected to be right, such as 0.8; an index of another "
        "backbone than lite needs marked answers.",
        default=None, range=between(0, 1, "()"),
    )  # fmt: skip
    html: Path | None = argument("Also write a page with the pictures.", kinds.FILE, None, faces=("command",))
    backbone: str | None = argument(
        "Default: that of the index.", default=None, short="-b", panel="Model", faces=("command",)
    )
    index: str = argument("Name of a served index; the first where none is named.", default="", faces=("http",))

    def check_report(self, path: Path) -> None:
        """Refuse files of other kinds."""
        if path.suffix not in (".csv", ".json", ".html"):
            raise UsageError(f"{{out}} writes .csv, .json or .html, not {path.name!r}.")

    def run(self, context: Context) -> Answers:
        """Look for the entries."""
        from diptych.data.files import write_whole
        from diptych.search_index.opening import index_at
        from diptych.tasks.search.ask import search
        from diptych.tasks.search.interruption import unfinished
        from diptych.tasks.search.query import torchless
        from diptych.tasks.search.term import refuse_folders

        if self.html is not None:
            context.free_file(self.html, "html")
        folder, query = self._index()
        with index_at(folder) as index:
            facts = dict(index.facts)
        terms = [*terms_of(query, 1.0), *terms_of(() if self.minus is None else self.minus, -1.0)]
        name = self.backbone or str(facts.get("backbone", "lite"))
        context = context.like({**facts, "backbone": name}, wholly=True)
        context.expect(len(terms))
        known = context.recalled() if context.backbone == name else None
        space: Any
        if known is not None and torchless(terms, *known):  # what is remembered is a backbone of photos, no space
            refuse_folders(terms)
            space, run = known
        else:
            from diptych.tasks.search.spaces import modality_named, sample_term

            samples = modality_named(name)
            if samples is None:
                refuse_folders(terms)
            space, run = space_of(context, name), context.run()
            if samples is not None:
                terms = [sample_term(term, samples[0], context.keys, samples[1]) for term in terms]
                run = replace(run, engine=None)
        answer = search(
            folder, terms, space, run, k=self.top, weights=weights_of(self.captions), where=self.where,
            exact=self.exact or None, at_least=self.at_least,
        )  # fmt: skip
        if self.html is not None:
            from diptych.tasks.pages.search_page import html

            write_whole(self.html, html(answer), overwrite=context.overwrite)
        return Answers(answer, self.html, unfinished(folder), space.spec.languages)

    def _index(self) -> tuple[Path, Any]:
        """Return the folder and the query, also where they were given the other way round."""
        parts = list(self.query) if isinstance(self.query, (list, tuple)) else [self.query]
        there = [i for i, part in enumerate(parts) if _is_index(part)]
        if _is_index(self.folder):
            return Path(self.folder), self.query
        if len(there) != 1:
            for part in (self.folder, *parts):
                _refuse_photos(part)
            return Path(self.folder), self.query
        return Path(parts.pop(there[0])), [os.fspath(self.folder), *parts]


class Answers(Answer["Hit"]):
    """Entries of an index, the nearest first."""

    rows_key = "results"

    def __init__(
        self, answer: ask.Answer, page: Path | None = None, unfinished: str = "", languages: Sequence[str] = ()
    ) -> None:
        super().__init__(iter(answer.results))
        self.answer, self.page, self.unfinished, self.languages = answer, page, unfinished, languages
        shares = () if answer.cut is None else answer.cut.shares
        self._shares = {f.entry.name: share for f, share in zip(answer.results, shares, strict=False)}

    def title(self, items: Sequence[Hit]) -> str:
        """Return how many entries there are."""
        return f"{len(items)} of {self.answer.entries:,} entries of {self.answer.index}"

    def name(self, item: Hit) -> str:
        """Return the name of the entry."""
        return item.entry.name

    def label(self, item: Hit) -> str:
        """Return its caption."""
        return item.entry.caption

    def line(self, item: Hit) -> str:
        """Return the score and the caption."""
        return f"{_plain(item.score)}  {item.entry.caption[:60]}".rstrip()

    def printed(self, item: Hit, name: str) -> str:
        """Return the score, the probability that the answer is right, the path from here and the caption."""
        share = f"{self._shares[item.entry.name]:.2f} right  " if self._shares else ""
        caption = f"  {one_line(' '.join(item.entry.caption[:60].split()))}" if item.entry.caption else ""
        return f"{_plain(item.score)}  {share}{one_line(from_here(item.entry.name))}{caption}"

    def row(self, item: Hit) -> dict[str, Any]:
        """Return nothing: ``data`` has the entries."""
        return {}

    def columns(self, items: Sequence[Hit]) -> dict[str, list[Any]]:
        """Return scores and captions."""
        return {"score": [f.score for f in items], "caption": [f.entry.caption for f in items]}

    def picture(self, item: Hit) -> Image.Image | None:
        """Return the picture of the entry."""
        from diptych.tasks.search.entry_picture import picture

        return picture(item.entry.name)

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the entries, the query, and how they were found."""
        return {**self.answer.as_dict(), "remarks": list(remarks)}

    def remarks(self, items: Sequence[Hit]) -> list[str]:
        """Return the share of right answers above the cut, how good an approximate search is, and why there is none."""
        from diptych.data.words.english import negated, not_english

        answer, lines = self.answer, [self.unfinished] if self.unfinished else list[str]()
        words = [term.value for term in answer.terms if not term.is_picture and term.sample is None]
        alone = len(words) == len(answer.terms) and all(term.weight == 1 for term in answer.terms)
        if alone and (added := several_words(words, "added up")):
            lines.append(added)
        if foreign := not_english(words, answer.backbone, self.languages):
            lines.append(foreign)
        wanted = [t.value for t in answer.terms if t.value in words and t.weight > 0]
        if negation := negated(wanted, answer.backbone):
            lines.append(negation)
        if answer.cut is not None:
            cut = answer.cut.cut
            stated = f"Above this cut {promise(cut.share, (cut.low, cut.high))} ({answer.cut.basis})."
            lines.append(f"{stated} {answer.cut.absent}".rstrip())
        if answer.left_out:
            lines.append(answer.left_out)
        if answer.doubt:
            lines.append(answer.doubt)
        if answer.recall is not None:
            lines.append(
                f"approximate: measured recall@10 {min(answer.recall.values()):.3f}; {{exact}} looks at all "
                f"{answer.entries:,}"
            )
        return lines if answer.results else [*lines, answer.nothing]

    def report(self, path: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write a table with the metadata, a page with the pictures, or the plain data."""
        from diptych.data.files import write_whole

        if path.suffix == ".csv":
            write_whole(path, self.answer.as_csv(), overwrite=overwrite)
        elif path.suffix == ".html":
            from diptych.tasks.pages.search_page import html

            write_whole(path, html(self.answer), overwrite=overwrite)
        else:
            super().report(path, data, overwrite=overwrite)
        return []

    def notes(self) -> list[str]:
        """Return where the page is."""
        return [] if self.page is None else [f"The page is {self.page}"]


def _plain(score: float) -> str:
    """Return a score with three digits, and 0 without a sign."""
    return f"{round(score, 3) + 0.0:.3f}"


def weights_of(captions: float | None) -> Mapping[Modality, float] | None:
    """Return how much pictures and captions count; None where the index decides.

    Raises:
        UsageError: a share outside [0, 1].
    """
    if captions is None:
        return None
    if not 0 <= captions <= 1:
        raise UsageError(f"{{captions}} must be in [0, 1], got {captions:g}: it is a share of the score.")
    weights: dict[Modality, float] = {"image": 1 - captions, "text": captions}
    return {m: w for m, w in weights.items() if w}


def terms_of(query: object, sign: float) -> list[Term]:
    """Return the terms of words, paths and pictures; raises UsageError for what cannot be looked for."""
    from diptych.tasks.search.term import Term

    parts = list(query) if isinstance(query, (list, tuple)) else [query]
    if any(part is None for part in parts):
        raise UsageError('A query is words, the path of a picture, or a picture, not None: give "a red car".')
    return [
        Term.parse(_as_words(p), sign) if isinstance(p, (str, os.PathLike)) else Term("picture", sign, p) for p in parts
    ]


def _as_words(query: str | os.PathLike[str]) -> str:
    """Return the text of a query; a ``Path`` of a folder ends as one, for it is never a word."""
    path = os.fspath(query)
    return os.path.join(path, "") if not isinstance(query, str) and os.path.isdir(path) else path


def _is_index(value: object) -> bool:
    if not isinstance(value, (str, os.PathLike)):
        return False
    from diptych.data.files import database_address

    # of os.path, for a path of many words is an error of pathlib
    return database_address(value) is not None or os.path.isfile(os.path.join(value, "index.json"))


def _refuse_photos(value: object) -> None:
    """Refuse photos in the place of an index: the caller has none yet."""
    if not isinstance(value, (str, os.PathLike)):
        return
    name = os.fspath(value)
    if name.startswith("demo:") or (os.path.isdir(name) and not os.path.exists(os.path.join(name, "rows.sqlite"))):
        raise DataError(
            f"A search needs an index, and {name} holds none: make one with 'diptych index {shlex.quote(name)} --out "
            f"photo-index' (in Python diptych.index({name!r}, 'photo-index')), and search in photo-index."
        )
