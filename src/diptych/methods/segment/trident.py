"""Trident splices the last features of CLIP's windows into one map, averages what SAM holds together, then classifies.

    u      = W_o ( R W_v LN1(x) )                                   of each window, without residual and MLP
    U      = mean over windows of u, at their place                 splice
    F      = M U                                                    aggregate over the whole image
    P      = softmax( scale normalise(W_proj LN_post(F)) T^T )      segment
    P'     = SAM's masks of the parts of P                          refine, where a SAM is at hand

Sizes: n patches of a window, N cells of the image, C dimensions of the tokens, D of the embeddings, K classes
x: (n, C) tokens of CLIP's patches before the last block;  W_v, W_o: value and output projections of its attention
R: (n, n) affinities of a guide's patches in the window (``nn.dense.affinity``): DINO in the paper
U: (C, h, w) map of the image;  F: (C, h', w') map on the grid of M, to which U is resized bilinearly
M: (N, N) affinities over the image, of SAM's last attention or of proposed regions
T: (K, D) unit class embeddings
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    FittedSegmenter,
    Kit,
    MaskProposer,
    MissingHook,
    PromptableMasks,
    Regions,
    Run,
    Samples,
    Segmenter,
    Space,
)
from diptych.core.ranges import above, at_least, check, one_of
from diptych.data.pixels import normalise
from diptych.features.heads import text_head
from diptych.features.networks import inference
from diptych.nn.dense.affinity import (
    correlation,
    guide_affinity,
    last_attention,
    mixed_values,
    region_means,
    smallest_regions,
    spliced,
)
from diptych.nn.dense.label_maps import TOGETHER, Windows, bounded_size, cells, resized, upsampled
from diptych.nn.dense.patches import cell_embeddings, check_patches, token_embeddings
from diptych.nn.dense.prompted import Refinement, refined

WINDOWS = Windows(448, 336, 224)
"""Trident's for COCO."""
Aggregate = Literal["auto", "attention", "regions", "none"]
"""Where M is from.

- "auto": SAM's attention where the kit has a SAM, else proposed regions.
- "attention": SAM's.
- "regions": of a mask proposer; each cell is in the smallest of its regions.
- "none": M is the identity on the grid of U.
"""


def canvas_size(height: int, width: int, patch: int, least: int) -> tuple[int, int]:
    """Return the (height, width) at which an image is cut into windows: whole patches, at least ``least`` a side.

    A size of whole patches stays. Otherwise the longer side is rounded up to whole patches, the other one grows by the
    same factor, and is rounded up too.

    Args:
        height: of the resized image, in pixels.
        width: of it, in pixels.
        patch: side of a patch, in pixels.
        least: side of a window, in pixels.

    Source: the authors' preprocessing.

    Example:
        >>> canvas_size(448, 597, 16, 336)
        (464, 608)
    """
    longer = max(height, width)
    up = -(-longer // patch) * patch
    if height % patch or width % patch:
        height, width = (-(-(side * up // longer) // patch) * patch for side in (height, width))
    return max(least, height), max(least, width)


@dataclass(frozen=True)
class Trident(Segmenter):
    """Splice the windows of CLIP guided by a second encoder, aggregate over the image, segment, and refine.

    The kit's part "teacher" (a ``Space``) is the guide. "masks" (``PromptableMasks``), where given, refines, and "sam"
    (the ``Space`` of its encoder) aggregates; without them a ``MaskProposer`` named "proposer" does. Settings that the
    authors change by data set are fields; each names theirs.

    Args:
        windows: shorter side of the resize, window and stride, in pixels; the last two are rounded down to whole
            patches (the authors' sides are 336 for VOC-20, 448 VOC-21 and COCO, 576 Context and ADE, 688 Cityscapes;
            stride 112 for VOC-20).
        beta: factor of the mean cosine in R, >= 0.
        gamma: inverse temperature of R, > 0.
        scale: of the cosines in the softmax, > 0; None: the backbone's own.
        aggregate: where M is from.
        cosine_factor: c of ``nn.dense.affinity`` (0 for VOC-20, 3 for Cityscapes), >= 0.
        negative: threshold in place of a negative tau (0.6 for Cityscapes and ADE); None: it stays.
        columns: parts of the image that SAM aggregates one by one, side by side, >= 1 (2 for Cityscapes).
        refinement: of the prompts (coarse 0.15 for Context, 0.25 COCO objects, 0.05 COCO-Stuff and ADE, 0.1
            Cityscapes); None: P stays as it is.
        splice: "features" (the paper), or "scores": each window is classified alone and the scores are averaged,
            without aggregation.

    Raises:
        UsageError: a number or word outside its range.

    Source: Shi et al. 2024 (arXiv 2411.09219), section 3.

    Example:
        >>> import torch
        >>> from diptych.nn.dense.affinity import spliced
        >>> left, right = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[3.0, 3.0]]])  # two windows of two cells
        >>> spliced([(left, 0, 0), (right, 0, 1)], 1, 3)  # they share the cell in the middle
        tensor([[[1., 2., 3.]]])
    """

    windows: Windows = WINDOWS
    beta: float = 1.2
    gamma: float = 3.0
    scale: float | None = 40.0
    aggregate: Aggregate = "auto"
    cosine_factor: float = 1.2
    negative: float | None = None
    columns: int = 1
    refinement: Refinement | None = field(default_factory=Refinement)
    splice: Literal["features", "scores"] = "features"

    def __post_init__(self) -> None:
        check(self, at_least(0), "beta", "cosine_factor")
        check(self, above(0), "gamma", "scale")
        check(self, at_least(1), "columns")
        check(self, one_of("auto", "attention", "regions", "none"), "aggregate")
        check(self, one_of("features", "scores"), "splice")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedTrident:
        """Embed the class texts.

        Memory: SAM's attention takes 4 heads N^2 bytes twice, 1.6 GB for ViT-B on 64 x 64 cells.

        Raises:
            MissingPart: the kit has no backbone, no guide, or nothing to aggregate by.
            MissingHook: the backbone has neither an image tower nor dense maps, or the guide no dense maps.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        guide = kit.need(Space, "teacher")
        guide.dense()
        attention = self.aggregate == "attention" or (self.aggregate == "auto" and "sam" in kit.parts)
        regions = self.aggregate == "regions" or (self.aggregate == "auto" and not attention)
        return FittedTrident(
            classes,
            backbone,
            text_head(backbone, classes.prompts(), run),
            self,
            guide,
            kit.need(Space, "sam") if attention else None,
            kit.need(MaskProposer, "proposer") if regions else None,
            kit.need(PromptableMasks, "masks") if self.refinement and "masks" in kit.parts else None,
        )


@dataclass(frozen=True)
class FittedTrident(FittedSegmenter):
    """A text head, and the parts that guide, aggregate and refine.

    Args:
        classes: K names.
        backbone: CLIP.
        head: (K, D) unit class embeddings.
        method: the settings.
        guide: of the windows.
        sam: its attention aggregates; None: regions or nothing.
        proposer: its regions aggregate; None: SAM or nothing.
        masks: refines; None: P stays as it is.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    method: Trident
    guide: Space
    sam: Space | None = None
    proposer: MaskProposer | None = None
    masks: PromptableMasks | None = None

    def features(self, x: Tensor, run: Run) -> list[tuple[Tensor, int, int]]:
        """Return u of each window with the row and column of its first cell.

        Args:
            x: (3, H, W) in [0, 1], sides whole numbers of patches and at least a window.
            run: device.
        """
        windows, cell = self._windows(), self._cell()
        spans = list(product(windows.spans(x.shape[1]), windows.spans(x.shape[2])))
        every = torch.stack([x[:, top:bottom, left:right] for (top, bottom), (left, right) in spans])
        cuts = torch.split(every, TOGETHER)
        guides = [self._guide(some.to(run.device)) for some in cuts]
        grid = (guides[0].shape[2], guides[0].shape[3])
        units = [F.normalize(m.flatten(2), dim=1) for m in guides]
        # the mean of all cosines of a window is the squared length of the mean of its unit vectors
        mean = float(torch.cat([(u.mean(2) ** 2).sum(1) for u in units]).mean())
        size, total = (windows.window // cell, windows.window // cell), list[Tensor]()
        for some, m, unit in zip(cuts, guides, units, strict=True):
            r = torch.stack([guide_affinity(u.T @ u, mean, self.method.beta, self.method.gamma) for u in unit])
            u = self._mixed(some.to(run.device), m, r, grid).float()
            total += u if grid == size else F.interpolate(u, size, mode="bilinear")
        return [(u, top // cell, left // cell) for u, ((top, _), (left, _)) in zip(total, spans, strict=True)]

    def _mixed(self, cuts: Tensor, guides: Tensor, r: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return u, (B, C, h, w), of windows in [0, 1]; without a tower, cells of the last map stand for the values."""
        pixels = normalise(cuts, self.backbone.spec.pixels)
        try:
            return mixed_values(self.backbone.tower("image"), pixels, r, grid)
        except MissingHook:
            # a backbone that guides itself has these cells already
            m = guides if self.guide is self.backbone else self.backbone.dense().maps(pixels)[-1].float()
        values = F.interpolate(m, grid, mode="bilinear").flatten(2)
        return (values @ r.to(values).mT).reshape(len(m), -1, *grid)

    def scores(self, m: Tensor) -> Tensor:
        """Return (K, h, w) logits of features (C, h, w)."""
        try:
            tower = self.backbone.tower("image")
        except MissingHook:
            embedded = cell_embeddings(self.backbone.dense(), m[None])[0]
        else:
            tokens = m.flatten(1).T[None]
            embedded = token_embeddings(tower, tokens)[0].T.reshape(-1, *m.shape[1:])
        scale = self.backbone.scale()[0].detach().to(m) if self.method.scale is None else self.method.scale
        with torch.autocast(m.device.type, enabled=False):
            return scale * torch.einsum("kd,dhw->khw", self.head.to(m.device), F.normalize(embedded.float(), dim=0))

    def aggregated(self, image: Any, canvas: Tensor, run: Run) -> Tensor:
        """Return F = M U, (C, h, w), on the grid of M, of an image or a part of it; U where nothing aggregates.

        Args:
            image: of which M is.
            canvas: U, (C, h', w'), evenly over the image.
            run: device.
        """
        if self.sam is None and self.proposer is None:
            return canvas
        if self.proposer is not None:
            masks = smallest_regions(self.proposer.propose(image).masks.to(run.device))
            return region_means(F.interpolate(canvas[None], masks.shape[1:], mode="bilinear")[0], masks)
        m, grid = self.attention(image, run)
        u = F.interpolate(canvas[None], grid, mode="bilinear")[0]
        return (u.flatten(1) @ m.to(u).T).reshape(-1, *grid)

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) logits, or log-probabilities where a SAM refined."""
        for i in range(len(images)):
            with inference(run):
                proposed = self._regions(images[i], run)
            yield proposed

    def _regions(self, image: Any, run: Run) -> Regions:
        patch, windows, cell = self.backbone.dense().strides[-1], self._windows(), self._cell()
        x = resized(image, self.method.windows.side)
        height, width = canvas_size(x.shape[1], x.shape[2], patch, windows.window)
        x = F.interpolate(x[None], (height, width), mode="bilinear", align_corners=False)[0]
        parts, grid = self.features(x, run), (height // cell, width // cell)
        if self.method.splice == "scores":
            maps = spliced([(self.scores(u), top, left) for u, top, left in parts], *grid)
        else:
            maps = self._segmented(image, spliced(parts, *grid), run)
        maps, size = maps.float().cpu(), (image.height, image.width)
        if self.masks is None or self.method.refinement is None:
            return cells(maps, size)
        half = bounded_size(*size, max(1, min(size) // 2))
        p = refined(image, upsampled(maps, *half, 0, half[0]).softmax(0), self.masks, self.method.refinement)
        return cells(p.clamp_min(torch.finfo(p.dtype).tiny).log(), size, "log_prob")

    def _segmented(self, image: Any, canvas: Tensor, run: Run) -> Tensor:
        """Return (K, h, w) logits of the aggregated features, column by column."""
        count, maps = self.method.columns if self.sam is not None else 1, []
        for n in range(count):
            left, right = (image.width * k // count for k in (n, n + 1))
            first, last = (canvas.shape[2] * k // count for k in (n, n + 1))
            part = image if count == 1 else image.crop((left, 0, right, image.height))
            of_part = canvas[:, :, first:last]
            maps.append(self.scores(self.aggregated(part, of_part, run)))
        return torch.cat(maps, dim=2)

    def attention(self, image: Any, run: Run) -> tuple[Tensor, tuple[int, int]]:
        """Return M, (N, N), of SAM's last attention, and its grid.

        The longer side is SAM's own, zeros are right and below, and M is cut to the image.
        """
        assert self.sam is not None
        recipe = self.sam.spec.pixels
        height, width = bounded_size(image.height, image.width, recipe.size, recipe.size)
        x = resized(image, min(height, width))  # a rounded side may differ by a pixel
        x = normalise(F.interpolate(x[None], (height, width), mode="bilinear", align_corners=False), recipe)
        x = F.pad(x, (0, recipe.size - width, 0, recipe.size - height)).to(run.device)
        patch = self.sam.dense().strides[-1]
        w, v, grid = last_attention(self.sam, x, (-(-height // patch), -(-width // patch)))
        return correlation(w, v, self.method.cosine_factor, self.method.negative), grid

    def _guide(self, cuts: Tensor) -> Tensor:
        """Return (B, C, h, w) patches of the guide in windows of (B, 3, H, W) in [0, 1]."""
        dense = self.guide.dense()
        stride = dense.strides[-1]
        height, width = (max(stride, round(side / stride) * stride) for side in cuts.shape[2:])
        x = F.interpolate(cuts, (height, width), mode="bilinear", align_corners=False)
        return dense.maps(normalise(x, self.guide.spec.pixels))[-1].float()

    def _cell(self) -> int:
        """Return the pixels of a cell of U: the guide's patch where it divides the backbone's, else the backbone's."""
        patch, guide = self.backbone.dense().strides[-1], self.guide.dense().strides[-1]
        return guide if patch % guide == 0 else patch

    def _windows(self) -> Windows:
        """Return windows and strides of whole patches."""
        patch, windows = self.backbone.dense().strides[-1], self.method.windows
        window, stride = (max(patch, length // patch * patch) for length in (windows.window, windows.stride))
        return Windows(windows.side, window, stride)
