"""A search index as two Lance tables in a folder or a bucket, which LanceDB opens as "entries" and "notes".

lance:FOLDER, s3://BUCKET/NAME, gs://BUCKET/NAME. Credentials come from the environment, as Lance reads them;
AWS_ENDPOINT_URL names another server with S3's protocol.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np

from diptych.core import DataError
from diptych.core.errors import need_extra
from diptych.data.files import escaped
from diptych.search_index.database import Row
from diptych.search_index.described import Vectors
from diptych.search_index.rows import MODALITIES, Entry, Modality, dumped
from diptych.search_index.where import Condition, shell_pattern

T = TypeVar("T")
RETRIES = 30
"""Times that a write is tried again behind those of other workers."""
FRAGMENTS = 64
"""Files of a table from which on they are written anew as few."""
CELLS, METRIC = "IVF_SQ", "cosine"
"""Lance's structure for approximate searches, and its metric: with "dot" pylance 2 loses nearly all neighbours."""
REFINED = 4
"""Candidates for each answer of an approximate search, which are scored exactly."""
_KEY = {"lance-schema:unenforced-primary-key": "true"}  # of two workers that add one row at once, one replaces it
_WHOLE, _TEXT = r'("(?:[^"\\]|\\.)*"|[^,}]+)', r'"((?:[^"\\]|\\.)*)"'  # a value in JSON, and what is between its quotes
_TEXTS = ("name", "stamp", "key", "caption", "facts")


class LanceDatabase:
    """The tables of an address.

    Args:
        address: see the module.

    Raises:
        MissingExtra: pylance is not installed.
    """

    def __init__(self, address: str) -> None:
        need_extra("lance", "An index in Lance")
        self.address = address
        self._root = address.removeprefix("lance:").rstrip("/")
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        self._options = {"aws_endpoint": endpoint} if endpoint and address.startswith("s3:") else {}
        if endpoint.startswith("http://"):
            self._options |= {"allow_http": "true"}

    def create(self, dim: int) -> None:
        """Make the tables for vectors of width D where they are absent."""
        import pyarrow as pa

        text = [pa.field(name, pa.string()) for name in _TEXTS]
        has = [pa.field(f"has_{m}", pa.bool_()) for m in MODALITIES]
        vectors = [pa.field(m, pa.list_(pa.float32(), dim)) for m in MODALITIES]
        number = pa.field("number", pa.int64(), nullable=False, metadata=_KEY)
        note = pa.field("note", pa.string(), nullable=False, metadata=_KEY)
        self._make("notes", pa.schema([note, *(pa.field(name, pa.string()) for name in ("kind", "key", "text"))]))
        self._make("entries", pa.schema([number, *text, *has, *vectors]))

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows, or replace those with the same numbers."""
        import pyarrow as pa

        table = self._table("entries")
        dim = table.schema.field("image").type.list_size
        entries = [row.entry for row in rows]
        columns: dict[str, Any] = {
            "number": [row.number for row in rows], "name": [e.name for e in entries],
            "stamp": [e.stamp for e in entries], "key": [e.key for e in entries],
            "caption": [escaped(e.caption) for e in entries], "facts": [dumped(e.facts) for e in entries],
        }  # fmt: skip
        for m in MODALITIES:
            there = np.array([m in row.vectors for row in rows], dtype=bool)
            values = np.zeros((len(rows), dim), dtype=np.float32)
            values[there] = [row.vectors[m] for row in rows if m in row.vectors] if there.any() else values[there]
            lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), dim, mask=pa.array(~there))
            columns |= {f"has_{m}": pa.array(there), m: lists}
        self._merge("entries", "number", columns)

    def drop(self, numbers: Sequence[int]) -> None:
        """Delete rows by their numbers."""
        for first in range(0, len(numbers), 4096):
            some = ",".join(map(str, numbers[first : first + 4096]))
            self._answered(lambda some=some: self._table("entries").delete(f"number IN ({some})"))  # type: ignore[misc]

    def rows(
        self,
        where: Sequence[Condition] = (),
        *,
        numbers: Sequence[int] | None = None,
        modality: Modality | None = None,
        vectors: Sequence[Modality] = (),
        size: int = 4096,
    ) -> Iterator[list[Row]]:
        """Yield rows in parts, see ``Database.rows``."""
        table = self._table("entries")
        for first in range(0, 1 if numbers is None else len(numbers), size):
            some = None if numbers is None else numbers[first : first + size]
            scanner = table.scanner(columns=_columns(vectors), filter=_filter(where, modality, some), batch_size=size)
            batches = iter(self._answered(scanner.to_batches))
            while (batch := self._answered(partial(next, batches, None))) is not None:
                yield _rows(batch, vectors)

    def count(self, where: Sequence[Condition] = (), modality: Modality | None = None) -> int:
        """Return the number of rows that meet conditions and have a vector of a modality."""
        return int(self._answered(lambda: self._table("entries").count_rows(_filter(where, modality))))

    def nearest(
        self,
        modality: Modality,
        query: Vectors,
        k: int,
        where: Sequence[Condition],
        vectors: Sequence[Modality] = (),
        effort: int | None = None,
    ) -> list[tuple[float, Row]]:
        """Return the nearest rows and their products, see ``Database.nearest``."""
        request: dict[str, Any] = {"column": modality, "q": query.astype(np.float32), "k": k, "metric": METRIC}
        request |= {"use_index": False} if effort is None else {"nprobes": effort, "refine_factor": REFINED}
        table = self._answered(
            lambda: self._table("entries").to_table(
                columns=[*_columns(vectors), "_distance"], nearest=request, filter=_filter(where, modality),
                prefilter=True,
            )
        )  # fmt: skip
        scores = 1 - table["_distance"].to_numpy().astype(np.float64)  # Lance's distance is 1 - <q, v> of unit vectors
        rows = [row for batch in table.to_batches() for row in _rows(batch, vectors)]
        return sorted(zip(scores.tolist(), rows, strict=True), key=lambda pair: (-pair[0], pair[1].number))

    def approximate(self, modality: Modality) -> str:
        """Build cells of quantised vectors, see ``Database.approximate``; rows that come later are searched too."""
        table, name = self._table("entries"), f"near_{modality}"
        self._answered(lambda: table.create_index(modality, CELLS, name=name, metric=METRIC, replace=True))
        return CELLS

    def notes(self, kind: str) -> dict[str, str]:
        """Return key -> text of the notes of a kind; {} also where there is no index."""
        table = self._open("notes")
        if table is None:
            return {}
        notes = self._answered(lambda: table.to_table(columns=["key", "text"], filter=f"kind = {_quoted(kind)}"))
        return dict(zip(notes["key"].to_pylist(), notes["text"].to_pylist(), strict=True))

    def write_note(self, kind: str, key: str, text: str, *, first: bool = False) -> None:
        """Add a note, or replace it; ``first``: leave one that is there."""
        columns = {"note": [f"{kind}/{key}"], "kind": [kind], "key": [key], "text": [escaped(text)]}
        self._merge("notes", "note", columns, replace=not first)

    def drop_notes(self, kind: str, keys: Sequence[str]) -> None:
        """Delete notes."""
        if keys:
            names = ",".join(_quoted(f"{kind}/{key}") for key in keys)
            self._answered(lambda: self._table("notes").delete(f"note IN ({names})"))

    def tidy(self) -> None:
        """Write many small files anew as few, and bring the index of numbers up to date."""
        table = self._table("entries")
        if len(table.get_fragments()) < FRAGMENTS:
            return
        with suppress(OSError):  # another worker does the same, or writes on
            table.optimize.compact_files()
            table.create_scalar_index("number", "BTREE", replace=True)
            table.optimize.optimize_indices()
            table.cleanup_old_versions()

    def _make(self, name: str, schema: Any) -> None:
        import lance

        if self._open(name) is None:
            try:  # a first version, never a second: write_dataset(mode="create") may empty another worker's new table
                lance.LanceDataset.commit(
                    self._path(name),
                    lance.LanceOperation.Overwrite(schema, []),
                    max_retries=0,
                    storage_options=self._options,
                )
            except OSError as error:
                if self._open(name) is None:  # no other worker made it meanwhile
                    raise self._failed(error) from None

    def _merge(self, name: str, key: str, columns: dict[str, Any], *, replace: bool = True) -> None:
        import pyarrow as pa

        table = self._table(name)
        whole = pa.table(columns, schema=pa.schema([f.remove_metadata() for f in table.schema]))
        merge = table.merge_insert(key).when_not_matched_insert_all()
        merge = merge.when_matched_update_all() if replace else merge
        self._answered(lambda: merge.conflict_retries(RETRIES).execute(whole))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}.lance"

    def _open(self, name: str) -> Any:
        """Return a table as it is now; None where there is none."""
        import lance

        try:
            return lance.dataset(self._path(name), storage_options=self._options)
        except (ValueError, OSError) as error:
            if "not found" in str(error) and not re.search(r"Generic \w+ error", str(error)):  # of an object store
                return None
            raise self._failed(error) from None

    def _table(self, name: str) -> Any:
        table = self._open(name)
        if table is None:
            raise DataError(f"{self.address} has lost its table {name}: index again at another address.")
        return table

    def _answered(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (ValueError, OSError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> DataError:
        reason = " ".join(str(error).split())[:300]
        return DataError(f"{self.address} cannot be used ({reason}): check the address and its credentials.")


def _columns(vectors: Sequence[Modality]) -> list[str]:
    return ["number", *_TEXTS, *(f"has_{m}" for m in MODALITIES), *vectors]


def _rows(batch: Any, vectors: Sequence[Modality]) -> list[Row]:
    """Return the rows of an Arrow batch."""
    cells = [batch.column(name).to_pylist() for name in ("number", *_TEXTS, *(f"has_{m}" for m in MODALITIES))]
    values = {m: _matrix(batch.column(m)) for m in vectors}
    rows = []
    for i, (number, name, stamp, key, caption, facts, *has) in enumerate(zip(*cells, strict=True)):
        there = frozenset(m for m, h in zip(MODALITIES, has, strict=True) if h)
        entry = Entry(name, stamp, key, caption, json.loads(facts))
        rows.append(Row(number, entry, there, {m: values[m][i] for m in vectors if m in there}))
    return rows


def _matrix(lists: Any) -> Vectors:
    """Return an Arrow array of n lists of D numbers as an (n, D) array; that of a missing list is anything."""
    dim = lists.type.list_size
    values: Vectors = lists.values.to_numpy(zero_copy_only=False)
    return values[lists.offset * dim : (lists.offset + len(lists)) * dim].reshape(-1, dim)


def _filter(
    where: Sequence[Condition], modality: Modality | None = None, numbers: Sequence[int] | None = None
) -> str | None:
    """Return conditions as Lance's SQL."""
    parts = [_condition(c) for c in where]
    parts += [f"has_{modality}"] if modality else []
    parts += [] if numbers is None else [f"number IN ({','.join(map(str, numbers))})" if numbers else "false"]
    return " AND ".join(parts) or None


def _condition(c: Condition) -> str:
    """Return a condition as SQL; it means what ``where.clause`` means."""
    column = c.column in ("name", "caption")
    whole, text = (c.column, c.column) if column else (_fact(c.column, _WHOLE), _fact(c.column, _TEXT))
    wanted = c.text if column else json.dumps(c.text, ensure_ascii=False)[1:-1]
    number = None if column or c.number is None else f"CAST('{c.number!r}' AS DOUBLE)"
    if c.operator in ("=", "!="):
        same = f"{text} = {_quoted(wanted)}"
        if number is not None:
            same = f"coalesce({same}, false) OR TRY_CAST({whole} AS DOUBLE) = {number}"
        return f"coalesce({same}, false)" if c.operator == "=" else f"NOT coalesce({same}, false)"
    if c.operator == "~":
        return f"regexp_like(btrim({whole}, '\"'), {_quoted(shell_pattern(wanted))})"
    if number is not None and math.isnan(c.number or 0):
        return "false"  # Lance puts it above all numbers
    left, right = (text, _quoted(wanted)) if number is None else (f"TRY_CAST({whole} AS DOUBLE)", number)
    return f"{left} {c.operator} {right}"


def _fact(column: str, value: str) -> str:
    """Return the SQL of a fact, from the JSON that ``rows.dumped`` writes; NULL where an entry lacks it."""
    key = re.escape(json.dumps(column.replace('"', ""), ensure_ascii=False))
    return f"(regexp_match(facts, {_quoted(f'(?:^.|, ){key}: {value}')}))[1]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
