"""A search index as two collections of a Qdrant server, NAME and NAME-notes.

qdrant://HOST:PORT/NAME, or qdrants:// where the server has a certificate. QDRANT_API_KEY is sent where it is set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from diptych.core import DataError, UsageError
from diptych.core.errors import need_extra
from diptych.search_index.database import Row, number_of
from diptych.search_index.described import Vectors
from diptych.search_index.rows import MODALITIES, Entry, Modality
from diptych.search_index.where import Condition

T = TypeVar("T")
REQUEST = 2**19
"""Numbers of vectors in one request; a server takes 32 MB of JSON."""
_RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


@lru_cache(maxsize=8)
def connect(url: str) -> Any:
    """Return the client of a server."""
    from qdrant_client import QdrantClient

    return QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=60, check_compatibility=False)


class QdrantDatabase:
    """The collections of an address.

    Args:
        address: see the module.

    Raises:
        MissingExtra: qdrant-client is not installed.
        UsageError: the address has no collection.
        DataError: the server does not answer.
    """

    def __init__(self, address: str) -> None:
        need_extra("qdrant", "An index in Qdrant")
        self.address, parts = address, urlsplit(address)
        name = parts.path.strip("/")
        if not name or "/" in name:
            raise UsageError(f"An index in Qdrant is qdrant://HOST:PORT/NAME, not {address}.")
        self.collections = {"entries": name, "notes": f"{name}-notes"}
        secure = "https" if parts.scheme == "qdrants" else "http"
        self._client = self._answered(lambda: connect(f"{secure}://{parts.netloc}"))

    def create(self, dim: int) -> None:
        """Make the collections for vectors of width D where they are absent."""
        from qdrant_client import models

        vectors = {m: models.VectorParams(size=dim, distance=models.Distance.DOT) for m in MODALITIES}
        for kind, config in (("notes", {}), ("entries", vectors)):
            name = self.collections[kind]
            try:
                if not self._there(kind):
                    self._client.create_collection(name, vectors_config=config)
            except Exception as error:
                if not self._there(kind):  # no other worker made it meanwhile
                    raise self._failed(error) from None

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows, or replace those with the same numbers."""
        from qdrant_client import models

        points = [
            models.PointStruct(
                id=row.number,
                vector={m: v.tolist() for m, v in row.vectors.items()},
                payload={
                    "name": row.entry.name, "stamp": row.entry.stamp, "key": row.entry.key,
                    "caption": row.entry.caption, "facts": dict(row.entry.facts), "has": sorted(row.has),
                },
            )
            for row in rows
        ]  # fmt: skip
        size = max(1, REQUEST // max((v.size for row in rows for v in row.vectors.values()), default=1))
        for first in range(0, len(points), size):
            some = points[first : first + size]
            self._request("upsert", "entries", points=some, wait=True)

    def drop(self, numbers: Sequence[int]) -> None:
        """Delete rows by their numbers."""
        if numbers:
            self._request("delete", "entries", points_selector=list(numbers), wait=True)

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
        start: Any = None
        while numbers is None:
            points, start = self._request(
                "scroll", "entries", scroll_filter=_filter(where, modality), limit=size, offset=start,
                with_payload=True, with_vectors=list(vectors) or False,
            )  # fmt: skip
            yield [_row(point) for point in points]
            if start is None:
                return
        for first in range(0, len(numbers), size):
            some = list(numbers[first : first + size])
            if where or modality is not None:
                from qdrant_client import models

                points, _ = self._request(
                    "scroll", "entries", scroll_filter=_filter(where, modality, models.HasIdCondition(has_id=some)),
                    limit=size, with_payload=True, with_vectors=list(vectors) or False,
                )  # fmt: skip
            else:
                points = self._request("retrieve", "entries", ids=some, with_vectors=list(vectors) or False)
            yield [_row(point) for point in points]

    def count(self, where: Sequence[Condition] = (), modality: Modality | None = None) -> int:
        """Return the number of rows that meet conditions and have a vector of a modality."""
        return int(self._request("count", "entries", count_filter=_filter(where, modality), exact=True).count)

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
        from qdrant_client import models

        points = self._request(
            "query_points", "entries", query=query.tolist(), using=modality, limit=k, with_payload=True,
            query_filter=_filter(where, modality), with_vectors=list(vectors) or False,
            search_params=models.SearchParams(exact=effort is None, hnsw_ef=effort),
        ).points  # fmt: skip
        return sorted(((p.score, _row(p)) for p in points), key=lambda pair: (-pair[0], pair[1].number))

    def approximate(self, modality: Modality) -> str:
        """Return the kind of the graph that the server keeps by itself, see ``Database.approximate``."""
        return "HNSW"

    def notes(self, kind: str) -> dict[str, str]:
        """Return key -> text of the notes of a kind; {} also where there is no index."""
        from qdrant_client import models

        if not self._there("notes"):
            return {}
        of_kind = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=kind))])
        notes, start = dict[str, str](), None
        while True:
            points, start = self._request("scroll", "notes", scroll_filter=of_kind, limit=1000, offset=start)
            notes |= {p.payload["key"]: p.payload["text"] for p in points}
            if start is None:
                return notes

    def write_note(self, kind: str, key: str, text: str, *, first: bool = False) -> None:
        """Add a note, or replace it; ``first``: leave one that is there."""
        from qdrant_client import models

        if first and key in self.notes(kind):
            return
        payload = {"kind": kind, "key": key, "text": text}
        point = models.PointStruct(id=number_of(f"{kind}/{key}"), vector={}, payload=payload)
        self._request("upsert", "notes", points=[point], wait=True)

    def drop_notes(self, kind: str, keys: Sequence[str]) -> None:
        """Delete notes."""
        if keys:
            numbers = [number_of(f"{kind}/{key}") for key in keys]
            self._request("delete", "notes", points_selector=numbers, wait=True)

    def tidy(self) -> None:
        """Do nothing: the server does it."""

    def _there(self, kind: str) -> bool:
        return bool(self._answered(lambda: self._client.collection_exists(self.collections[kind])))

    def _request(self, call: str, kind: str, **given: Any) -> Any:
        return self._answered(lambda: getattr(self._client, call)(self.collections[kind], **given))

    def _answered(self, ask: Callable[[], T]) -> T:
        from qdrant_client.http.exceptions import ApiException

        try:
            return ask()
        except (ApiException, ValueError, OSError) as error:  # its local mode raises ValueError
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> DataError:
        reason = " ".join(str(error).split())[:300]
        return DataError(f"{self.address} cannot be used ({reason}): check the address and whether the server runs.")


def _row(point: Any) -> Row:
    facts = point.payload
    entry = Entry(facts["name"], facts["stamp"], facts["key"], facts["caption"], facts["facts"])
    vectors = {m: np.asarray(v, dtype=np.float32) for m, v in (point.vector or {}).items()}
    return Row(int(point.id), entry, frozenset(facts["has"]), vectors)


def _filter(where: Sequence[Condition], modality: Modality | None, *more: Any) -> Any:
    """Return conditions as Qdrant's filter."""
    from qdrant_client import models

    has = [models.FieldCondition(key="has", match=models.MatchValue(value=modality))] if modality else []
    return models.Filter(
        must=[*more, *has, *(_condition(c) for c in where if c.operator != "!=")],
        must_not=[_condition(c) for c in where if c.operator == "!="],
    )


def _condition(c: Condition) -> Any:
    """Return a condition as Qdrant's, "!=" as the one that must not be met."""
    from qdrant_client import models

    column = c.column in ("name", "caption")
    key = c.column if column else 'facts."' + c.column.replace('"', "") + '"'
    number = None if column else c.number
    if c.operator in ("=", "!="):
        same: list[Any] = [models.FieldCondition(key=key, match=models.MatchValue(value=c.text))]
        if number is not None:
            same.append(models.FieldCondition(key=key, range=models.Range(gte=number, lte=number)))
        return models.Filter(should=same)
    if c.operator == "~" or number is None:
        raise UsageError(
            f"Qdrant compares metadata with = and !=, and numbers with < and >, not {c.column}{c.operator}{c.text}: "
            f"leave this {{where}} out, or index into a folder or Lance."
        )
    return models.FieldCondition(key=key, range=models.Range(**{_RANGES[c.operator]: number}))
