"""``board detect``: every detector on normal and anomalous photos."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import between
from diptych.verbs.board.board import DATA, SystemsBoard, fitted_folders, the_same
from diptych.verbs.declare import argument
from diptych.verbs.detect import Detect

if TYPE_CHECKING:
    from diptych.evaluation.boards.detect import AnomalyBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class BoardDetect(SystemsBoard):
    """Run every detector on normal and anomalous photos; a third of the normal train photos sets the threshold."""

    name: ClassVar[str] = "board detect"
    examples: ClassVar[tuple[str, ...]] = (
        "board detect bottle/ --false-alarm-rate 0.05",
        "board detect bottle/ --methods patch-memory,winclip-style --seeds 1",
    )
    systems_of: ClassVar[str] = "detect"
    every: ClassVar[bool] = True
    out: ClassVar[str] = "out/board-detect"

    data: str | PathLike[str] = argument(
        "A folder of MVTec's layout: train/good, test/good, test/KIND ...", DATA, positional=True
    )
    thing: str | None = the_same(Detect, "thing", None)
    auxiliary: str | PathLike[str] | None = the_same(Detect, "auxiliary", None)
    rate: float = argument(
        "Share of normal photos that a threshold may flag.",
        default=0.1,
        flag="--false-alarm-rate",
        range=between(0, 1, "()"),
    )
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> AnomalyBench:
        """Open the photos, then the backbone."""
        from diptych.evaluation.boards.detect import AnomalyBench
        from diptych.evaluation.datasets import open_set, thing_of

        photos = open_set(os.fspath(self.data), "anomalies", context.keys)
        known = None if self.auxiliary is None else open_set(os.fspath(self.auxiliary), "anomalies", context.keys)
        thing, backbone = self.thing or thing_of(photos.name), load()
        return AnomalyBench.open(
            photos, backbone, context.run(), self.draws, thing=thing, rate=self.rate,
            auxiliary=None if known is None else known.split("test"),
        )  # fmt: skip
