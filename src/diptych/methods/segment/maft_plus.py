"""MAFT+: CLIP's image tower is tuned so that masks are named as well as they fit, and text vectors see the image.

    X, X'  = last map of the tuned CLIP, of the frozen one
    m      = queries of Mask2Former over the tuned maps, which get no gradient from them    (``nn.dense.mask_queries``)
    q_i    = normalise g( mean over cells of X where m_i > 0 )
    T'     = T + LN( W attention(T, g(X)) )                                         (``nn.dense.content_transfer``)
    p_ik   = softmax over k of s max over words w of class k of q_i . T'_w
    S_k(y) = sum over i of (1 - void_i) p_ik sigmoid(m_i(y))

    L_mask-aware = mean over the images of a batch, their segments j and their masks i of SmoothL1( p_i,y(j), u_ij )
    u_ij         = IoU of sigmoid(m_i) with segment j, from 0 for the worst mask of an image to 1 for the best
    L_rc         = SmoothL1( R(X), R(X') ),   R: sums over rows and columns of relu(X), pooled to s x s, s in {1, 2, 4}
    L            = set losses of the queries + L_mask-aware + 0.1 L_rc

g: CLIP's norm and projection, frozen;  T: (W, D) unit embeddings of the words;  s: CLIP's scale;  K classes
void: (Q,) probability of the queries' own head that a mask is of no class;  y(j): class of segment j
Q masks of an image, D dimensions of the embeddings;  y: a pixel
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    FittedSegmenter,
    Kit,
    ParamGroup,
    Regions,
    Run,
    Samples,
    Segmenter,
    Table,
)
from diptych.core.ranges import above, at_least, check, wrong
from diptych.data.pixels import normalise
from diptych.features.networks import inference
from diptych.features.released_tensors import check_released, frozen_apart, named_classes
from diptych.features.strict_weights import load_tensors
from diptych.nn.dense.mask_classes import LONGEST, as_pixels, mask_regions, unpadded
from diptych.nn.dense.mask_queries import MaskLayout, four_maps, segments, set_losses
from diptych.nn.dense.mask_training import ClassWords, check_labels, crop_view, trained_on, words_of
from diptych.nn.dense.mask_tuning import TunedMasks, compensation, mask_aware_loss, scaled_iou
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit
from diptych.train.step import Step

LAYOUT = MaskLayout()
_FORM = "transfer.sum_normed"
"""Name of what only the network of the released code has."""


@dataclass(frozen=True)
class MAFTPlus(Segmenter):
    """Train masks, tune CLIP's image tower by how well the masks fit, and let class embeddings attend to the image.

    Args:
        side: shorter side of an image, in pixels, rounded to whole cells.
        longest: longer side at most, in pixels, rounded to whole cells, >= 1.
        pads: as in FC-CLIP: pad the pixels up to whole cells, as the authors do, and do not round the sides.
        panoptic: with ``pads``, resize the logits of masks to the photo, as the authors do for panoptic maps; for
            semantic ones (False) they resize what the classes have at the pixels that the network saw.
        crop: side of the squares of the training, in pixels, rounded to whole cells.
        zoom: a square is the shorter side of a photo divided by up to this, >= 1.
        layout: sizes of the networks of masks; the defaults are for a core and minutes.
        width: of the attention to the image, a multiple of ``heads`` (the authors': D).
        heads: of that attention, >= 1 (8).
        compensate: weight of L_rc, >= 0 (0.1).
        steps: optimiser steps of the masks alone, over the frozen tower, >= 0 (none).
        tuning: optimiser steps of all together, >= 1 (55,000).
        batch: crops per step, >= 1 (8); fewer photos than that are one batch.
        rate: learning rate, > 0 (1e-4).
        tower_rate: factor of it for CLIP's image tower, > 0 (0.1).

    Raises:
        UsageError: a number outside its range.

    Source: Jiao et al. 2024 (arXiv 2408.00744), section 3.

    Example:
        >>> import torch
        >>> from diptych.nn.dense.mask_tuning import compensation
        >>> compensation(torch.ones(1, 1, 4, 4)).shape  # sums of grids of 1, 2 and 4 cells per side, both ways
        torch.Size([1, 14])
    """

    side: int = 224
    longest: int = LONGEST
    pads: bool = False
    panoptic: bool = False
    crop: int = 128
    zoom: float = 2.0
    layout: MaskLayout = LAYOUT
    width: int = 64
    heads: int = 8
    compensate: float = 0.1
    steps: int = 300
    tuning: int = 100
    batch: int = 4
    rate: float = 1e-3
    tower_rate: float = 0.1

    merges: ClassVar[Literal["before", "after"]] = "before"

    def __post_init__(self) -> None:
        check(self, at_least(1), "side", "longest", "crop", "zoom", "heads", "tuning", "batch")
        check(self, at_least(0), "compensate", "steps")
        check(self, above(0), "rate", "tower_rate")
        if self.width < 1 or self.width % self.heads:
            raise wrong(self, "width", f"a multiple of heads={self.heads}")

    def fits(self, masks: Tensor, truth: Tensor) -> Tensor:
        """Return (n, Q) u of (Q, H, W) mask probabilities and (n, H, W) segments of one image."""
        return torch.stack([scaled_iou(masks, one) for one in truth])

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedMAFTPlus:
        """Train on photos with masks; the last step counts. The backbone itself stays as it is.

        Memory: a second copy of the backbone.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has no dense maps, or cannot be rebuilt.
            MissingEvidence: there is no train table.
            DataError: the table has no masks, or one has a label that is no class.
            UnreadableItem: a photo or mask cannot be read.
        """
        backbone = kit.need(Backbone)
        backbone.dense()
        table, trained = trained_on(evidence, classes)
        words = words_of(backbone, trained, run)
        tuned = self.masks(backbone, table, words, run)
        learnt = self.tune(tuned, table, words, run)
        return FittedMAFTPlus(classes, backbone, words_of(backbone, classes, run), learnt, self)

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedMAFTPlus:
        """Return the network of a released file, whose attention of class embeddings is the released code's."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        with torch.random.fork_rng(devices=[]):
            like = self.network(backbone, released=True)
        inside = like.state_dict()
        wanted = {name: inside[name] for name in (*like.heads(), *like.tower(), _FORM)}
        apart = frozen_apart(learnt, backbone, "The released file")
        state = check_released(apart, wanted, f"MAFT+ on {backbone.spec.name}")
        return FittedMAFTPlus(classes, backbone, words_of(backbone, classes, run), state, self)

    def network(self, backbone: Backbone, *, released: bool = False) -> TunedMasks:
        """Return the network before it learns; its first weights are from torch's global generator."""
        return TunedMasks(backbone, self.layout, self.width, self.heads, reference=released)

    def masks(self, backbone: Backbone, table: Table[Any], words: ClassWords, run: Run) -> TunedMasks:
        """Train the queries alone, over the frozen tower."""
        with run.seeded("maft-plus"):
            tuned = self.network(backbone)
        if not self.steps:
            return tuned
        queries = tuple(n for n in tuned.heads() if n.startswith("queries."))

        def losses(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            with torch.no_grad():
                maps = tuned.frozen.dense().maps(normalise(batch["pixels"], backbone.spec.pixels))
            return self._set_losses(tuned, maps, batch["labels"], words)[0]

        train_parameters(
            Step(tuned, self._view(backbone), losses, [ParamGroup(queries)]), table, self._settings(table, self.steps),
            run, (),
        )  # fmt: skip
        return tuned

    def tune(self, tuned: TunedMasks, table: Table[Any], words: ClassWords, run: Run) -> dict[str, Tensor]:
        """Train queries, tower and attention together. Modified in place.

        Returns:
            What was learnt, by its names in ``TunedMasks``.
        """
        heads, tower = tuned.heads(), tuned.tower()
        step = Step(
            tuned,
            self._view(tuned.frozen),
            lambda batch: self._losses(tuned, batch, words),
            [ParamGroup(heads), ParamGroup(tower, lr=self.tower_rate)],
        )
        return train_parameters(step, table, self._settings(table, self.tuning), run, (*heads, *tower))

    def _settings(self, table: Table[Any], steps: int) -> Fit:
        batch = min(self.batch, len(table))
        return Fit(self.rate, batch, steps=steps, betas=(0.9, 0.999), eps=1e-8, decay=2e-5, clip=0.01)

    def _view(self, backbone: Backbone) -> Any:
        stride = backbone.dense().strides[-1]
        return partial(crop_view, side=max(1, self.crop // stride) * stride, zoom=self.zoom)

    def _set_losses(
        self, tuned: TunedMasks, maps: Sequence[Tensor], labels: Tensor, words: ClassWords
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses of the queries over detached maps, and the last layer's masks."""
        check_labels(labels, int(words.owner.max()) + 1)
        layers = tuned.queries(four_maps(tuned.space.dense(), [m.detach() for m in maps]))
        losses = set_losses(tuned.queries, layers, labels, words.vectors, words.owner, self.layout)
        return losses, layers[-1].masks.detach()

    def _losses(self, tuned: TunedMasks, batch: Mapping[str, Tensor], words: ClassWords) -> dict[str, Tensor]:
        labels, x = batch["labels"], normalise(batch["pixels"], tuned.frozen.spec.pixels)
        tuned.space.module().eval()
        maps = tuned.space.dense().maps(x)
        losses, masks = self._set_losses(tuned, maps, labels, words)
        p, held = tuned.probabilities(maps[-1], masks, words)
        full = F.interpolate(masks.sigmoid(), labels.shape[2:], mode="bilinear", align_corners=False)
        pairs = []
        for one, soft, cells, truth in zip(p, full, held, labels, strict=True):
            shapes, names = segments(truth)
            if len(names) and bool(cells.any()):
                pairs.append((one[:, names].T[:, cells].flatten(), self.fits(soft, shapes)[:, cells].flatten()))
        matched = [torch.cat(parts) for parts in zip(*pairs, strict=True)]
        losses["mask_aware"] = mask_aware_loss(*matched) if pairs else maps[-1].sum() * 0
        with torch.no_grad():
            before = compensation(tuned.frozen.dense().maps(x)[-1])
        losses["compensation"] = self.compensate * F.smooth_l1_loss(compensation(maps[-1]), before)
        return losses


@dataclass(frozen=True)
class FittedMAFTPlus(FittedSegmenter):
    """A tuned tower, queries and attention, and the words of the classes.

    Args:
        classes: K names.
        backbone: from which the tower was tuned.
        words: of the classes.
        state: what was learnt, by its names in ``TunedMasks``.
        method: the settings.
    """

    classes: ClassNames
    backbone: Backbone
    words: ClassWords
    state: Mapping[str, Tensor]
    method: MAFTPlus

    @cached_property
    def tuned(self) -> TunedMasks:
        """The network with what was learnt, made when it is first asked for.

        Raises:
            DataError: it is not what this network learns: tensors are missing, unexpected or of another shape.
        """
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global generator
            module = self.method.network(self.backbone, released=_FORM in self.state)
        names = (*module.heads(), *module.tower(), *((_FORM,) if module.reference else ()))
        load_tensors(module, self.state, names)
        return module.eval().requires_grad_(False)

    def for_classes(self, classes: ClassNames, run: Run) -> FittedMAFTPlus:
        """Return the segmenter of other classes, with the same masks and tower."""
        return replace(self, classes=classes, words=words_of(self.backbone, classes, run))

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the Q masks of each image, with the log-probabilities of K classes; the rest of each is void."""
        for i in range(len(images)):
            image = images[i]
            with inference(run):
                p, void, masks = self.classified(image, run)
            yield mask_regions(p, void, masks, (image.height, image.width), self.classes.things)

    def classified(self, image: Any, run: Run) -> tuple[Tensor, Tensor, Tensor]:
        """Return (Q, K) probabilities without void, (Q,) of void, and (Q, h, w) mask logits of an image."""
        tuned = self.tuned.to(run.device)
        dense = tuned.space.dense()
        x, pixels = as_pixels(image, self.method, dense.strides[-1], self.backbone.spec.pixels, run.device)
        maps = dense.maps(pixels)
        layer = tuned.queries(four_maps(dense, maps))[-1]
        of_layer = tuned.queries.logits(layer.vectors, self.words.vectors, self.words.owner)[0].float().softmax(-1)
        p, _ = tuned.probabilities(maps[-1].float(), layer.masks.float(), self.words)
        masks = layer.masks[0]
        if self.method.pads:
            whole, seen = (pixels.shape[2], pixels.shape[3]), (x.shape[1], x.shape[2])
            photo = (image.height, image.width) if self.method.panoptic else seen
            masks = unpadded(masks.float(), whole, seen, photo)
        return p[0], of_layer[:, -1], masks
