"""Fine-tunings or pretrainings on one data set: what the held-out rows say after each, beside the backbone as it
was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table, Texts
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Objective, Recipe
from diptych.data.classnames import tidy
from diptych.data.labelled import LabelledData
from diptych.evaluation.arms import MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.features.embed import embed
from diptych.features.frozen import Headed, on_trunks
from diptych.features.heads import text_head
from diptych.metrics.retrieval import first_ranks
from diptych.tasks.training import decoder_for, learns, need_towers, paired
from diptych.tasks.training_data import by_labels, check_captions, measured_split, only_readable, with_splits
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit

BEFORE = Arm("before")
"""The backbone that every training starts from."""


class TuneBench:
    """One data set with labels or captions, and others on which forgetting shows; ``failed`` are photos of both that
    cannot be read.

    Args:
        data: its train split is trained on; test, or else val, is measured.
        backbone: where every training starts.
        fit: settings of all trainings.
        run: device and cache.
        seeds: of orders and new weights.
        parts: what may learn; see ``tasks.training.learns``.
        templates: prompts of labelled classes.
        elsewhere: labelled data of other tasks.
        kit: other parts, such as a writer.

    Raises:
        UsageError: an unknown part, or a caption that is too long.
        DataError: there is nothing to measure on, no photo of a split can be read, or a row has no caption.
    """

    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (BEFORE,)

    def __init__(
        self,
        data: LabelledData,
        backbone: Backbone,
        fit: Fit,
        run: Run,
        seeds: tuple[int, ...],
        *,
        parts: str = "heads",
        templates: Sequence[str] = ("a photo of a {}.",),
        elsewhere: Sequence[LabelledData] = (),
        kit: Mapping[str, Any] | None = None,
    ) -> None:
        self.backbone, self.fit, self.run, self.seeds, self.parts, self.kit = (
            backbone,
            fit,
            run,
            seeds,
            parts,
            dict(kit or {}),
        )
        self.templates, self.learns = tuple(templates), learns(backbone, parts)
        self.space: Backbone = Headed(backbone) if parts == "heads" else backbone
        data, _ = with_splits(data, run.seed)
        split = measured_split(data)
        if split == "train":
            raise DataError(f"{data.name} has no test and no val rows to measure on: add one of them.")
        check_captions(data, ("train", split), backbone.text.inputs)
        self.data, self.failed = only_readable(data, ("train", split), self.space, run)
        self.held, self.names = self._read(self.data.split(split)), self._names(data)
        self.others: dict[str, tuple[Table[Any], ClassNames | None]] = {}
        for other in map(by_labels, elsewhere):
            good, broken = only_readable(other, [measured_split(other)], self.space, run)
            self.others[other.name] = self._read(good.split(measured_split(good))), self._names(other)
            self.failed += broken

    @property
    def metric(self) -> str:
        """Top-1 where there are labels; with captions the recall at 1, mean of both directions."""
        return "recall_at_1" if "captions" in self.held.columns else "acc1"

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes and settings."""
        sizes = {"items": len(self.held), "train": len(self.data.split("train"))}
        about = {"dataset": self.data.name, "data_hash": self.data.hash, **sizes, "parts": self.parts}
        return {**about, "fit": self.fit.as_dict(), "also": list(self.others)}

    def measure(self, arm: Arm) -> Measured:
        """Train from the same backbone on the same rows, and measure; "before" trains nothing."""
        if arm == BEFORE:
            return over_seeds(lambda run: self._reached(self.space, run), self.run, self.seeds, draws=False)
        system = catalog.find(arm.system)
        if not issubclass(system, (Objective, Recipe)):
            raise UsageError(f"{arm.system} trains nothing: see 'diptych systems'.")
        method: Objective | Recipe = catalog.row(system, arm.variant)
        need_towers(method, self.parts)

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            rows = self._read(paired(self.data.split("train"), self.names, method))
            kit = Kit({"main": self.space, **decoder_for(method, self.space, rows, run), **self.kit})
            quiet = replace(run, out=None, workers=0)
            made = train_space(
                method, kit, Evidence(train=rows), self.fit, quiet, classes=self.names, learns=self.learns
            )
            assert isinstance(made.space, Backbone)  # a recipe that is given a backbone gives one back
            return self._reached(made.space, run)

        return over_seeds(once, self.run, self.seeds, draws=True)

    def _reached(self, space: Backbone, run: Run) -> tuple[Floats, Mapping[str, float]]:
        also = {f"acc1 on {name}": float(reached(space, *known, run).mean()) for name, known in self.others.items()}
        return reached(space, self.held, self.names, run), also

    def _read(self, table: Table[Any]) -> Table[Any]:
        """Return trunk vectors in the place of photos, where heads learn."""
        return on_trunks(self.space, table, self.run) if isinstance(self.space, Headed) else table

    def _names(self, data: LabelledData) -> ClassNames | None:
        return ClassNames(tuple(tidy(c) for c in data.classes), self.templates) if data.classes else None


def reached(space: Backbone, table: Table[Any], names: ClassNames | None, run: Run) -> Floats:
    """Return (N,): whether each labelled photo is named rightly, or how often a captioned one and its captions find
    each other first.

    Raises:
        DataError: there are neither labels nor captions.
    """
    x = normalize(embed(space.image, table.items, run), dim=-1)
    if "captions" in table.columns:
        captions = [tuple(c) for c in table.columns["captions"].values]
        y: torch.Tensor = normalize(embed(space.text, Texts(tuple(t for own in captions for t in own)), run), dim=-1)
        owner = np.repeat(np.arange(len(captions)), [len(c) for c in captions])
        scores, own = (x @ y.T).double().numpy(), owner[None] == np.arange(len(captions))[:, None]
        to_image = np.bincount(owner, first_ranks(scores.T, own.T) == 1) / np.bincount(owner)
        return np.asarray(((first_ranks(scores, own) == 1) + to_image) / 2, dtype=np.float64)
    if names is None:
        raise DataError(
            "These data have neither labels nor captions: give class folders, or a table with a column 'caption'."
        )
    y = text_head(space, names.prompts(), run)
    return np.asarray((x @ y.T).argmax(1).numpy() == table.labels(), dtype=np.float64)
