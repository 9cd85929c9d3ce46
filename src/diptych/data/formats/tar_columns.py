"""What a training reads of a tar's item beside its picture: captions with weights, and vectors of teachers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from diptych.core import DataError, UnreadableItem
from diptych.data.formats.taught import NAMES, OF_IMAGE, OF_TEXTS, arrays, vectors
from diptych.data.formats.weighted import KINDS, WEIGHTS, Weighted, weighted
from diptych.data.rows import columns_of

VECTORS = "npz"
"""Ending of the member with teachers' vectors, as in DataCompDR."""


class Members(Protocol):
    """An item of a tar, such as ``tars.TarItem``."""

    @property
    def name(self) -> str:
        """Name for users."""

    @property
    def members(self) -> Mapping[str, bytes]:
        """Ending -> content."""

    def text(self, ending: str = "txt") -> str:
        """Return the text of a member; raises UnreadableItem."""

    def record(self, ending: str = "json") -> Any:
        """Return the value of a JSON member; raises UnreadableItem."""


class TarColumns(Mapping[str, Any]):
    """The columns of an item, each read when it is asked for, so that a training unpacks what it uses.

    - "captions": the .txt member, or the fields that are named: of JSON members (.json, .syn.json), or "txt".
    - "synthetic": the first field of JSON members with a usual name, such as "syn_text", a text or a list.
    - "teacher_image" and "teacher_text": arrays of the .npz member.
    - "captions_weights", "synthetic_weights": from ``shares``, or from fields such as "caption_weights".

    Args:
        item: of a tar.
        fields: names of fields with captions, or patterns; (): the .txt member.
        shares: weight of each field; (): there are none.
    """

    def __init__(self, item: Members, fields: Sequence[str] = (), shares: Sequence[float] = ()) -> None:
        self._item, self._fields, self._shares = item, fields, shares

    @cached_property
    def _records(self) -> dict[str, Any]:
        """Return the fields of all JSON members; of one name the first."""
        merged: dict[str, Any] = {}
        for ending in sorted(e for e in self._item.members if e.rpartition(".")[2] == "json"):
            record = self._item.record(ending)
            if isinstance(record, dict):
                merged = record | merged
        return merged

    def lacking(self) -> tuple[str, ...]:
        """Return the named fields that the item has not; raises UnreadableItem."""
        return tuple(f for f in self._fields if not self._matching(f) and f not in self._item.members)

    def _matching(self, name: str) -> Sequence[str]:
        return [name] if name in self._records else columns_of(self._records, (), name)

    @cached_property
    def _captions(self) -> Weighted:
        if not self._fields:
            return self._weighted([self._item.text()], "captions", ())
        cells: list[Any] = []
        for name in self._fields:
            matching = self._matching(name)
            if not matching and name in self._item.members:
                cells.append(self._item.text(name))
            else:
                values = [self._records[m] for m in matching]
                cells.append(values[0] if len(values) == 1 else values)
        texts, weights = self._weighted(cells, "captions", self._shares)
        if not texts:
            raise UnreadableItem(self._item.name, f"has no caption in {', '.join(self._fields)}")
        return texts, weights

    @cached_property
    def _synthetic(self) -> Weighted:
        names = columns_of(self._records, KINDS["synthetic"][0])
        return self._weighted([self._records[name] for name in names], "synthetic", ())

    def _weighted(self, cells: Sequence[Any], name: str, shares: Sequence[float]) -> Weighted:
        columns = () if shares else columns_of(self._records, KINDS[name][1])
        try:
            return weighted(cells, self._records[columns[0]] if columns else None, shares, self._item.name)
        except DataError as error:
            raise UnreadableItem(self._item.name, str(error)) from None

    @cached_property
    def _vectors(self) -> dict[str, Any]:
        content = arrays(self._item.members[VECTORS], f"{self._item.name}.{VECTORS}")
        count = len(self._captions[0]) + len(self._synthetic[0])
        try:
            pair = vectors(content[OF_IMAGE], content[OF_TEXTS], count, self._item.name)
        except DataError as error:
            raise UnreadableItem(self._item.name, str(error)) from None
        return dict(zip(NAMES, pair, strict=True))

    def __getitem__(self, name: str) -> Any:
        if name in NAMES and VECTORS in self._item.members:
            return self._vectors[name]
        kind = name.removesuffix(WEIGHTS)
        if kind not in KINDS:
            raise KeyError(name)
        texts, weights = self._captions if kind == "captions" else self._synthetic
        if not texts or (name != kind and weights is None):
            raise KeyError(name)
        return texts if name == kind else weights

    def __bool__(self) -> bool:
        return True  # without reading

    def __contains__(self, name: object) -> bool:
        return VECTORS in self._item.members if name in NAMES else super().__contains__(name)  # without unpacking

    def __iter__(self) -> Iterator[str]:
        every = (*(n + end for n in KINDS for end in ("", WEIGHTS)), *NAMES)
        return (name for name in every if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
