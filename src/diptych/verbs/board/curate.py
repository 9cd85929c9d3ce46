"""``board curate``: every curator on captioned photos, some of whose captions are swapped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diptych.verbs import kinds
from diptych.verbs.board.board import DATA, SystemsBoard, the_same
from diptych.verbs.curate.plan import CuratePlan
from diptych.verbs.declare import argument

if TYPE_CHECKING:
    from diptych.evaluation.boards.curate import CurateBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class BoardCurate(SystemsBoard):
    """Run every curator on captioned photos, some with swapped captions; gains are over a random choice of as many
    pairs.
    """

    name: ClassVar[str] = "board curate"
    examples: ClassVar[tuple[str, ...]] = (
        "board curate photos/captions.csv",
        "board curate photos/captions.csv --wrong 0.5 --keep 0.3",
    )
    systems_of: ClassVar[str] = "curate"
    out: ClassVar[str] = "out/board-curate"

    data: str | PathLike[str] = argument("A table of photos with captions.", DATA, positional=True)
    captions: str = argument("Its columns of captions.", default="caption*")
    wrong: float = argument("Share of the pairs whose captions are swapped.", default=0.3)
    keep: float = argument("Share of the pairs that is kept.", default=0.5)
    metadata: str | Path = the_same(CuratePlan, "metadata", "wordnet")
    head: str | Path | None = argument(
        "A head that 'curate head' wrote, by whose scores pairs are kept.", kinds.FILE, None
    )

    def bench(self, context: Context, load: Loader, notes: list[str]) -> CurateBench:
        """Open the pairs, then the backbone."""
        from diptych.evaluation.boards.caption_pool import caption_pool
        from diptych.evaluation.boards.curate import CurateBench

        pool = caption_pool(os.fspath(self.data), self.captions, self.wrong, self.keep, context.keys)
        return CurateBench(pool, load(), context.run(), self.draws, str(self.metadata), head=str(self.head or ""))
