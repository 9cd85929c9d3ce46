"""FC-CLIP: one pass of a frozen convolutional CLIP gives both the features of masks and the classes of masks.

    F_4 .. F_32 = CLIP(x)                                                 once, frozen
    m, v, void  = queries of Mask2Former over the four maps               trained    (``nn.dense.mask_queries``)
    u_q         = g( mean over cells of F_32 where m_q > 0 )              frozen     (``nn.dense.mask_classes``)
    in_q, out_q = softmax of s v_q T^T, softmax of s' u_q T^T             best word of each class
    p_qk       ~= in_qk^(1 - a_k) out_qk^a_k,   a_k = alpha for trained classes, beta for others
    S_k(y)      = sum over q of (1 - void_q) p_qk sigmoid(m_q(y))

x: an image;  F_r: its map at a stride of r pixels;  y: a pixel;  Q masks, K classes, D dimensions of the embeddings
m: (Q, h, w) mask logits;  v: (Q, D) trained embeddings;  void: (Q,) probabilities of no class
g: CLIP's norm and projection;  u: (Q, D) frozen embeddings;  T: (W, D) unit embeddings of the classes' words
s, s': learnt scale, and CLIP's own
p: (Q, K) probabilities, divided by their sum over k;  S: (K, h, w) scores of pixels
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from diptych.core import Backbone, ClassNames, Evidence, FittedSegmenter, Kit, Regions, Run, Samples, Segmenter
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.data.pixels import normalise
from diptych.features.networks import inference
from diptych.features.released_tensors import check_released, frozen_apart, named_classes
from diptych.nn.dense.mask_classes import (
    LONGEST,
    as_pixels,
    crop_embeddings,
    fused,
    inside_cells,
    mask_regions,
    pooled_embeddings,
    unpadded,
    word_probabilities,
)
from diptych.nn.dense.mask_queries import MaskLayout, MaskQueries, four_maps, map_channels, opened, set_losses
from diptych.nn.dense.mask_training import ClassWords, check_labels, crop_view, seen_classes, trained_on, words_of
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit
from diptych.train.step import Step

LAYOUT = MaskLayout()


@dataclass(frozen=True)
class FCCLIP(Segmenter):
    """Train masks over the maps of a frozen CLIP, and classify them by what was trained and by CLIP itself.

    Args:
        alpha: weight of the frozen classifier for trained classes, in [0, 1] (default 0.4, the authors').
        beta: for other classes, in [0, 1] (default 0.8, the authors').
        side: shorter side of an image, in pixels, rounded to whole cells (the authors' is 800).
        longest: longer side at most, in pixels, rounded to whole cells (1333; the authors' 2560 for Cityscapes), >= 1.
        pads: pad the pixels with zeros up to whole cells, and resize the logits of masks to the photo, as the authors
            do; by default (False) the sides are rounded to whole cells, which takes less memory.
        empty: what names a mask without a cell on the last map: "trained", the trained classifier alone, as the authors
            do for ResNets, or "both", as they do for ConvNeXts.
        crop: side of the squares of the training, in pixels, rounded to whole cells (1024).
        zoom: a square is the shorter side of a photo divided by up to this, >= 1.
        layout: sizes of the networks; the defaults are for a core and minutes.
        steps: optimiser steps, >= 1 (368,750).
        batch: crops per step, >= 1 (16); fewer photos than that are one batch.
        rate: learning rate, > 0 (1e-4).
        classify: "pooled", one pass, or "crops", the second stage of earlier systems: every mask is cut out and goes
            through CLIP alone.

    Raises:
        UsageError: a number or word outside its range.

    Source: Yu et al. 2023 (arXiv 2308.02487), sections 3.2 and 3.3.

    Example:
        >>> import torch
        >>> from diptych.methods.segment.fc_clip import FCCLIP
        >>> FCCLIP().exponents((True, False))  # a class of the training, and another
        tensor([0.4000, 0.8000])
    """

    alpha: float = 0.4
    beta: float = 0.8
    side: int = 224
    longest: int = LONGEST
    pads: bool = False
    empty: Literal["trained", "both"] = "trained"
    crop: int = 128
    zoom: float = 2.0
    layout: MaskLayout = LAYOUT
    steps: int = 300
    batch: int = 4
    rate: float = 1e-3
    classify: Literal["pooled", "crops"] = "pooled"

    merges: ClassVar[Literal["before", "after"]] = "before"

    def __post_init__(self) -> None:
        check(self, between(0, 1), "alpha", "beta")
        check(self, at_least(1), "side", "longest", "crop", "zoom", "steps", "batch")
        check(self, above(0), "rate")
        check(self, one_of("pooled", "crops"), "classify")
        check(self, one_of("trained", "both"), "empty")

    def exponents(self, seen: tuple[bool, ...]) -> Tensor:
        """Return (K,) weights of the frozen classifier for marks of trained classes."""
        return torch.tensor([self.alpha if s else self.beta for s in seen])

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedFCCLIP:
        """Train on photos with masks; the last step counts. Only the backbone's maps are read, once a crop.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has no dense maps.
            MissingEvidence: there is no train table.
            DataError: the table has no masks, or one has a label that is no class.
            UnreadableItem: a photo or mask cannot be read.
        """
        backbone = kit.need(Backbone)
        dense = backbone.dense()
        table, trained = trained_on(evidence, classes)
        words = words_of(backbone, trained, run)
        with run.seeded("fc-clip"):
            net = MaskQueries(
                map_channels(backbone), backbone.text.dim, self.layout, float(backbone.scale()[0].detach())
            )

        def losses(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            check_labels(batch["labels"], len(trained))
            with torch.no_grad():
                maps = four_maps(dense, dense.maps(normalise(batch["pixels"], backbone.spec.pixels)))
            return set_losses(net, net(maps), batch["labels"], words.vectors, words.owner, self.layout)

        side = max(1, self.crop // dense.strides[-1]) * dense.strides[-1]
        step = Step(net, partial(crop_view, side=side, zoom=self.zoom), losses)
        settings = Fit(
            self.rate, min(self.batch, len(table)), steps=self.steps, betas=(0.9, 0.999), eps=1e-8, decay=0.05,
            clip=0.01,
        )  # fmt: skip
        learnt = train_parameters(step, table, settings, run)
        return FittedFCCLIP(
            classes, backbone, words_of(backbone, classes, run), trained, seen_classes(classes, trained), learnt, self
        )

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedFCCLIP:
        """Return the queries of a released file, with the classes of its training, which weigh the two classifiers."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        with torch.random.fork_rng(devices=[]):
            net = MaskQueries(map_channels(backbone), backbone.text.dim, self.layout)
        apart = frozen_apart(learnt, backbone, "The released file")
        state = check_released(apart, net.state_dict(), f"FC-CLIP on {backbone.spec.name}")
        words, seen = words_of(backbone, classes, run), (True,) * len(classes)
        return FittedFCCLIP(classes, backbone, words, classes, seen, state, self)


@dataclass(frozen=True)
class Masked:
    """What one pass says of the Q masks of an image.

    Args:
        inside: (Q, K) probabilities of the trained classifier, without void.
        outside: (Q, K) of the frozen one.
        held: (Q,) bool: masks with a cell on the last map or, where masks are cut out, with a pixel of the image. The
            embeddings of others are those of nothing.
        void: (Q,) probabilities of no class.
        masks: (Q, h, w) logits.
        size: (H, W) of the image, in pixels.
    """

    inside: Tensor
    outside: Tensor
    held: Tensor
    void: Tensor
    masks: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class FittedFCCLIP(FittedSegmenter):
    """Trained queries, and the words of the classes.

    Args:
        classes: K names.
        backbone: frozen.
        words: of the classes.
        trained: classes of the training.
        seen: K marks of classes that are among them.
        state: weights of the queries.
        method: the settings.
    """

    classes: ClassNames
    backbone: Backbone
    words: ClassWords
    trained: ClassNames
    seen: tuple[bool, ...]
    state: Mapping[str, Tensor]
    method: FCCLIP

    @cached_property
    def _network(self) -> MaskQueries:
        return opened(map_channels(self.backbone), self.backbone.text.dim, self.method.layout, self.state)

    def for_classes(self, classes: ClassNames, run: Run) -> FittedFCCLIP:
        """Return the segmenter of other classes, with the same masks."""
        words, seen = words_of(self.backbone, classes, run), seen_classes(classes, self.trained)
        return replace(self, classes=classes, words=words, seen=seen)

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the Q masks of each image, with the log-probabilities of K classes; the rest of each is void."""
        yield from map(self.mixed, self.passes(images, run))

    def mixed(self, seen: Masked) -> Regions:
        """Return the regions of an image: the two classifiers as one."""
        weights = self.method.exponents(self.seen).to(seen.outside)
        if self.method.empty == "trained":
            weights = weights * seen.held[:, None]
        p = fused(seen.inside, seen.outside, weights)
        return mask_regions(p, seen.void, seen.masks, seen.size, self.classes.things)

    def passes(self, images: Samples[Any], run: Run) -> Iterator[Masked]:
        """Yield what one pass of the backbone says of each image."""
        if not len(images):
            return
        net = self._network.to(run.device)
        for i in range(len(images)):
            with inference(run):
                seen = self._pass(net, images[i], run)
            yield seen

    def _pass(self, net: MaskQueries, image: Any, run: Run) -> Masked:
        dense = self.backbone.dense()
        x, pixels = as_pixels(image, self.method, dense.strides[-1], self.backbone.spec.pixels, run.device)
        maps = dense.maps(pixels)
        layer = net(four_maps(dense, maps))[-1]
        trained = net.logits(layer.vectors, self.words.vectors, self.words.owner)[0].float()
        size, seen = (image.height, image.width), (x.shape[1], x.shape[2])
        masks = layer.masks[0]
        if self.method.pads:
            masks = unpadded(masks.float(), (pixels.shape[2], pixels.shape[3]), seen, size)
        if self.method.classify == "crops":
            inside = inside_cells(masks[None].float(), seen)
            u = crop_embeddings(self.backbone, x, inside[0] > 0)
        else:
            inside = inside_cells(layer.masks, (maps[-1].shape[2], maps[-1].shape[3]))
            u = pooled_embeddings(dense, maps[-1], inside)[0]
        outside = word_probabilities(self.backbone, u, self.words)
        occupied = inside[0].any(dim=1).any(dim=1)
        return Masked(trained[:, :-1].softmax(-1), outside, occupied, trained.softmax(-1)[:, -1], masks, size)
