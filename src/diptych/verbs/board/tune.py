"""``board finetune`` and ``board pretrain``: every training from the same start, measured on held-out rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import at_least
from diptych.verbs import kinds
from diptych.verbs.arguments import argument
from diptych.verbs.board.board import DATA, OFFERS, SystemsBoard
from diptych.verbs.train.fitting import Fitting, PartNames

if TYPE_CHECKING:
    from diptych.evaluation.boards.tune import TuneBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context
    from diptych.verbs.names import TemplatesLike


@dataclass(frozen=True, kw_only=True)
class Tunes(Fitting, SystemsBoard):
    """A board of trainings."""

    name: ClassVar[str] = "board"
    run_options: ClassVar[Mapping[str, Any]] = {"engine": "torch"}
    offers: ClassVar[tuple[str, ...]] = tuple(name for name in OFFERS if name != "engine")

    parts: str = argument(
        "Parts to train: all, heads (on frozen towers: minutes on a CPU), image, text.", default="heads"
    )
    epochs: int = argument("Passes over the training rows.", default=10, range=at_least(1))

    def trained(
        self, data: str | PathLike[str], context: Context, load: Loader, *, steps: int | None = None,
        seconds: float | None = None, base: str = "before", regions: Path | None = None,
        kit: Callable[[str], Mapping[str, Any]] = lambda device: {},
        templates: Sequence[str] | None = None,
    ) -> TuneBench:  # fmt: skip
        """Open the rows, then the backbone.

        Args:
            data: to be trained and measured on.
            context: where the board runs.
            load: returns the backbone.
            steps: of each training, in place of epochs.
            seconds: of each training, in place of epochs.
            base: what gains are measured against: "before", or an objective trained for the same length.
            regions: a table with one region per row.
            kit: loads other parts of systems on a device.
            templates: prompts of class names; None: one.
        """
        from diptych.core import ClassNames
        from diptych.data.formats.region_table import with_regions
        from diptych.data.words.templates import SINGLE
        from diptych.evaluation.boards.choice import arms_of, in_lengths
        from diptych.evaluation.boards.tune import BEFORE, TuneBench, equal_lengths
        from diptych.evaluation.datasets import SCENES, open_set
        from diptych.tasks.training.fits import fit_of

        rows = open_set(os.fspath(data), "captions or classes", context.keys, text=self.captions)
        rows = rows if regions is None else with_regions(rows, regions)
        others = [open_set(name, "any", context.keys) for name in self.also]
        plain = fit_of(self.rate(), self.train_batch, self.epochs, self.decay, save_every=None)
        fit, lengths = equal_lengths(plain, steps, seconds)
        arms = [] if base == BEFORE.system else in_lengths(arms_of("pretrain", [base]), lengths)
        backbone, run = load(), context.run()
        return TuneBench(
            rows,
            backbone,
            fit,
            run,
            self.draws,
            parts=self.parts,
            templates=templates or SINGLE,
            elsewhere=others,
            named={o.name: ClassNames(o.classes, ("{}",)) for o in others if o.name.rpartition(":")[0] in SCENES},
            kit=kit(run.device),
            lengths=lengths,
            always=(*arms, BEFORE),
        )


@dataclass(frozen=True, kw_only=True)
class BoardFinetune(Tunes):
    """Fine-tune by every system from the same start, and measure the held-out rows; gains over the backbone before."""

    name: ClassVar[str] = "board finetune"
    examples: ClassVar[tuple[str, ...]] = (
        "board finetune birds/ --eval-data cars/",
        "board finetune birds/ --methods full,wise-ft --parts all",
    )
    systems_of: ClassVar[str] = "finetune"
    out: ClassVar[str] = "out/board-finetune"

    data: str | PathLike[str] = argument(
        "Class folders with train and test, or a table with labels or captions.", DATA, positional=True
    )
    templates: TemplatesLike = argument(
        "A file of prompts, or one prompt with {}; repeat for several (default: one prompt).", kinds.TEMPLATES, None
    )

    def bench(self, context: Context, load: Loader, notes: list[str]) -> TuneBench:
        """Open the rows, then the backbone."""
        from diptych.data.words.templates import SINGLE
        from diptych.verbs.names import templates_of

        return self.trained(self.data, context, load, templates=templates_of(self.templates, SINGLE))


@dataclass(frozen=True, kw_only=True)
class BoardPretrain(PartNames, Tunes):
    """Train by every objective from the same start on captioned photos, and measure the held-out ones: retrieval, other
    sets by class names, regions and a dense probe where there are boxes.
    """

    name: ClassVar[str] = "board pretrain"
    examples: ClassVar[tuple[str, ...]] = (
        "board pretrain pairs.csv --steps 2000",
        "board pretrain pairs.csv --methods clip-loss,cloob --budget 3600",
    )
    systems_of: ClassVar[str] = "pretrain"
    out: ClassVar[str] = "out/board-pretrain"

    table: str | PathLike[str] = argument(
        "A table of photos with captions, or painted scenes: scenes, scenes:small.", DATA, positional=True
    )
    train_batch: int = argument("Batch size: rows in one step.", default=128, range=at_least(2))
    decay: float = argument("Weight decay.", default=0.2, flag="--weight-decay", range=at_least(0))
    steps: int | None = argument(
        "Train every objective for this many steps, instead of epochs.", default=None, range=at_least(1)
    )
    seconds: float | None = argument(
        "Train every objective for this many seconds (CPU time on a CPU); with steps too, each is trained both ways.",
        default=None,
    )
    base: str = argument(
        'Baseline of the gains: "before", or an objective trained for the same length.', default="before"
    )

    def bench(self, context: Context, load: Loader, notes: list[str]) -> TuneBench:
        """Open the rows, then the backbone and the parts that are named."""
        from functools import partial

        from diptych.tasks.training.named_parts import named_parts

        parts = partial(named_parts, **self.named())
        return self.trained(
            self.table, context, load, steps=self.steps, seconds=self.seconds, base=self.base,
            regions=None if self.regions is None else Path(self.regions), kit=parts,
        )  # fmt: skip
