"""CLIP-DINOiser averages MaskCLIP's patches over those that belong together, which two convolutions on CLIP predict.

    E    = normalise(Conv3x3(G))
    A    = E^T E,   A_ij <- A_ij 1[A_ij >= gamma]
    F'   = sum_j A_ij F_j / (sum_j A_ij + 1e-6)
    P    = softmax(scale normalise(F') T^T)                    averaged over windows
    o    = sigmoid(Conv1x1(normalise(G)))                      where max P < delta and o <= 1/2: P_0 = 1
    loss = BCE(sigmoid(max(A, 0)), A*) + BCE(o, O*)

Sizes: n = h w cells, C features of the earlier layer, K classes, D dimensions of the embeddings
G: (C, n) features of an earlier layer of the same pass
E: (256, n) unit vectors of the cells;  A: (n, n) affinities, cosines
F: (n, D) MaskCLIP's patch embeddings;  F': the same, averaged
T: (K, D) unit class embeddings of the text tower;  scale: of the backbone's logits
P: (n, K) class probabilities;  P_0: of the class named "background", if there is one; those of the others stay as they
    are, so that another window may outvote the rule
o: (n,) probability that a cell belongs to an object
A*, O*: (n, n) and (n,), in {0, 1}: which cells belong together and which to an object, from a self-supervised teacher
    on the same pixels (``nn.dense.patch_teacher``)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    FittedSegmenter,
    Kit,
    MissingEvidence,
    ParamGroup,
    Regions,
    Run,
    Samples,
    Segmenter,
    Space,
    Subset,
    Table,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.data.pixels import normalise
from diptych.features.heads import logits, text_head
from diptych.features.networks import inference
from diptych.features.released_tensors import check_released, named_classes
from diptych.features.strict_weights import check_names
from diptych.features.vectors import Vectors
from diptych.nn.dense.label_maps import WINDOWS, Windows, cells, part_of_strip, resized, slide
from diptych.nn.dense.patch_teacher import centred, objects, teacher_patches, together
from diptych.nn.dense.patches import check_patches, tapped_patches
from diptych.nn.dense.refined_patches import affinity, lesson_losses, objectness, pooled
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

BACKGROUND = "background"
_WIDTH = 256  # rows of E
_TAU = 0.3  # cosine with the seed patch above which the teacher labels a patch as background


@dataclass(frozen=True)
class CLIPDINOiser(Segmenter):
    """Train two convolutions on crops of unlabelled photos, and segment with the patches that they average.

    A frozen teacher, the part "teacher" of the kit (a ``Space`` with an image encoder), labels the crops.

    Args:
        gamma: least affinity of patches that belong together, in [-1, 1] (default 0.2, the paper's).
        delta: best probability below which a patch may be background, in [0, 1] (default 0.99, the paper's).
        windows: shorter side of the resize, window and stride; crops of the training have the window's side.
        photos: crops to learn from, one per photo, >= 1 (default ours; the paper has 1000). Of fewer photos all are
            used.
        steps: optimiser steps, >= 1 (default ours; the paper's 100 epochs of 1000 crops are 6300).
        batch: crops per step, >= 1 (default ours; the paper has 16); fewer crops than that are one batch.
        rate: learning rate of the affinity convolution, > 0; the paper's is 5e-5.
        background_rate: that of the background convolution, > 0.

    Raises:
        UsageError: a number or word out of its range.

    Source: Wysoczanska et al. 2024 (arXiv 2312.12359), section 3.

    Example:
        >>> import torch
        >>> from diptych.nn.dense.refined_patches import pooled
        >>> f = torch.tensor([[[[1.0, 3.0, 9.0]]]])  # one image of three patches, of one dimension
        >>> a = torch.tensor([[[1.0, 1.0, 0.1], [1.0, 1.0, 0.1], [0.1, 0.1, 1.0]]])  # the first two belong together
        >>> pooled(f, a, gamma=0.2).round(decimals=2)
        tensor([[[[2., 2., 9.]]]])
    """

    gamma: float = 0.2
    delta: float = 0.99
    windows: Windows = WINDOWS
    photos: int = 48
    steps: int = 120
    batch: int = 4
    rate: float = 1e-3
    background_rate: float = 1e-2

    def __post_init__(self) -> None:
        check(self, between(-1, 1), "gamma")
        check(self, between(0, 1), "delta")
        check(self, at_least(1), "photos", "steps", "batch")
        check(self, above(0), "rate", "background_rate")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCLIPDINOiser:
        """Train on photos without labels; the last step counts.

        Memory: n^2 + 4 n C bytes a crop, n cells of C features (3 MB for ViT-B/16).

        Raises:
            MissingPart: the kit has no backbone, or no image encoder named "teacher".
            MissingHook: the backbone or the teacher has neither an image tower nor dense maps.
            MissingEvidence: there are no unlabelled photos.
            DataError: the unlabelled photos are fewer than two.
            UnreadableItem: a photo cannot be read.
        """
        backbone, teacher = kit.need(Backbone), kit.need(Space, "teacher")
        check_patches(backbone)
        if evidence.unlabelled is None:
            raise MissingEvidence(
                "CLIP-DINOiser learns from photos without labels, and {unlabelled} is missing: give some."
            )
        if len(evidence.unlabelled) < 2:
            raise DataError(
                f"{len(evidence.unlabelled)} photos are too few to learn from: give two at least, better a hundred."
            )
        table = self._lesson(backbone, teacher, evidence.unlabelled, run)
        with run.seeded("clip-dinoiser"):
            width = int(table.items[0].shape[0])
            heads = nn.ModuleDict({"affinity": nn.Conv2d(width, _WIDTH, 3), "background": nn.Conv2d(width, 1, 1)})
        settings = Fit(
            self.rate, min(self.batch, len(table)), steps=self.steps, schedule=Schedule("constant"), betas=(0.9, 0.999),
            eps=1e-8,
            decay=0.01,
        )  # fmt: skip
        groups = [
            ParamGroup(("affinity.weight", "affinity.bias")),
            ParamGroup(("background.weight", "background.bias"), lr=self.background_rate / self.rate),
        ]
        trainee = Step(heads, lambda row, g: {"g": row.item, **row.columns}, partial(lesson_losses, heads), groups)
        learnt = train_parameters(trainee, table, settings, run)
        return FittedCLIPDINOiser(classes, backbone, text_head(backbone, classes.prompts(), run), learnt, self)

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedCLIPDINOiser:
        """Return the convolutions of the released file."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        check_patches(backbone)
        width = backbone.tower("image").width
        like = nn.ModuleDict({"affinity": nn.Conv2d(width, _WIDTH, 3), "background": nn.Conv2d(width, 1, 1)})
        heads = check_released(learnt, like.state_dict(), f"CLIP-DINOiser on {backbone.spec.name}")
        return FittedCLIPDINOiser(classes, backbone, text_head(backbone, classes.prompts(), run), heads, self)

    def _lesson(self, backbone: Backbone, teacher: Space, photos: Samples[Any], run: Run) -> Table[Any]:
        """Return the earlier layer of a random crop of each drawn photo, and the teacher's output for the crop."""
        order = torch.randperm(len(photos), generator=run.generator("clip-dinoiser photos"))[: self.photos].tolist()
        multiple = math.lcm(backbone.dense().strides[-1], teacher.dense().strides[-1])
        side = max(multiple, self.windows.window // multiple * multiple)
        layers, vectors, looks = list[Tensor](), list[Tensor](), list[Tensor]()
        with run.track("teach", len(order)) as bar, torch.no_grad():
            for n in order:
                x = cropped(photos[n], side, np.random.default_rng([run.integer("clip-dinoiser crops"), n]))[None].to(
                    run.device
                )
                _, g = tapped_patches(backbone, normalise(x, backbone.spec.pixels))
                v, looked = teacher_patches(teacher, normalise(x, teacher.spec.pixels))
                for stored, m in ((layers, g), (vectors, v), (looks, looked[:, None])):
                    stored.append(m.float().cpu())
                bar.advance()
            grid = layers[0].shape[2:]
            pairs, things = [], []
            for v, looked in zip(centred(teacher, vectors), looks, strict=True):
                v, looked = (F.interpolate(m, grid, mode="bilinear", align_corners=False) for m in (v, looked))
                pairs.append(together(v, self.gamma)[0])
                things.append(objects(v, looked[:, 0], _TAU)[0])
        words = {"together": Column("vector", pairs), "objects": Column("vector", things)}
        return Table(Vectors([g[0] for g in layers], Subset(photos, tuple(order))), words)


def cropped(photo: Image.Image, side: int, rng: np.random.Generator) -> Tensor:
    """Return a random (3, S, S) crop in [0, 1] of a photo whose shorter side became S.

    Half of the crops are mirrored, and the brightness changes by a factor in [0.5, 1.5].

    Args:
        photo: any size.
        side: S.
        rng: random numbers.
    """
    x = resized(part_of_strip(photo, side, rng), side)
    top, left = (int(rng.integers(max(1, length - side + 1))) for length in x.shape[1:])
    x = x[:, top : top + side, left : left + side]
    x = x.flip(2) if rng.random() < 0.5 else x
    return (x * rng.uniform(0.5, 1.5)).clamp(0, 1)


@dataclass(frozen=True)
class FittedCLIPDINOiser(FittedSegmenter):
    """Two trained convolutions and a text head.

    Args:
        classes: K names; the rule for background holds where one of them is "background".
        backbone: embeds the patches.
        head: (K, D) unit class embeddings.
        heads: weights of the convolutions.
        method: gamma, delta and windows.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    heads: Mapping[str, Tensor]
    method: CLIPDINOiser

    def __post_init__(self) -> None:
        check_names(
            self.heads, [f"{head}.{kind}" for head in ("affinity", "background") for kind in ("weight", "bias")]
        )

    def for_classes(self, classes: ClassNames, run: Run) -> FittedCLIPDINOiser:
        """Return the segmenter of other classes; the convolutions depend on no class name."""
        return replace(self, classes=classes, head=text_head(self.backbone, classes.prompts(), run))

    def affinity(self, g: Tensor) -> Tensor:
        """Return (B, n, n) cosines of the n = h w cells of the tapped layer, (B, C, h, w)."""
        return affinity(g, self.heads["affinity.weight"].to(g), self.heads["affinity.bias"].to(g))

    def probabilities(self, x: Tensor) -> Tensor:
        """Return P, (B, K, h, w), of (B, 3, H, W) normalised pixels, on the grid of the earlier layer."""
        f, g = (t.float() for t in tapped_patches(self.backbone, x))
        with torch.autocast(x.device.type, enabled=False):  # affinities at the threshold and cosines need 32 bits
            return self.classified(f, g)

    def classified(self, f: Tensor, g: Tensor) -> Tensor:
        """Return P, (B, K, h, w), of what ``nn.dense.patches.tapped_patches`` gives.

        Args:
            f: (B, D, h', w') patch embeddings, brought to the grid of g.
            g: (B, C, h, w) features of the earlier layer.
        """
        p = {name: t.to(g) for name, t in self.heads.items()}
        f = F.interpolate(f, g.shape[2:], mode="bilinear", align_corners=False) if f.shape[2:] != g.shape[2:] else f
        f = pooled(f, self.affinity(g), self.method.gamma)
        unit = F.normalize(f.permute(0, 2, 3, 1), dim=-1)
        p_classes = logits(self.backbone, unit, self.head.to(unit)).softmax(-1).permute(0, 3, 1, 2)
        if BACKGROUND in self.classes.names:
            b = objectness(g, p["background.weight"], p["background.bias"])
            background = (p_classes.amax(1) < self.method.delta) & (b <= 0)  # a logit of 0 is a probability of 1/2
            is_background = torch.arange(len(self.classes), device=g.device) == self.classes.names.index(BACKGROUND)
            p_classes = p_classes.masked_fill(background[:, None] & is_background[:, None, None], 1.0)
        return p_classes

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) log-probabilities at the pixels of the resized image."""
        windows, stride = self.method.windows, self.backbone.dense().strides[-1]

        def scores(x: Tensor) -> Tensor:
            with inference(run):
                return self.probabilities(x.to(run.device)).cpu()

        for i in range(len(images)):
            image = images[i]
            maps = slide(resized(image, windows.side), windows, self.backbone.spec.pixels, stride, scores)
            yield cells(maps.clamp_min(torch.finfo(maps.dtype).tiny).log(), (image.height, image.width), "log_prob")
