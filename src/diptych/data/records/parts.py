"""One modality of records as samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from diptych.core import Samples, UsageError
from diptych.data.records.records import Records


@dataclass(frozen=True)
class RecordPart:
    """The pictures, or the texts, of the records that have one, as samples.

    Args:
        records: N records.
        what: "image" or "text".
    """

    records: Samples[Any]
    what: str
    rows: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        r = self.records
        if not isinstance(r, Records):
            raise UsageError(
                f"Linkage takes records, not {type(r).__name__}: open them with diptych.data.load.open_records."
            )
        values = r.places if self.what == "image" else r.texts
        object.__setattr__(self, "rows", tuple(i for i, v in enumerate(values) if v is not None))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Any:
        record = self.rows[index]
        assert isinstance(self.records, Records)
        return (
            self.records.images[self.records.places[record] or 0]
            if self.what == "image"
            else self.records.texts[record]
        )

    def key(self, index: int, /) -> str:
        """Return the content key of the picture or text."""
        record = self.rows[index]
        assert isinstance(self.records, Records)
        if self.what == "image":
            return self.records.images.key(self.records.places[record] or 0)
        return hashlib.sha256((self.records.texts[record] or "").encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the name of the record for users."""
        return self.records.name(self.rows[index])
