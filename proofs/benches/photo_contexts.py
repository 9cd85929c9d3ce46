"""Photos in contexts that are known: halves that are transformed, and things pasted before other backgrounds.

The metric is the accuracy of the worst group: of a way of looking, or of a kind of thing before a kind of background.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Backbone, ClassNames, Column, DataError, NotAvailable, Run, Table
from diptych.data.factors import FACTORS
from diptych.data.labelled import LabelledData
from diptych.data.memory import InMemory
from diptych.data.scenes.composed import CutOut, Pasted
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import RATIOS, Arm, Measured, Statistic
from diptych.evaluation.datasets import open_set
from diptych.evaluation.spoils import Altered
from diptych.metrics.ratio import counted
from proofs.benches.classifiers import AroundClassify, ClassifyBench
from proofs.trial import Claim, Trial

HALVES, PASTED = "halves", "backgrounds"
"""Kinds of contexts; a data set is "halves:NAME" or "backgrounds:NAME"."""
LOOKS: Mapping[str, Callable[[Image.Image], Image.Image]] = MappingProxyType(
    {
        "upside down": lambda image: image.rotate(180),
        "dark": lambda image: FACTORS["darker"](image, 0),
        "black and white": lambda image: image.convert("L").convert("RGB"),
    }
)
"""Each is the look of a sixth of the photos; half of the photos stay as they are."""
KINDS = {
    "animals": ("bird", "cat", "cow", "dog", "sheep"),
    "vehicles": ("aeroplane", "bicycle", "boat", "car"),
}
BEFORE = {"nature": ("grass", "tree", "water", "sky"), "streets": ("building", "road")}
"""Kind of background -> classes of pixels that make it."""
SIDE, SHARE, EACH = 224, 0.6, 2
"""Pixels of a pasted picture; longer side of the thing as a share of it; backgrounds of each kind for a thing."""
FACTORS_OF = {HALVES: ("orientation", "illumination", "color"), PASTED: ("background",)}
"""Attributes that are inferred: those that differ."""


@dataclass(frozen=True)
class Contexts:
    """Pictures of classes in groups.

    Args:
        pictures: N.
        labels: (N,) class positions.
        groups: (N,) names.
        photos: (N,) number of the photo that each was made of: what is resampled.
    """

    pictures: Sequence[Image.Image]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    photos: NDArray[np.int64]


def transformed(table: Table[Any]) -> Contexts:
    """Return the photos, half of them in one of ``LOOKS``; content keys decide which."""
    keys = [hashlib.sha256(f"looks/{table.items.key(i)}".encode()).hexdigest() for i in range(len(table))]
    order, names = np.argsort(keys), list(LOOKS)
    groups = np.full(len(keys), "plain", dtype=object)
    groups[order[len(order) // 2 :]] = [names[n % len(names)] for n in range(len(order) - len(order) // 2)]
    pictures = [table.items[i].convert("RGB") for i in range(len(table))]
    seen = [LOOKS[g](p) if g in LOOKS else p for g, p in zip(groups, pictures, strict=True)]
    return Contexts(seen, table.labels(), groups.astype(str), np.arange(len(table)))


def pasted(data: LabelledData) -> Contexts:
    """Return each thing of ``KINDS`` before ``EACH`` backgrounds of each kind; labels count the classes of ``KINDS``.

    A background is the square in the middle of a photo of which more than 70 % (nature), or 35 % (streets), is of that
    kind. Less than 2 % of it is a thing, and less than 15 % is without class; of nature, less than 2 % is street.

    Raises:
        DataError: there is no thing, or no background of a kind.
    """
    table, place = data.whole(), {name: k for k, name in enumerate(data.classes)}
    masks = [mask for split in data.splits.values() for mask in split.columns["mask"].values]
    shares = [{name: float((np.asarray(masks[i]) == k).mean()) for name, k in place.items()} for i in range(len(table))]
    stuff = sum(BEFORE.values(), ())
    nothing = [
        sum(v for name, v in of_photo.items() if name not in stuff) < 0.02 and sum(of_photo.values()) > 0.85
        for of_photo in shares
    ]
    nature, streets = (np.array([sum(of_photo[name] for name in BEFORE[k]) for of_photo in shares]) for k in BEFORE)
    behind = {
        "nature": np.flatnonzero(nothing & (nature > 0.7) & (streets < 0.02)),
        "streets": np.flatnonzero(nothing & (streets > 0.35)),
    }
    names, kind_of = sum(KINDS.values(), ()), {name: kind for kind, names_of in KINDS.items() for name in names_of}
    cuts = [c for c in Pasted(table.items, masks, 1).sources[0] if data.classes[c.label] in kind_of]
    if not cuts or not all(len(photos) for photos in behind.values()):
        raise DataError(f"{data.name} has {len(cuts)} things to paste, and needs backgrounds of nature and of streets.")
    rng = np.random.default_rng(0)
    rows = []
    for cut in cuts:
        name = data.classes[cut.label]
        for kind, backgrounds in behind.items():
            for n in rng.permutation(backgrounds)[:EACH].tolist():
                picture = before(table.items[n], table.items[cut.photo], np.asarray(masks[cut.photo]), cut)
                rows.append((picture, names.index(name), f"{kind_of[name]}, {kind}", cut.photo))
    pictures, labels, groups, photos = zip(*rows, strict=True)
    return Contexts(pictures, np.array(labels), np.array(groups), np.unique(photos, return_inverse=True)[1])


def before(background: Image.Image, photo: Image.Image, mask: NDArray[np.uint8], cut: CutOut) -> Image.Image:
    """Return the pixels of a class of a photo, before the middle of another photo."""
    size = min(background.size)
    left, top = (background.width - size) // 2, (background.height - size) // 2
    canvas = background.convert("RGB").crop((left, top, left + size, top + size)).resize((SIDE, SIDE))
    thing, shape = photo.convert("RGB").crop(cut.box), Image.fromarray(mask == cut.label).convert("L").crop(cut.box)
    scale = SHARE * SIDE / max(thing.size)
    w, h = (max(1, round(n * scale)) for n in thing.size)
    canvas.paste(thing.resize((w, h)), ((SIDE - w) // 2, (SIDE - h) // 2), shape.resize((w, h)))
    return canvas


@dataclass(frozen=True)
class ContextBench(AroundClassify):
    """Values are (R, photos, groups, 2) cases and hits; the metric is the share of the worst group.

    Args:
        kind: one of ``HALVES`` and ``PASTED``.
    """

    contexts: Contexts
    kind: str
    metric: str = "worst_group"
    statistic: Statistic = RATIOS
    always: tuple[Arm, ...] = ()

    @cached_property
    def names(self) -> list[str]:
        """Groups, in alphabetical order."""
        return sorted(set(self.contexts.groups.tolist()))

    @property
    def facts(self) -> Mapping[str, Any]:
        """As of any photos, with their groups."""
        counts = {name: int((self.contexts.groups == name).sum()) for name in self.names}
        return {
            **self.inner.facts,
            "photos": int(self.contexts.photos.max()) + 1,
            "groups": counts,
            "composite": self.kind,
        }

    def measure(self, arm: Arm) -> Measured:
        """Measure each picture; "acc1" and the accuracy of each group stand beside the metric.

        PerceptionCLIP is told which attributes differ, in whatever arm.
        """
        if arm.system == "perceptionclip":
            arm = replace(arm, spoil=_with_factors(FACTORS_OF[self.kind], arm.spoil))
        result = self.inner.measure(arm)
        masks = [self.contexts.groups == name for name in self.names]
        units = int(self.contexts.photos.max()) + 1
        values = np.array(
            [[counted(row[mask], self.contexts.photos[mask], units) for mask in masks] for row in result.values]
        ).swapaxes(1, 2)
        groups = {name: float(result.values[:, mask].mean()) for name, mask in zip(self.names, masks, strict=True)}
        return Measured(values, {"acc1": float(result.values.mean()), **groups}, result.seeds)


def _with_factors(factors: tuple[str, ...], spoil: Altered | None) -> Altered:
    def change(system: Any, run: Run) -> Any:
        altered = replace(system, factors=factors)
        return spoil.change(altered, run) if spoil else altered

    return Altered(change)


def open_contexts(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> ContextBench:
    """Open "halves:NAME", labelled photos half of which are transformed, or "backgrounds:NAME", photos with masks
    whose things are pasted before other backgrounds.

    Raises:
        NotAvailable: neither of them, or the data set is not on this machine.
    """
    kind, _, plain = name.partition(":")
    if kind not in FACTORS_OF or not plain:
        raise NotAvailable(f"{name} is neither {HALVES}:NAME nor {PASTED}:NAME: give one of them.")
    data = open_set(plain, "classes" if kind == HALVES else "masks")
    if kind == HALVES:
        contexts, classes = transformed(data.splits.get("test") or data.split("val")), data.classes
    else:
        contexts, classes = pasted(data), sum(KINDS.values(), ())
    table = Table(InMemory(contexts.pictures), {"label": Column("label", contexts.labels)})
    names = ClassNames(classes, tuple(ENSEMBLE))
    inner = ClassifyBench.open(LabelledData(name, classes, {"test": table}), backbone, run, seeds, classes=names)
    return ContextBench(inner, contexts, kind)


UNIFORM = Altered(lambda system, run: replace(system, temperature=math.inf))
"""All contexts weigh alike."""


def trial(random_letters: Altered) -> Trial:
    """Return the proof of PerceptionCLIP, whose control is told ``random_letters`` in the place of the contexts."""
    return Trial(
        (
            Claim("zero-shot", variant="single"),
            Claim("uniform weights", base=Arm("perceptionclip", spoil=UNIFORM)),
        ),
        random_letters,
        "zero-shot",
        control_variant="single",
        beside={"ensemble of templates": Arm("zero-shot", "ensemble")},
        bench=open_contexts,
    )
