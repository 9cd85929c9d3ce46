"""``board caption``: every captioner on photos with human captions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.verbs import kinds
from diptych.verbs.board.board import DATA, SystemsBoard, fitted_folders
from diptych.verbs.declare import argument

if TYPE_CHECKING:
    from diptych.core import Backbone
    from diptych.evaluation.boards.caption import CaptionBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class BoardCaption(SystemsBoard):
    """Caption the test (or val) photos by every captioner; gains over the nearest sentence."""

    name: ClassVar[str] = "board caption"
    examples: ClassVar[tuple[str, ...]] = (
        "board caption photos/captions.csv",
        "board caption photos/captions.csv --methods maccap --seeds 1",
    )
    systems_of: ClassVar[str] = "caption"
    out: ClassVar[str] = "out/board-caption"

    table: str | PathLike[str] = argument("A table of photos with human captions.", DATA, positional=True)
    references: str = argument("Its columns of captions.", default="caption*")
    texts: Any = argument("Sentences to learn from (default: the captions of the train split).", kinds.SENTENCES, None)
    judge: str | Backbone | None = argument(
        "Another backbone, which gives CLIPScore.", kinds.Kind(str | None), None, panel="Model"
    )
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> CaptionBench:
        """Open the photos, then the backbone."""
        from diptych.evaluation.boards.caption import CaptionBench, captioned_photos
        from diptych.verbs.names import texts_of

        data = captioned_photos(
            os.fspath(self.table), self.references, texts_of(self.texts, sentences=True), context.keys
        )
        backbone, judge = load(), context.model(self.judge) if self.judge else None
        return CaptionBench(data, backbone, context.run(), self.draws, judge)
