"""The bench of segmenters that learn masks: they are trained with half of the classes, and asked for all of them.

The other classes are void in the label maps of the training: their names are unseen, their pixels are not. Each seed
draws its half. A system is fitted once a seed; arms that differ in how its masks are classified share that fit, its
pass over the photos, and its masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Evidence, Table
from diptych.core.errors import DataError
from diptych.core.kit import Kit
from diptych.core.method import Regions
from diptych.core.run import Run
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData, NamedTable
from diptych.data.words.classnames import tidy
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.segment import MIOU
from diptych.evaluation.datasets import open_set
from diptych.evaluation.proofs.trial import Claim, Tabled, Trial, hash_of
from diptych.methods.segment.fc_clip import FCCLIP, FittedFCCLIP
from diptych.metrics.segmentation import IGNORE, class_iou, confusion
from diptych.nn.dense.label_maps import label_map

LEAST = 0.02
"""Share of a photo that seen classes fill at least, or it is not trained on."""
SETTINGS: Mapping[str, Any] = {"steps": 150}
"""Half a minute of a core; the rest are the system's own."""
Labels = NDArray[np.integer[Any]]
Arms = Mapping[str, Callable[[int], Regions]]
"""Arm -> the regions of a photo, by its number."""
FitOnce = Callable[[Kit, ClassNames, NamedTable, Table[Any], Run], Arms]
"""(kit, all classes, photos of the training, measured photos, run of the seed) -> arms."""


@dataclass(frozen=True)
class Half:
    """One draw of the classes of the training.

    Args:
        seen: positions of those classes, ascending.
        train: photos whose masks number them alone.
    """

    seen: tuple[int, ...]
    train: NamedTable


def half_of(data: LabelledData, run: Run) -> Half:
    """Draw half of the classes, and return the train split with only these in its masks.

    Raises:
        DataError: there is no train split, or none of its photos shows such a class.
    """
    rng = np.random.default_rng(run.integer("seen classes"))
    seen = tuple(sorted(rng.permutation(len(data.classes))[: len(data.classes) // 2].tolist()))
    table = data.split("train")
    masks = Masks(tuple(range(len(table))), partial(_only, table.columns["mask"].values, seen))
    rows = [i for i in range(len(table)) if (masks[i] != IGNORE).mean() >= LEAST]
    if not rows:
        raise DataError(f"No photo of {data.name} shows one of {len(seen)} drawn classes: give more photos or classes.")
    part = Table(table.items, {"mask": Column("mask", masks)}).take(rows)
    return Half(seen, NamedTable(part.items, part.columns, tuple(data.classes[k] for k in seen)))


def _only(masks: Any, seen: tuple[int, ...], index: int) -> NDArray[np.uint8]:
    position = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    position[list(seen)] = np.arange(len(seen))
    found: NDArray[np.uint8] = position[np.asarray(masks[index])]
    return found


def open_unseen(fit: FitOnce, name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Fit once a seed, and count the pixels of the test (or val) photos for every arm.

    Beside the mIoU over all classes, each arm has that of the classes of the training, "seen", and of the others.

    Args:
        fit: gives the arms.
        name: of photos with label maps, with a train split.
        backbone: of all arms.
        run: device and cache.
        seeds: of draws and trainings.
    """
    data = open_set(name, "masks")
    split = "test" if "test" in data.splits else "val"
    table, classes = data.split(split), ClassNames(tuple(tidy(c) for c in data.classes), ENSEMBLE)
    masks = [np.asarray(m) for m in table.columns["mask"].values]
    counted: dict[str, list[NDArray[np.int64]]] = {}
    others: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        own = replace(run, seed=seed)
        half = half_of(data, own)
        marks = np.isin(np.arange(len(classes)), half.seen)
        for arm, regions in fit(Kit({"main": backbone}), classes, half.train, table, own).items():
            found = [regions(i) for i in range(len(table))]
            counts = np.stack([_counts(r, m, len(classes)) for r, m in zip(found, masks, strict=True)])
            iou = class_iou(counts.sum(0))
            counted.setdefault(arm, []).append(counts)
            for part, chosen in (("seen", marks), ("unseen", ~marks)):
                mean = float(np.nanmean(iou[chosen])) if not np.isnan(iou[chosen]).all() else float("nan")
                others.setdefault(arm, {}).setdefault(f"miou_{part}", []).append(mean)
    facts = {
        "dataset": data.name, "data_hash": hash_of(table.items), "split": split, "items": len(table),
        "classes": list(classes.names), "seen": len(half.seen), "train_items": len(data.split("train")),
    }  # fmt: skip
    means = {arm: {k: float(np.nanmean(v)) for k, v in parts.items()} for arm, parts in others.items()}
    values = {arm: np.stack(c) for arm, c in counted.items()}
    return Tabled(backbone, run, seeds, "miou", facts, values, means, MIOU)


def _counts(regions: Regions, mask: Labels, classes: int) -> NDArray[np.int64]:
    return confusion(label_map(regions).numpy(), mask, classes)


def fc_clip_arms(kit: Kit, classes: ClassNames, train: NamedTable, table: Table[Any], run: Run) -> Arms:
    """Return FC-CLIP, each of its classifiers alone, one weight for all classes, and marks of other classes."""
    fitted = FCCLIP(**SETTINGS).fit(kit, classes, Evidence(train=train), run)
    passes = list(fitted.passes(table.items, run))
    sizes = [(image.height, image.width) for image in (table.items[i] for i in range(len(table)))]
    order = np.random.default_rng(run.integer("other marks")).permutation(len(classes))

    def of(one: FittedFCCLIP) -> Callable[[int], Regions]:
        return lambda i: one.mixed(passes[i], sizes[i])

    def weighted(alpha: float, beta: float) -> Callable[[int], Regions]:
        return of(replace(fitted, method=replace(fitted.method, alpha=alpha, beta=beta)))

    middle = (fitted.method.alpha + fitted.method.beta) / 2
    return {
        "fc-clip": of(fitted),
        "trained head alone": weighted(0.0, 0.0),
        "frozen head alone": weighted(1.0, 1.0),
        "one weight": weighted(middle, middle),
        "other marks": of(replace(fitted, seen=tuple(fitted.seen[k] for k in order))),
    }


FC_CLIP = Trial(
    (Claim("trained head alone"), Claim("frozen head alone"), Claim("one weight")),
    controls=(Claim("one weight", own=Arm("other marks")),),
    bench=partial(open_unseen, fc_clip_arms),
)
