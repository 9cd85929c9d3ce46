"""``board segment``: every segmenter on photos with label maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import at_least, between
from diptych.verbs import kinds
from diptych.verbs.arguments import NAMES, TEMPLATES, argument
from diptych.verbs.board.board import DATA, OFFERS, SystemsBoard, classes_of, fitted_folders, the_same
from diptych.verbs.segment import MAPS, Segment

if TYPE_CHECKING:
    from diptych.evaluation.boards.segment import MaskBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike, TemplatesLike

MUCH = 0.05
"""Share of void pixels from which it is said (ours)."""


@dataclass(frozen=True, kw_only=True)
class BoardSegment(SystemsBoard):
    """Run every segmenter on the test split, or else val: mIoU of the whole set, and the gain over the one that trains
    nothing.
    """

    name: ClassVar[str] = "board segment"
    examples: ClassVar[tuple[str, ...]] = (
        'board segment fields/ --names "cow, grass, sky, tree"',
        "board segment fields/ --fitted fc-clip/ --fitted maft/",
    )
    systems_of: ClassVar[str] = "segment"
    every: ClassVar[bool] = True
    out: ClassVar[str] = "out/board-segment"
    run_options: ClassVar[Mapping[str, Any]] = {"backbone": MAPS, "engine": "torch", "batch": 1, "workers": 1}
    offers: ClassVar[tuple[str, ...]] = tuple(n for n in OFFERS if n not in ("engine", "batch", "workers"))

    data: str | PathLike[str] = argument(
        "A folder with labels.csv (path, mask) and classes.csv or in ADE20K's layout, its name in DIPTYCH_DATA, "
        "mosaic:NAME or paste:NAME.", DATA, positional=True,
    )  # fmt: skip
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    templates: TemplatesLike = argument(TEMPLATES, kinds.TEMPLATES, None)
    unlabelled: Any = argument(
        "Photos for systems that learn from some (default: imagenet1k_sample).", kinds.PHOTOS, None
    )
    teacher: str = the_same(Segment, "teacher", MAPS)
    proposer: str = the_same(Segment, "proposer", "auto")
    masks: Any = the_same(Segment, "masks", None)
    background: str | Sequence[str] = argument('Words for the class "background": "sky, wall".', kinds.WORDS, ())
    threshold: float | None = argument(
        "Pixels below this probability are background.", default=None, range=between(0, 1)
    )
    void: str | Sequence[int] = argument('Mask values to ignore, besides those marked: "0, 255".', kinds.NUMBERS, ())
    items: int | None = argument(
        "Measure this many photos, the same ones for every system (default: all).", default=None, range=at_least(1)
    )
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> MaskBench:
        """Open the photos with their label maps, then the backbone."""
        from diptych.data.words.classnames import void_names, with_words
        from diptych.evaluation.boards.segment import MaskBench
        from diptych.evaluation.datasets import open_set
        from diptych.verbs.photos import open_samples

        labelled = open_set(str(os.fspath(self.data)), "masks", context.keys, void=kinds.numbers(self.void))
        names, remarks = classes_of(self.names, labelled.classes, self.templates)
        notes += remarks
        if void := void_names(labelled.classes):
            notes.append(f"{void[0]!r} counts as a class like the others: give its value to {{void}} if it is none.")
        photos = None if self.unlabelled is None else open_samples(self.unlabelled, context.keys)
        backbone = load()
        bench = MaskBench(
            labelled, backbone, context.run(), self.draws, with_words(names), photos, self.teacher,
            kinds.words(self.background), self.threshold, self.proposer, self.masks, self.items,
        )  # fmt: skip
        if (void_share := bench.void_share()) >= MUCH:
            notes.append(f"{100 * void_share:.2g} % of the pixels are void: they have no class, and do not count.")
        return bench
