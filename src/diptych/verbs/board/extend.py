"""``board extend``: every extender on labelled clips, point clouds or light curves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.ranges import at_least
from diptych.verbs import kinds
from diptych.verbs.board.board import DATA, NAMES, OFFERS, SystemsBoard, classes_of, fitted_folders
from diptych.verbs.declare import argument

if TYPE_CHECKING:
    from diptych.evaluation.boards.extend import ExtendBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike


@dataclass(frozen=True, kw_only=True)
class BoardExtend(SystemsBoard):
    """Fit every extender on labelled clips and classify the held-out ones; gains are over the mean of the frames."""

    name: ClassVar[str] = "board extend"
    examples: ClassVar[tuple[str, ...]] = (
        "board extend clips/ --frames 4",
        "board extend clips/ --fitted clip-model/",
    )
    systems_of: ClassVar[str] = "extend"
    out: ClassVar[str] = "out/board-extend"
    run_options: ClassVar[Mapping[str, Any]] = {"engine": "torch"}
    offers: ClassVar[tuple[str, ...]] = tuple(name for name in OFFERS if name != "engine")

    clips: str | PathLike[str] = argument(
        "A folder with train and test (or val): CLASS/CLIP. Or point clouds, or light curves with classes.", DATA,
        positional=True,
    )  # fmt: skip
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    template: str = argument("One prompt with {}.", default="a photo of a {}.")
    frames: int = argument("Frames sampled from each clip.", default=8, range=at_least(1))
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> ExtendBench:
        """Open the samples, then the backbone."""
        from diptych.data.format import Request
        from diptych.data.modalities import CLIPS, modality_of
        from diptych.evaluation.boards.extend import ExtendBench
        from diptych.tasks.extenders import classes_of as of_table

        clips = str(os.fspath(self.clips))
        kind = modality_of(clips) or CLIPS
        data = kind.open([clips], Request(keys=context.keys, frames=self.frames))
        if not kind.named and self.names:
            raise UsageError("Classes of light curves are those of their table: leave out {names}.")
        classes, remarks = (
            classes_of(self.names, data.classes, [self.template]) if kind.named else (of_table(data, kind), [])
        )
        notes += remarks
        return ExtendBench.open(data, classes, load(), context.run(), self.draws, self.frames, kind)
