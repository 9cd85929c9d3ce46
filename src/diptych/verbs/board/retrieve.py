"""``board retrieve``: every retriever that trains no tower on records of entities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.verbs.board.board import DATA, SystemsBoard, fitted_folders
from diptych.verbs.declare import argument

if TYPE_CHECKING:
    from diptych.evaluation.arms import Arm
    from diptych.evaluation.boards.retrieve import RecordBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class BoardRetrieve(SystemsBoard):
    """Run every retriever that trains no tower: a third of the entities are queries, the records of the others train
    it, in turn.
    """

    name: ClassVar[str] = "board retrieve"
    examples: ClassVar[tuple[str, ...]] = (
        "board retrieve records.csv --entity product",
        "board retrieve grocery_packages --methods clippings --seeds 1",
    )
    systems_of: ClassVar[str] = "retrieve"
    every: ClassVar[bool] = True
    out: ClassVar[str] = "out/board-retrieve"

    data: str | PathLike[str] = argument(
        "A table of records with a column that says what each is of, or grocery_packages.", DATA, positional=True
    )
    entity: str = argument("Column that says what a record shows: records with the same value match.", default="entity")
    image: str | None = argument("Column with the picture's path.", default=None)
    text: str | None = argument("Column with the text.", default=None, flag="--text-column")
    fitted: Any = fitted_folders()

    def without(self) -> Sequence[Arm]:
        """Return the retrievers that train a tower."""
        from diptych.evaluation.boards.retrieve import SLOW

        return SLOW

    def bench(self, context: Context, load: Loader, notes: list[str]) -> RecordBench:
        """Open the records, then the backbone."""
        from diptych.evaluation.boards.retrieve import RecordBench
        from diptych.evaluation.datasets import open_linkage

        columns = {"image": self.image or "", "text": self.text or ""}
        records = open_linkage(os.fspath(self.data), self.entity, context.keys, **columns)
        return RecordBench(records, load(), context.run(), self.draws)
