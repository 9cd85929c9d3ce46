"""Extenders on labelled clips: how many held clips are named rightly, beside the untrained mean of the frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Table
from diptych.core.errors import DataError, UnreadableItem
from diptych.core.kit import Kit
from diptych.core.method import Extender
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.evaluation.arms import MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.tasks.extend import hits, readable, told


@dataclass(frozen=True)
class ExtendBench:
    """Labelled clips, of which the train split is learnt from.

    Args:
        data: with train, and val or test, all readable.
        classes: K names and one template.
        backbone: of photos and texts.
        run: device and cache.
        seeds: of trainings.
        frames: T looked at in each clip.
        failed: clips that cannot be read, and are not among the data.
    """

    data: LabelledData
    classes: ClassNames
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    frames: int
    failed: tuple[UnreadableItem, ...] = ()
    metric: str = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (Arm("frame-mean"),)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash and sizes."""
        about = {
            "dataset": self.data.name,
            "data_hash": self.data.hash,
            "split": held(self.data),
            "frames": self.frames,
        }
        return {**about, "items": len(self.data.split(held(self.data))), "clips": len(self.data.split("train"))}

    def measure(self, arm: Arm) -> Measured:
        """Fit on the train split, with as many frames a clip as all other rows, and name the held clips."""
        method: Any = catalog.row(catalog.find(arm.system, Extender), arm.variant)
        if "frames" in {f.name for f in fields(method)}:
            method = replace(method, frames=self.frames)

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            space: Any = method.fit(Kit({"main": self.backbone}), told(self.data.split("train"), self.classes), run)
            return hits(space, self.data.split(held(self.data)), self.classes, run).astype(float), {}

        return over_seeds(once, self.run, self.seeds, draws=method.card.trains != "nothing")


def held(data: LabelledData) -> str:
    """Return the split that is measured on: test, or val.

    Raises:
        DataError: there is neither.
    """
    for split in ("test", "val"):
        if split in data.splits:
            return split
    raise DataError(f"{data.name} has no test and no val clips: give folders test/CLASS/CLIP.")


def only_readable(
    data: LabelledData, backbone: Backbone, frames: int, run: Run
) -> tuple[LabelledData, tuple[UnreadableItem, ...]]:
    """Return the data without the clips that cannot be read, and why they cannot."""
    splits: dict[str, Table[Any]] = {}
    failed: list[UnreadableItem] = []
    for split in ("train", held(data)):
        splits[split], broken = readable(data.split(split), backbone, frames, run)
        failed += broken
    return replace(data, splits=splits), tuple(failed)
