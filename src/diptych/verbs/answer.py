"""What a verb answers: one item per photo, and what a user should know beside them, the same on every face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from diptych.core import DataError, UnreadableItem
from diptych.core.wording import none_readable, number_of

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import DiptychError, Run, Samples

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """A table that the command prints.

    Args:
        columns: headings; without any the table has none.
        rows: cells, as many as headings.
        right: columns that are set to the right, such as numbers.
        title: a line above.
        spare: columns that may be left out where the terminal is too narrow, the first ones first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()
    title: str = ""
    spare: Sequence[int] = ()


class Answer(Generic[T]):
    """The items of an answer, made while they are read; each is shown as a line, as plain data and as a picture.

    The command prints ``line`` and writes files, the Python function gathers all in a ``Results``, and HTTP sends
    ``data``. A subclass says how; ``remarks`` are sentences that no face leaves out. Whoever reads the items does so in
    a ``with`` block, which stops what makes them where the reader fails or stops early.
    """

    rows_key = "photos"
    """Name of the list of rows in plain data."""
    item_kind = "path"
    """What the names of the items are, in one word."""
    done = ""
    """What was done with the items, for the title: "segmented"."""
    ranked = False
    """Whether the command prints the items in another order than they come in, see ``order``."""
    listed = True
    """Whether the command prints a line for each item."""
    right: Sequence[int] = ()
    """Columns of ``cells`` that are set to the right."""
    unseen = False
    """Whether the command shows nothing, since another process does."""
    exit_code = 0
    """Code with which the command ends although it did all its work; 0: by what was skipped."""
    unnamed = 0
    """Items beside ``failed`` that could not be read and are only counted."""

    def __init__(self, items: Iterator[T | UnreadableItem], samples: Samples[Any] | None = None) -> None:
        self._items, self.samples = items, samples
        self.failed: list[UnreadableItem] = []

    def __iter__(self) -> Iterator[T]:
        """Yield the items that could be read; the others are gathered in ``failed``.

        Raises:
            DataError: there are some, and none can be read.
        """
        read, first = False, len(self.failed)
        for item in self._items:
            if isinstance(item, UnreadableItem):
                self.failed.append(item)
            else:
                read = True
                yield item
        if not read and len(self.failed) > first:
            raise DataError(none_readable(len(self.failed) - first, self.rows_key, self.failed[first:]))

    def __enter__(self) -> Self:
        """Read the items in a block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop what makes the items where not all were read: no progress is shown after it."""
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    def title(self, items: Sequence[T]) -> str:
        """Return what was done, in a few words."""
        return f"{number_of(len(items), self.rows_key.removesuffix('s'))} {self.done}"

    def name(self, item: T) -> str:
        """Return what the user calls the item."""
        return str(item.name)  # type: ignore[attr-defined]

    def names(self) -> Sequence[str]:
        """Return the names of all items, known before the first one is made, so that lines can be aligned."""
        samples = self.samples
        return () if samples is None else [samples.name(i) for i in range(len(samples))]

    def line(self, item: T) -> str:
        """Return what the command prints behind the name."""
        raise NotImplementedError

    def printed(self, item: T, name: str) -> str:
        """Return the whole line of the command; ``name`` is short, and padded where lines are aligned."""
        return f"{name}  {self.line(item)}"

    def label(self, item: T) -> str:
        """Return the answer in one word or sentence."""
        return self.line(item)

    def row(self, item: T) -> Mapping[str, Any]:
        """Return plain data of one item."""
        facts: Mapping[str, Any] = item.as_dict()  # type: ignore[attr-defined]
        return facts

    def columns(self, items: Sequence[T]) -> Mapping[str, Sequence[Any]]:
        """Return name -> a value of each item, for a table: what a row holds in one number or word, and the label."""
        rows = [self.row(item) for item in items]
        plain = [
            k
            for k in (rows[0] if rows else ())
            if k != "path" and not any(isinstance(r.get(k), (list, dict)) for r in rows)
        ]
        return {**{k: [r.get(k) for r in rows] for k in plain}, "label": [self.label(item) for item in items]}

    def picture(self, item: T) -> Image.Image | None:
        """Return the item as a picture; None where there is none."""
        shown = getattr(item, "shown", None)
        return None if shown is None else shown()

    def order(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items in the order in which the command prints them."""
        return items

    def facts(self) -> Mapping[str, Any]:
        """Return plain data of the whole answer, beside the rows; called when all items were read."""
        return {}

    def remarks(self, items: Sequence[T]) -> list[str]:
        """Return what a user should know, one sentence each; called when all items were read."""
        return []

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the plain data of all rows, as ``--json`` prints them and HTTP sends them."""
        skipped = [e.as_dict() for e in self.failed]
        return {self.rows_key: list(rows), "skipped": skipped, **self.facts(), "remarks": list(remarks)}

    def write(self, item: T, folder: Path, *, overwrite: bool) -> dict[str, Any]:
        """Write the files of an item, and return what they add to its row."""
        return {}

    def ends(self) -> list[str]:
        """Return sentences of the command alone, at the end: numbers of the whole run."""
        return []

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the files of the whole answer; return sentences on what lies where."""
        return []

    def report(self, path: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the one file that a command without a folder was asked for; return sentences on what lies where."""
        from diptych.data.files import write_json

        write_json(path, data, overwrite=overwrite)
        return []

    def classes(self) -> tuple[str, ...]:
        """Return names of K classes, where each item has a probability of each; else ()."""
        return ()

    def truth(self, items: Sequence[T]) -> tuple[str, ...]:
        """Return the true class of each item, where the data are labelled; else ()."""
        return ()

    def probabilities(self) -> Any:
        """Return these (N, K) probabilities; None where there are none."""
        return None

    def summary(self, out: Path | None) -> list[str]:
        """Return lines that the command prints after those of the items, on stdout."""
        return []

    def tables(self) -> Sequence[Shown | str]:
        """Return tables and lines between them that the command prints after those of the items, on stdout."""
        return ()

    def cells(self) -> Sequence[tuple[str, str]]:
        """Return names and values of a small table that the command prints after the lines; () prints none."""
        return ()

    def notes(self) -> list[str]:
        """Return technical lines of the command, such as the speed, beside those of ``close``."""
        return []

    def verdict(self) -> DiptychError | None:
        """Return the error that ends the verb once all is shown and written; None where all is as it should be."""
        return None

    def inline(self, item: T) -> dict[str, Any]:
        """Return what HTTP adds to the row of an item in place of files."""
        return {}


def speed(encoded: int, seconds: float, run: Run, backbone: str, things: str = "images") -> str:
    """Return one line about how fast it went."""
    how = f"{backbone} on {run.device}, {run.precision}"
    if not encoded:
        return f"{how}: all from the cache"
    return f"{how}: {counted(encoded, seconds, things)}"


def counted(encoded: int, seconds: float, things: str = "images") -> str:
    """Return how many were encoded, in which time, and how many a second."""
    rate = encoded / max(seconds, 1e-9)
    one, pace = things.removesuffix("s"), f"{rate:{'.0f' if rate >= 1 else '.2g'}}"
    return f"{number_of(encoded, one)} in {seconds:.1f} s, {pace} {one if pace == '1' else things}/s"
