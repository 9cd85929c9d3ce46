"""``audit pairs``: which captions do not fit their photos, and which of their words?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from diptych.core import UsageError
from diptych.core.ranges import at_least, one_of
from diptych.core.wording import one_line, short_names
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, settings
from diptych.verbs.audit.findings import Audit, Audited
from diptych.verbs.photos import paths_of

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import Part, Table
    from diptych.tasks.audit.groups import AuditedPair, AuditedPairs
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class AuditPairs(Audit):
    """Find captions that fit their photos worse than right captions do, and the word of each that fits least."""

    name: ClassVar[str] = "audit pairs"
    examples: ClassVar[tuple[str, ...]] = (
        "audit pairs pairs.csv --out pairs.html",
        "audit pairs pairs.csv --clean right.csv --false-alarm-rate 0.05",
    )
    item: ClassVar[str] = "AuditedPair"
    role: ClassVar[str] = "diptych.core.audit:PairScorer"
    report: ClassVar[str] = "Also write a .csv, .json or .html file."
    out_help: ClassVar[str] = report
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".json", ".html")
    raises: ClassVar[str] = "MissingHook: the model lacks what the scorer needs."

    photos: object = argument("A table with pictures and captions.", kinds.PHOTOS, positional=True, flag="TABLE")
    captions: Sequence[str] | None = argument(
        "One per photo, where photos are given and no table.", kinds.CELLS, None, positional=True,
        faces=("python",),
    )  # fmt: skip
    image: str = argument("Column with the picture (default: path, filepath, image).", default="")
    text: str = argument("Column with the caption (default: caption, title, text).", default="")
    clean: object = argument(
        "A table of pairs like yours that are known to be right (default: photos that ship).", kinds.TABLE, None
    )
    rate: float = argument("Share of right captions that may stand out.", default=0.05, flag="--false-alarm-rate")
    choice: Literal["threshold", "most-negative"] | None = argument(
        "Rank by the words instead: threshold, or most-negative.", default=None,
        range=one_of("threshold", "most-negative"),
    )  # fmt: skip
    threshold: float | None = argument("Rank by the words: those below this attribution are wrong.", default=None)
    top: int = argument(
        "Pairs to print, the worst first.", default=20, short="-k", range=at_least(1), faces=("command",)
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    @property
    def by_words(self) -> bool:
        """Whether captions are ranked by their words, not against right ones."""
        return self.choice is not None or self.threshold is not None

    def check(self) -> None:
        """Refuse right captions where nothing is compared with them."""
        if self.by_words and self.clean is not None:
            raise UsageError("{clean} says how well right captions fit: leave {choice} and {threshold} out.")

    def defaults(self) -> Mapping[str, Any]:
        """Return which words are wrong."""
        choice = self.choice or ("most-negative" if self.threshold is None else "threshold")
        return {"choice": choice, **({} if self.threshold is None else {"threshold": self.threshold})}

    def run(self, context: Context) -> Pairs:
        """Score the pairs, and measure how well right captions fit."""
        from diptych.core import Column, Table
        from diptych.data.samples import as_samples
        from diptych.tasks.audit.groups import audit_pairs, right_captions

        if self.captions is None:
            pairs = self._opened(self.photos, context)
        else:
            captions = Column("captions", [(c,) for c in self.captions])
            pairs = Table(as_samples(self.photos, context.keys), {"captions": captions})
        known = None if self.clean is None else self._opened(self.clean, context)
        self.free(context)
        run, tower, right = context.run(), context.model(), None
        if not self.by_words:
            source = "" if known is None else (paths_of(self.clean) or ["clean"])[0]
            right = right_captions(tower, run, self.rate, known, source=source, keys=context.keys)
        result = audit_pairs(pairs, tower, run, method=self.system())
        return Pairs(self, result if right is None else result.against(right), pairs, tower.spec.name)

    def _opened(self, given: Any, context: Context) -> Table[Any]:
        from diptych.data.load import open_data
        from diptych.data.samples import as_table

        if (paths := paths_of(given)) is None:
            return as_table(given, context.keys)
        return open_data(paths, context.keys, need="captions", image=self.image, text=self.text, empty=True).whole()


class Pairs(Audited):
    """Pairs of photo and caption, the worst first."""

    rows_key = "pairs"

    def __init__(self, verb: AuditPairs, result: AuditedPairs, pairs: Table[Any], tower: str) -> None:
        facts = {"right_captions": None if result.right is None else result.right.as_dict()}
        super().__init__(verb, result.rows, result.failed, **facts)
        self.verb: AuditPairs = verb
        self.result, self.photos, self.tower = result, pairs.items, tower

    def title(self, items: Sequence[AuditedPair]) -> str:
        """Return how many pairs there are."""
        return f"{len(items)} pairs, the worst first"

    def line(self, item: AuditedPair) -> str:
        """Return whether the caption stands out, the cosine and the caption."""
        return f"{self._lead(item)}  {item.text}"

    def label(self, item: AuditedPair) -> str:
        """Return the words that are judged wrong."""
        return ", ".join(p.text for p in item.parts if p.chosen)

    def columns(self, items: Sequence[AuditedPair]) -> dict[str, list[Any]]:
        """Return captions, scores, and the words that are judged wrong."""
        facts = {name: [getattr(r, name) for r in items] for name in ("score", "cosine", "stands_out", "right_share")}
        return {"caption": [r.text for r in items], **facts, "wrong": [self.label(r) for r in items]}

    def picture(self, item: AuditedPair) -> Image.Image | None:
        """Return the photo."""
        photo: Image.Image = self.photos[item.index]
        return photo

    def tables(self) -> list[str]:
        """Return the worst pairs, with the wrong words marked."""
        names = short_names([row.name for row in self.items])
        return [
            f"{self._lead(row)}  {name}\n  {_marked(row.text, row.parts)}"
            for name, row in zip(names, self.items[: self.verb.top], strict=False)
        ]

    def remarks(self, items: Sequence[AuditedPair]) -> list[str]:
        """Return what stands out, and how far to trust it."""
        right, count = self.result.right, len(self.items)
        if right is None:
            marked = sum(any(p.chosen for p in row.parts) for row in self.items)
            return [f"{marked} of {count} captions have a marked word" + ("" if marked else ": nothing stands out")]
        n, standing = len(right.cosines), sum(bool(row.stands_out) for row in self.items)
        best = min((row.right_share for row in self.items if row.right_share is not None), default=1.0)
        line = f"{standing} of {count} captions stand out" if standing else "Nothing stands out"
        if not standing and best < 1:
            line += f" (the nearest to it would from {{rate}} {best:.2g} on)"
        of = f"{n} right captions of {right.source}" if right.source else f"{n} right captions that ship"
        line += f": at most {100 * right.rate:g} % of right captions do so too, measured on {of}"
        if not right.source:
            line += (
                f", {right.clothes} of them of clothes. Yours are of another kind? Give right ones with {{clean}}: "
                f"{math.ceil(round(1 / right.rate - 1, 9))} or more"
            )
        chance = f" Of {count} right captions up to {math.ceil(right.rate * count)} would." if standing else ""
        return [line + "." + chance]

    def report(self, path: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write a table, a page, or the plain data."""
        from diptych.data.files import write_whole

        if path.suffix == ".csv":
            write_whole(path, self.result.as_csv(), overwrite=overwrite)
            return []
        if path.suffix != ".html":
            return super().report(path, data, overwrite=overwrite)
        from diptych.tasks.audit.page import html

        name = Path((paths_of(self.verb.photos) or ["pairs"])[0]).name
        title = f"{name}: captions against photos with {self.tower}"
        write_whole(path, html(self.result, self.photos, title), overwrite=overwrite)
        return []

    def _lead(self, row: AuditedPair) -> str:
        right = self.result.right is not None
        lead = ("stands out" if row.stands_out else f"{'':10}") if right else f"{row.score:+.2e}"
        return f"{lead}  cos {row.cosine:.2f}"


def _marked(text: str, parts: tuple[Part, ...]) -> str:
    """Return the text with wrong words in red where the terminal shows colours, and in [brackets] everywhere."""
    from rich.console import Console
    from rich.style import Style

    colour = Console().color_system
    for part in sorted((p for p in parts if p.chosen), key=lambda p: -p.start):
        word = f"[{text[part.start : part.end]}]"
        shown = Style(color="red", bold=True).render(word) if colour else word
        text = text[: part.start] + shown + text[part.end :]
    return "".join(c if c == "\x1b" else one_line(c) for c in text)
