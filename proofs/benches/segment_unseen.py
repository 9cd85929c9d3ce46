"""The bench of segmenters that learn masks: they are trained with half of the classes, and asked for all of them.

The other classes are void in the label maps of the training: their names are unseen, their pixels are not. Each seed
draws its half. A system is fitted once per seed; arms that differ in how its masks are classified share that fit, its
pass over the photos, and its masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diptych.core import Backbone, ClassNames, Column, DataError, Evidence, Kit, Regions, Run, Table
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData, NamedTable
from diptych.data.pixels import normalise
from diptych.data.words.classnames import tidy
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.segment import MIOU
from diptych.evaluation.datasets import few, open_set
from diptych.methods.segment.fc_clip import FCCLIP, FittedFCCLIP
from diptych.methods.segment.maft_plus import FittedMAFTPlus, MAFTPlus
from diptych.metrics.segmentation import IGNORE, class_iou, confusion
from diptych.nn.dense.label_maps import label_map
from diptych.nn.dense.mask_classes import inside_cells, pooled_embeddings, whole_cells, word_probabilities
from diptych.nn.dense.mask_training import trained_on, words_of
from diptych.train.parameters import copies
from proofs.trial import Claim, Tabled, Trial, hash_of

LEAST = 0.02
"""Share of a photo that seen classes fill at least, or it is not trained on."""
FEW = 48
"""Photos on which MAFT+ is measured, three times a seed."""
TUNING: Mapping[str, Any] = {}
"""Of MAFT+: the system's own, 300 steps of the masks and 100 of tower and words."""
SETTINGS: Mapping[str, Any] = {}
"""Of FC-CLIP: the system's own, 300 steps, which take a minute of a core."""
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


def halved(data: LabelledData) -> LabelledData:
    """Return a data set with a train split: where it has none, half of its photos, every other one by content key."""
    if "train" in data.splits or "test" not in data.splits:
        return data
    whole = data.splits["test"]
    order = sorted(range(len(whole)), key=whole.items.key)
    return replace(data, splits={"train": whole.take(sorted(order[::2])), "test": whole.take(sorted(order[1::2]))})


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
    labels: NDArray[np.uint8] = position[np.asarray(masks[index])]
    return labels


def open_unseen(
    fit: FitOnce, name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, most: int | None = None
) -> Tabled:
    """Fit once per seed, and count the pixels of the test (or val) photos for every arm; of these the ``most`` whose
    content keys have the least hashes. Photos without a train split are halved.

    Beside the mIoU over all classes, each arm has that of the classes of the training, "seen", and of the others.
    """
    data = halved(open_set(name, "masks"))
    split = "test" if "test" in data.splits else "val"
    table = few(data.split(split), most)
    classes = ClassNames(tuple(tidy(c) for c in data.classes), ENSEMBLE)
    masks = [np.asarray(m) for m in table.columns["mask"].values]
    counted: dict[str, list[NDArray[np.int64]]] = {}
    others: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        seeded = replace(run, seed=seed)
        half = half_of(data, seeded)
        marks = np.isin(np.arange(len(classes)), half.seen)
        for arm, regions in fit(Kit({"main": backbone}), classes, half.train, table, seeded).items():
            regions_of = [regions(i) for i in range(len(table))]
            counts = np.stack([_counts(r, m, len(classes)) for r, m in zip(regions_of, masks, strict=True)])
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
    return Tabled(backbone, run, seeds, "miou", facts, values, means, statistic=MIOU)


def _counts(regions: Regions, mask: Labels, classes: int) -> NDArray[np.int64]:
    return confusion(label_map(regions).numpy(), mask, classes)


def fc_clip_arms(kit: Kit, classes: ClassNames, train: NamedTable, table: Table[Any], run: Run) -> Arms:
    """Return FC-CLIP, each of its classifiers alone, one weight for all classes, and marks of other classes."""
    fitted = FCCLIP(**SETTINGS).fit(kit, classes, Evidence(train=train), run)
    passes = list(fitted.passes(table.items, run))
    order = np.random.default_rng(run.integer("other marks")).permutation(len(classes))

    def of(one: FittedFCCLIP) -> Callable[[int], Regions]:
        return lambda i: one.mixed(passes[i])

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
    controls=(Claim("one weight", arm=Arm("other marks")),),
    bench=partial(open_unseen, fc_clip_arms),
)


@dataclass(frozen=True)
class OtherFits(MAFTPlus):
    """Each mask has the IoU of another mask of the same image: as many good and bad ones. The catalogue's control."""

    def fits(self, masks: Tensor, truth: Tensor) -> Tensor:
        """Return (n, Q) IoUs, each of another mask's, by one draw for all segments."""
        fits = super().fits(masks, truth)
        return fits[:, torch.randperm(fits.shape[1]).to(fits.device)]


@dataclass(frozen=True)
class FrozenNames(FittedMAFTPlus):
    """The same masks, named by frozen CLIP."""

    def classified(self, image: Any, run: Run) -> tuple[Tensor, Tensor, Tensor]:
        """Return masks and void as they are, and the probabilities of the backbone's own map."""
        _, void, masks = super().classified(image, run)
        dense = self.backbone.dense()
        x = whole_cells(image, self.method.side, dense.strides[-1], self.method.longest).to(run.device)
        last = dense.maps(normalise(x, self.backbone.spec.pixels)[None])[-1]
        inside = inside_cells(masks[None].float(), (last.shape[2], last.shape[3]))
        return word_probabilities(self.backbone, pooled_embeddings(dense, last, inside)[0], self.words), void, masks


def maft_plus_arms(kit: Kit, classes: ClassNames, train: NamedTable, table: Table[Any], run: Run) -> Arms:
    """Return MAFT+, frozen CLIP on its masks, and a training with other IoUs that goes on from the same masks."""
    backbone, method = kit.need(Backbone), MAFTPlus(**TUNING)
    rows, trained = trained_on(Evidence(train=train), classes)
    words, unseen = words_of(backbone, trained, run), words_of(backbone, classes, run)
    tuned = method.masks(backbone, rows, words, run)
    start = copies(tuned)
    fitted_on: dict[str, FittedMAFTPlus] = {}
    for name, one in (("maft-plus", method), ("other masks' IoU", OtherFits(**TUNING))):
        tuned.load_state_dict(start)
        fitted_on[name] = FittedMAFTPlus(classes, backbone, unseen, one.tune(tuned, rows, words, run), one)
    fitted_on["frozen CLIP"] = FrozenNames(**vars_of(fitted_on["maft-plus"]))
    every = {name: list(fitted.regions(table.items, run)) for name, fitted in fitted_on.items()}
    return {name: regions.__getitem__ for name, regions in every.items()}


def vars_of(fitted: FittedMAFTPlus) -> dict[str, Any]:
    """Return the fields of a fitted object, by name."""
    return {f.name: getattr(fitted, f.name) for f in fields(fitted)}


MAFT_PLUS = Trial(
    (Claim("frozen CLIP"),),
    controls=(Claim("frozen CLIP", arm=Arm("other masks' IoU")),),
    bench=partial(open_unseen, maft_plus_arms, most=FEW),
)
