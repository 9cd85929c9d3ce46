"""``audit edits``: which edit of a picture does what was asked and keeps the rest?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import at_least
from diptych.core.wording import short_names
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, settings
from diptych.verbs.audit.findings import Audit, Audited

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import Table
    from diptych.tasks.audit.edits import RankedEdit, RankedEdits
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class AuditEdits(Audit):
    """Rank the edits of each picture: the requested change must show, and the rest must stay the same."""

    name: ClassVar[str] = "audit edits"
    examples: ClassVar[tuple[str, ...]] = (
        "audit edits edits.csv",
        "audit edits edits.csv --backbone tiny --out edits.json",
    )
    item: ClassVar[str] = "RankedEdit"
    role: ClassVar[str] = "diptych.core.audit:PairScorer"

    table: str | Path | Table[Any] = argument(
        "A table: source, edit, target, and source_attributes, target_attributes with | between.",
        kinds.TABLE, positional=True,
    )  # fmt: skip
    margin: float | None = argument(
        "How far beyond the plane the ideal edit is; 0: on it (default: the target's).", default=None, range=at_least(0)
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def defaults(self) -> Mapping[str, Any]:
        """Return the margin."""
        return {"margin": self.margin}

    def run(self, context: Context) -> Edits:
        """Rank the edits."""
        from diptych.data.edits import read_edits
        from diptych.tasks.audit.edits import audit_edits

        table: Any = self.table
        edits = read_edits(table, context.keys) if isinstance(table, (str, os.PathLike)) else table
        self.free(context)
        return Edits(self, audit_edits(edits, context.model(), context.run(), method=self.system()), edits)


class Edits(Audited):
    """Edits, those of one source and target together, the best first."""

    rows_key = "edits"
    done = "ranked"

    def __init__(self, verb: AuditEdits, result: RankedEdits, edits: Table[Any]) -> None:
        super().__init__(verb, result.rows, result.failed)
        self.edits = edits.items

    def name(self, item: RankedEdit) -> str:
        """Return the path of the edited picture."""
        return item.edit

    def line(self, item: RankedEdit) -> str:
        """Return the rank, the scores and the target."""
        return f"{item.rank}  {item.score:.3f}  {item.target}"

    def label(self, item: RankedEdit) -> str:
        """Return the rank."""
        return str(item.rank)

    def columns(self, items: Sequence[RankedEdit]) -> dict[str, list[Any]]:
        """Return sources, targets, ranks and scores."""
        plain = {name: [getattr(row, name) for row in items] for name in ("source", "target", "rank", "score")}
        return plain | {name: [row.columns[name] for row in items] for name in (items[0].columns if items else ())}

    def picture(self, item: RankedEdit) -> Image.Image | None:
        """Return the edited picture."""
        at = next((i for i in range(len(self.edits)) if self.edits.name(i) == item.edit), None)
        return None if at is None else self.edits[at]

    def tables(self) -> list[str]:
        """Return a line for each source and target, and its edits below."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        names = short_names([name for row in self.items for name in (row.source, row.edit)])
        for row, source, edit in zip(self.items, names[::2], names[1::2], strict=True):
            if row.rank == 1:
                yield f"{source}: {row.target}"
            cosine, same = row.columns["cosine"], row.columns["source_similarity"]
            yield f"  {row.rank}  {row.score:.3f}  {edit}  (cosine to text {cosine:.2f}, to source {same:.2f})"
