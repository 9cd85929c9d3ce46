"""Proofs of segmenters: gains in mIoU on photos with label maps, and the same system with one thing spoiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.core import Backbone, ClassNames, Column, Evidence, Kit, Run, Samples, Space, Table
from diptych.data.scenes.compose import Scenes
from diptych.data.words.stuff_looks import LOOKS, PHOTO, Look, looks_of
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.boards.segment import MaskBench
from diptych.evaluation.datasets import few, open_set
from diptych.evaluation.spoils import as_subclass, shuffled_names
from diptych.methods.segment.clip_dinoiser import CLIPDINOiser, FittedCLIPDINOiser
from diptych.methods.segment.naclip import NACLIP
from diptych.methods.segment.sclip import SCLIP, WINDOWS
from diptych.methods.segment.stuff_context import FittedStuffContext, StuffContext
from diptych.methods.segment.trident import FittedTrident, Trident
from diptych.nn.dense.label_maps import Windows
from proofs.benches.masked_regions import OVSEG
from proofs.benches.segment_unseen import FC_CLIP, MAFT_PLUS
from proofs.benches.training.merged_models import SAMCLIP_TRIAL
from proofs.scenes.label_maps import NAMES, SCENES, SHOWN, SIDE, labelled_scenes
from proofs.trial import Claim, Trial


def open_bench(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    settings: Mapping[str, Any] = MappingProxyType({}),
    most: int | None = None,
) -> MaskBench:
    """Open photos with label maps by path or by name, or "scenes", of which ``tiny`` knows the names.

    Args:
        name: path, name or "scenes".
        backbone: for photos; scenes bring theirs.
        run: device, cache and progress.
        seeds: of draws, spoils and trainings.
        settings: of every system that has them; a scene is one window, whatever they say.
        most: photos or scenes that are measured; None: all.
    """
    if name != "scenes":
        return MaskBench(open_set(name, "masks"), backbone, run, seeds, settings=settings, most=most)
    scenes, whole = labelled_scenes(Scenes(SCENES, most or SHOWN, 0)), {"windows": Windows(SIDE, SIDE, SIDE)}
    tiny = load("tiny")
    return MaskBench(scenes, tiny, run, seeds, NAMES, settings={**settings, **whole}, about={"backbone": "tiny"})


def open_few(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MaskBench:
    """Open at most ``FEW`` of the measured photos, those whose content keys have the least hashes."""
    data = open_set(name, "masks")
    split = "test" if "test" in data.splits else "val"
    return MaskBench(replace(data, splits={split: few(data.split(split), FEW)}), backbone, run, seeds)


FEW = 24
"""Photos of a data set on which systems of a second a photo are proved."""


@dataclass(frozen=True)
class ShuffledRows(Trident):
    """The rows of M are those of other cells: as smooth, and every cell gets another's mean.

    The catalogue's control.
    """

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedTrident:
        """Fit as ever, and shuffle the rows of what aggregates."""
        return _OtherRows(**vars(super().fit(kit, classes, evidence, run)), order=run.integer("trident order"))


@dataclass(frozen=True)
class _OtherRows(FittedTrident):
    """Rows of M shuffled over cells; ``order`` is the seed of the shuffle."""

    order: int = 0

    def aggregated(self, image: Any, canvas: Tensor, run: Run) -> Tensor:
        """Return M U with the rows of M in another order."""
        f = super().aggregated(image, canvas, run)
        order = torch.randperm(f.shape[1] * f.shape[2], generator=torch.Generator().manual_seed(self.order)).to(
            f.device
        )
        return f.flatten(1)[:, order].reshape(f.shape)


@dataclass(frozen=True)
class ShuffledAffinity(CLIPDINOiser):
    """Each affinity is another patch's: as many neighbours, with the same weights, and none of them near.

    The catalogue's control.
    """

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCLIPDINOiser:
        """Train as ever, and shuffle the affinities of what was fitted."""
        order = run.integer("clip-dinoiser order")
        return _Shuffled(**vars(super().fit(kit, classes, evidence, run)), order=order)


@dataclass(frozen=True)
class _Shuffled(FittedCLIPDINOiser):
    """Affinities shuffled over patches; ``order`` is the seed of the shuffle."""

    order: int = 0

    def affinity(self, g: Tensor) -> Tensor:
        """Return (B, n, n), with rows and columns in another order."""
        a = super().affinity(g)
        order = torch.randperm(a.shape[1], generator=torch.Generator().manual_seed(self.order)).to(a.device)
        return a[:, order][:, :, order]


@dataclass(frozen=True)
class OtherTargets(CLIPDINOiser):
    """The teacher's output is that for another photo.

    What is left is what the layer of CLIP itself, and the shape of all photos, give an affinity.
    """

    def _lesson(self, backbone: Backbone, teacher: Space, photos: Samples[Any], run: Run) -> Table[Any]:
        lesson = super()._lesson(backbone, teacher, photos, run)
        moved = {name: Column(c.kind, [*c.values[1:], c.values[0]]) for name, c in lesson.columns.items()}
        return Table(lesson.items, moved)


@dataclass(frozen=True)
class Uniform(SCLIP):
    """Each patch attends to all alike, with rows that sum to 2: what the mean of a window explains."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return twice the mean of the values."""
        return 2 * v.mean(2, keepdim=True).expand_as(v)


def smooth(v: Tensor) -> Tensor:
    """Return (B, heads, n, d) means of the values of each patch of a square window and its eight neighbours.

    Tokens before the patches keep their own.
    """
    side = isqrt(v.shape[2])
    prefix, patches = torch.split(v, [v.shape[2] - side**2, side**2], dim=2)
    planes = torch.unflatten(patches.mT.flatten(0, 1), 2, (side, side))
    means = F.avg_pool2d(planes, 3, stride=1, padding=1, count_include_pad=False)
    return torch.cat([prefix, means.flatten(2).reshape(patches.mT.shape).mT], dim=2)


@dataclass(frozen=True)
class Neighbours(SCLIP):
    """Each patch of a square window attends to itself and its eight neighbours alike: what a smooth map explains."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return twice the mean of the values round each patch; tokens before the patches keep their own."""
        return 2 * smooth(v)


@dataclass(frozen=True)
class Itself(SCLIP):
    """Each patch attends to itself, with rows that sum to 2: what a larger share of the attention explains.

    Without a tower, and so without a residual, it is MaskCLIP.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return twice the values."""
        return 2 * v


@dataclass(frozen=True)
class Anywhere(NACLIP):
    """Each patch attends to those like it, however far away: what the keys alone explain."""

    def near(self, grid: tuple[int, int]) -> Tensor:
        """Return zeros in the place of the Gaussian."""
        return torch.zeros_like(super().near(grid))


@dataclass(frozen=True)
class UniformWindow(NACLIP):
    """Each patch attends to itself and its eight neighbours alike: what a smooth map explains."""

    def attend(self, k: Tensor, v: Tensor, near: Tensor) -> Tensor:
        """Return the mean of the values round each patch."""
        return smooth(v)


@dataclass(frozen=True)
class AllAlike(NACLIP):
    """Each patch attends to all alike: what the mean of a window explains."""

    def attend(self, k: Tensor, v: Tensor, near: Tensor) -> Tensor:
        """Return the mean of the values."""
        return v.mean(2, keepdim=True).expand_as(v)


@dataclass(frozen=True)
class OtherLooks(StuffContext):
    """Stuff has the look of another kind of stuff: what any look, and smooth cells below or above, explain."""

    shift: int = 1

    def looks(self, words: tuple[str, ...]) -> tuple[Look, ...]:
        """Return the looks of a class; the kinds change places in a circle."""
        kinds = list(LOOKS)
        return looks_of(words, {k: LOOKS[kinds[(i + self.shift) % len(kinds)]] for i, k in enumerate(kinds)})


@dataclass(frozen=True)
class FurtherLooks(OtherLooks):
    """Stuff has the look of the third kind from its own."""

    shift: int = 3


@dataclass(frozen=True)
class PlaceAlone(StuffContext):
    """Looks say at which height stuff is, and nothing of its colour and contrast."""

    def looks(self, words: tuple[str, ...]) -> tuple[Look, ...]:
        """Return the looks of a class, with the colours and contrast of any cell."""
        return tuple(PHOTO._replace(height=look.height) for look in looks_of(words))


@dataclass(frozen=True)
class SharesAlone(StuffContext):
    """A class is more likely where more cells of the photo have it, of whatever colour."""

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedStuffContext:
        """Fit as ever, for photos whose colours are all alike where classes are compared by them."""
        return _Colourless(**vars(super().fit(kit, classes, evidence, run)))


@dataclass(frozen=True)
class _Colourless(FittedStuffContext):
    """Looks see colours, and ``photo_colours`` does not."""

    def coloured(self, scores: Tensor, features: Tensor) -> Tensor:
        """Return scores with the share of each class, and not its colours."""
        return super().coloured(scores, torch.zeros_like(features))


ITSELF = as_subclass(Itself, draws=False)
_VIT = ("scenes",)
"""A bench whose backbone is a ViT."""
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "trident": Trial(
            (Claim("trident", variant="scores"), Claim("trident", variant="no aggregation")),
            as_subclass(ShuffledRows),
            "trident",
            control_variant="no aggregation",
            beside={"maskclip": Claim("maskclip")},
            bench=open_few,
        ),
        "maskclip": Trial((Claim(CHANCE),), shuffled_names),
        "sclip": Trial(
            (Claim("maskclip"),),
            {"all alike": as_subclass(Uniform, draws=False), "neighbours": as_subclass(Neighbours, draws=False)},
            "maskclip",
            beside={"plain patch tokens": Claim("maskclip", variant="tokens", on=_VIT)},
            controls=(Claim("maskclip", arm=Arm("sclip", spoil=ITSELF), on=_VIT, name="itself"),),
            bench=partial(open_bench, settings={"windows": WINDOWS}),
        ),
        "naclip": Trial(
            (
                Claim("maskclip"),
                Claim("like ones anywhere", base=Arm("naclip", spoil=as_subclass(Anywhere, draws=False))),
            ),
            {
                "uniform window": as_subclass(UniformWindow, draws=False),
                "all alike": as_subclass(AllAlike, draws=False),
            },
            "maskclip",
            beside={"sclip": Claim("sclip")},
            bench=partial(open_bench, settings={"windows": WINDOWS}),
        ),
        "stuff-context": Trial(
            (Claim("maskclip"), Claim("stuff-context", variant="without looks")),
            {
                "looks moved by 1": as_subclass(OtherLooks, draws=False),
                "looks moved by 3": as_subclass(FurtherLooks, draws=False),
            },
            "stuff-context",
            control_variant="without looks",
            beside={
                "prompts": Claim("stuff-context", variant="prompts"),
                "without colours": Claim("stuff-context", variant="without colours"),
                "shares alone": Claim(
                    "shares alone", base=Arm("stuff-context", spoil=as_subclass(SharesAlone, draws=False))
                ),
                "place alone": Claim(
                    "place alone", base=Arm("stuff-context", spoil=as_subclass(PlaceAlone, draws=False))
                ),
            },
            bench=open_bench,
        ),
        "ovseg": OVSEG,
        "sam-clip": SAMCLIP_TRIAL,
        "clip-dinoiser": Trial(
            (Claim("maskclip"),),
            as_subclass(ShuffledAffinity),
            "maskclip",
            beside={"another photo's targets": as_subclass(OtherTargets)},
        ),
        "fc-clip": FC_CLIP,
        "maft-plus": MAFT_PLUS,
    }
)
