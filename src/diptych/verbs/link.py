"""``link``: which records of one table are those of another?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError, UsageError
from diptych.core.wording import columns_there
from diptych.tasks.defaults import slug_and_row
from diptych.verbs import keeping, kinds
from diptych.verbs.arguments import argument, fit_workers, fitted, method, settings
from diptych.verbs.declare import RUN, Verb
from diptych.verbs.links import Links

if TYPE_CHECKING:
    from diptych.core import Backbone, Retriever
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class LinkTables(Verb):
    """Link matching records of two tables by pictures and texts; labelled pairs choose the threshold."""

    name: ClassVar[str] = "link"
    item: ClassVar[str] = "Link"
    role: ClassVar[str] = "diptych.core.method:Retriever"
    examples: ClassVar[tuple[str, ...]] = (
        "link left.csv right.csv",
        "link left.csv right.csv --pairs labelled.csv --one-to-one",
    )
    out: ClassVar[str] = "links.csv"
    out_help: ClassVar[str] = "CSV to write."
    out_is_file: ClassVar[bool] = True
    python_out: ClassVar[Any] = "name"
    offers: ClassVar[tuple[str, ...]] = (*RUN, "batch", "workers")

    left: Any = argument(
        "A table, folder or tar of records: pictures, texts or both.", kinds.PHOTOS, positional=True,
        faces=("command", "python"),
    )  # fmt: skip
    right: Any = argument(
        "The table in which to look for matches.", kinds.PHOTOS, positional=True, faces=("command", "python")
    )
    pairs: Any = argument(
        "Labelled matches: a table with the columns left and right; in Python also (left, right) of each.",
        kinds.TABLE, None,
    )  # fmt: skip
    ids: str | Sequence[str] = argument(
        "Columns that name records, in the labelled matches and in the links: LEFT,RIGHT (default: rows from 0).",
        kinds.WORDS, (), faces=("command", "python"),
    )  # fmt: skip
    method: str | Retriever = method(slug_and_row("link")[0], "A retriever; see diptych systems --verb retrieve.")
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    variant: str | None = argument(
        "Its variant ({}: {} with pairs, else {}).".format(*slug_and_row("link labelled"), slug_and_row("link")[1]),
        default=None,
    )  # fmt: skip
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()
    threshold: float | None = argument(
        "Link pairs with at least this score (default: chosen on labelled matches).", default=None
    )
    one_to_one: bool = argument("Link each record at most once.", default=False)
    groups: Any = argument(
        "CSV of all records and their groups: records that are linked, directly or through others.", kinds.FILE, None
    )
    text_columns: str | Sequence[str] = argument(
        "Columns with the texts: LEFT,RIGHT or one for both.", kinds.WORDS, (), faces=("command", "python")
    )
    image_columns: str | Sequence[str] = argument(
        "Columns with the pictures: LEFT,RIGHT or one for both.", kinds.WORDS, (), faces=("command", "python")
    )

    def check(self) -> None:
        """Refuse what is no path, and three columns for two tables."""
        for table in (self.left, self.right):
            if not isinstance(table, (str, os.PathLike)):
                raise UsageError(
                    f"Records are read from a table (.csv), a folder or a tar, and this is a {type(table).__name__}: "
                    f"give a path."
                )
        for columns in (self.ids, self.text_columns, self.image_columns):
            _two(columns)

    def learns(self) -> bool:
        """Return whether there are labelled matches."""
        return self.pairs is not None

    def system(self) -> Any:
        """Return the retriever: of the default one, the row for what is given."""
        slug, row = slug_and_row("link" if self.pairs is None else "link labelled")
        if self.variant is None and self.method == slug:
            return replace(self, variant=row).system()
        return super().system()

    def run(self, context: Context) -> Links:
        """Link the records."""
        from diptych.core import Kit
        from diptych.data.files import write_whole
        from diptych.data.load import open_records
        from diptych.tasks.link import link

        context.free("")
        groups = None if self.groups is None else Path(self.groups)
        if groups is not None:
            context.free_file(groups, "groups")
            if context.out is not None and groups.resolve() == context.out.resolve():
                raise UsageError(f"{{groups}} and {{out}} are both {context.out}: give each a file of its own.")
        system, ids = self.system(), _two(self.ids)
        a, b = (
            open_records(given, context.keys, image=image or "", text=text or "")
            for given, image, text in zip(
                (self.left, self.right), _two(self.image_columns), _two(self.text_columns), strict=True
            )
        )
        known = [] if self.pairs is None else _pairs(self.pairs, a, b, ids)
        context = keeping.where(self, context)
        tower = _truncating_model(context) if system.card.needs.hooks else None
        kit = Kit({} if tower is None else {"main": tower})
        run = context.light_run() if tower is None else context.run()
        result = link(
            a, b, system, tower, run, pairs=known, threshold=self.threshold, one_to_one=self.one_to_one,
            grouped=groups is not None, ids=ids,
            remember=lambda fit: keeping.read_or_fit(self, context, lambda: kit, fit),
        )  # fmt: skip
        if groups is not None:
            write_whole(groups, result.groups_as_csv(), overwrite=context.overwrite)
        tables = (self.left, self.right)
        return Links(result, tables, chosen=self.threshold is None, one_to_one=self.one_to_one)


def _two(given: str | Sequence[str]) -> tuple[str | None, str | None]:
    parts = tuple(given)
    if not parts:
        return None, None
    if len(parts) > 2:
        raise UsageError(f"Give one column for both tables, or LEFT,RIGHT, not {','.join(parts)!r}.")
    return parts[0], parts[-1]


def _truncating_model(context: Context) -> Backbone:
    """Return the model, which cuts long texts as the authors do where it is given by its name; one that was loaded
    before does what it was loaded for.
    """
    from diptych.backbones.sources.load_options import truncating

    given = getattr(context, "given", None)
    return (
        context.model()
        if given is not None and not isinstance(given, str)
        else context.model(truncating(context.backbone))
    )


def _pairs(given: Any, left: Any, right: Any, ids: tuple[str | None, str | None]) -> list[tuple[int, int]]:
    """Return the positions of labelled matches; raises DataError where one names no record, or several."""
    from diptych.data.rows import read_columns

    source = "{pairs}"
    if isinstance(given, (str, Path)):
        columns, source = read_columns(Path(given)), str(given)
        if not {"left", "right"} <= set(columns):
            raise DataError(
                f"{given} has no columns left and right, only {columns_there(columns)}: name the two records of a "
                f"match so."
            )
        given = zip(columns["left"], columns["right"], strict=True)
    pairs = []
    positions = [_numbered(records, column) for records, column in zip((left, right), ids, strict=True)]
    for number, cells in enumerate(given, 1):
        at = [position.get(str(cell)) for position, cell in zip(positions, cells, strict=True)]
        if None in at:
            raise DataError(
                f"Row {number} of {source} names {cells[at.index(None)]!r}, which is in no table: see {{ids}}."
            )
        if -1 in at:
            column, cell = ids[at.index(-1)], cells[at.index(-1)]
            raise DataError(
                f"Row {number} of {source} names {cell!r}, and several records have this {column}: name them by a "
                f"column of {{ids}} that tells records apart."
            )
        pairs.append((at[0] or 0, at[1] or 0))
    return pairs


def _numbered(records: Any, column: str | None) -> dict[str, int]:
    """Return the name of a record -> its position; -1 where several records have the name."""
    if column is None:
        return {str(i): i for i in range(len(records))}
    if not any(column in f for f in records.facts):
        there = columns_there(dict.fromkeys(c for f in records.facts for c in f))
        raise DataError(f"There is no column {column!r} to name records by, only {there}: see {{ids}}.")
    positions: dict[str, int] = {}
    for i, facts in enumerate(records.facts):
        if column in facts:
            name = str(facts[column])
            positions[name] = -1 if name in positions else i
    return positions
