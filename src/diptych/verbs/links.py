"""What ``link`` returns: matches, what labelled ones say of them, and what was not compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core.wording import from_here, number_of
from diptych.verbs.answer import Answer

if TYPE_CHECKING:
    from diptych.data.records.records import Records
    from diptych.tasks.link import Link, Linked


class Links(Answer["Link"]):
    """Records of the first table with their matches in the second.

    Args:
        result: the links.
        tables: both, as they were given.
        chosen: whether labelled records chose the threshold.
        one_to_one: whether each record has at most one match.
    """

    rows_key = "links"
    item_kind = "record"
    listed = False

    def __init__(
        self, result: Linked, tables: tuple[Any, Any] = (None, None), *, chosen: bool = True, one_to_one: bool = False
    ) -> None:
        super().__init__(iter(result.links))
        self.result, self.count, self.given = result, len(result.left), tables
        self.chosen, self.one_to_one = chosen, one_to_one
        self.failed += result.failed

    def title(self, items: Sequence[Link]) -> str:
        """Return how many records are linked."""
        return f"{len(items)} of {self.count} records are linked"

    def name(self, item: Link) -> str:
        """Return the name of the record of the first table."""
        return self.result.names(item)[0]

    def label(self, item: Link) -> str:
        """Return the name of the record of the second table."""
        return self.result.names(item)[1]

    def line(self, item: Link) -> str:
        """Return the match, and the score."""
        return f"{from_here(self.label(item))}  {item.score:.4f}"

    def row(self, item: Link) -> dict[str, Any]:
        """Return both names, and the score."""
        left, right = self.result.names(item)
        return {"left": left, "right": right, "score": round(item.score, 6)}

    def facts(self) -> dict[str, Any]:
        """Return the threshold, and what the labelled matches say."""
        return self.result.about()

    def remarks(self, items: Sequence[Link]) -> list[str]:
        """Return what is not compared, and how many of the labelled records are linked right."""
        labelled, cut = self.result.labelled, self.result.cut
        lines = [f"{number_of(cut, 'text')} longer than the model reads: the start alone is compared."] if cut else []
        lines += self._unread()
        if not labelled:
            return [*lines, *self._unjudged()]
        counts = {"precision": labelled["linked"], "recall": labelled["val"]}
        shares = ", ".join(f"{name} {_share(labelled[name], n)}" for name, n in counts.items())
        cubed = " and ".join(f"{n} {100 * labelled.get(f'group_{n}', 0):.0f} %" for n in ("precision", "recall"))
        nearest = _share(labelled["nearest_right"], labelled["val"])
        links = "one-to-one links from" if self.one_to_one else "from"
        chosen = "which they chose, " if self.chosen else ""
        groups = f"; of the groups, B-cubed {cubed}" if "group_f1" in labelled else ""
        return [
            *lines,
            f"Of {labelled['val']:.0f} labelled records, the nearest is right for {nearest}; "
            f"{links} the threshold {self.result.threshold:.4f} on, {chosen}{shares}{groups} "
            f"(95 % intervals).",
        ]

    def _unread(self) -> list[str]:
        """Return which columns of pictures are not read."""
        lines = []
        for records, given in zip((self.result.left, self.result.right), self.given, strict=True):
            columns = [] if any(place is not None for place in records.places) else _picture_columns(records)
            if columns:
                words = f"{columns[0]} of {given if isinstance(given, (str, Path)) else 'a table'}"
                lines.append(f"The column {words} names pictures and is not read: give it with {{image_columns}}.")
        return lines

    def _unjudged(self) -> list[str]:
        """Return what is compared, and that nothing says which links are right."""
        if self.result.threshold is not None:
            return []
        alone = sum(self.result.left.names[k.left] == self.result.right.names[k.right] for k in self.result.links)
        if alone and 2 * alone > len(self.result.links):
            return [
                f"{number_of(alone, 'record is', 'records are')} linked to themselves, as both tables hold them: to "
                f"find records that repeat others, give {{groups}} with {{threshold}}."
            ]
        left, right = (_what(records) for records in (self.result.left, self.result.right))
        return [
            f"Each record is linked to the nearest, right or wrong: {left} of one table with {right} of the other. "
            f"Known matches in {{pairs}} tell how many are right, and choose a threshold."
        ]

    def summary(self, out: Path | None) -> list[str]:
        """Return how many records are linked, and where the links lie."""
        return [f"{self.title(self.result.links)}, in {out}"]

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the links."""
        from diptych.data.files import write_whole

        write_whole(folder, self.result.as_csv(), overwrite=overwrite)
        return []


def _share(value: float, count: float) -> str:
    """Return a share of so many records in percent, with its 95 % interval."""
    from diptych.metrics.closed_intervals import wilson

    if not count:
        return "of no link"
    low, high = wilson(value * count, count)
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _what(records: Records) -> str:
    pictures, texts = any(p is not None for p in records.places), any(t is not None for t in records.texts)
    return "pictures and texts" if pictures and texts else "pictures" if pictures else "texts"


def _picture_columns(records: Records) -> list[str]:
    """Return the columns beside picture and text whose every cell is the name of a picture."""
    from diptych.data.images import SUFFIXES

    names = [name for name, value in (records.facts[0] if records.facts else {}).items() if isinstance(value, str)]
    return [n for n in names if all(Path(str(f.get(n, ""))).suffix.lower() in SUFFIXES for f in records.facts)]
