"""A-CLIP drops the image patches to which a slow copy of the tower attends least, and trains on what is left.

    a_p      = mean over blocks and heads of the slow copy's attention of CLS to patch p
    keep     = the floor(n (1 - r)) + 1 blocks of patches whose mean a_p is largest, of n blocks of 2 x 2 patches
    L        = 1/2 L_clip(view 1) + 1/2 L_clip(view 2) + w_s L_simclr + w_b L_byol
    L_simclr = NT-Xent of g(h_1) and g(h_2), at temperature tau
    L_byol   = mean over v of  2 - 2 cos( q(f(h_v)), f'(h') )

After each step:

    slow <- m slow + (1 - m) online

r: share that is dropped
view 1, view 2: two random crops of an image, of which the kept patches alone pass the blocks
h_v: (C,) pooled vector of a view; h': that of the slow copy, for one crop that covers both, with all patches
L_clip: CLIP's loss of a view and the caption, see ``clip_loss``
f, g, q: projectors and predictor, small networks with batch norm; f': slow copy of f
m: momentum, which rises to 1 along a cosine

One pass of the slow copy gives a and h'. With r = 0, w_s = w_b = 0 and the whole image as both views it is CLIP's loss.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from diptych.backbones.towers.edits import keep_patches
from diptych.backbones.towers.image import ImageTower
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Embedded,
    Evidence,
    Kit,
    Learns,
    MissingHook,
    ParamGroup,
    Recipe,
    Row,
    Run,
    Space,
    Stage,
    State,
    Trainee,
    UsageError,
)
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.core.train import everything
from diptych.data.pixels import normalise
from diptych.nn.contrastive import contrastive
from diptych.nn.crop_views import CoveredCrops, recolour
from diptych.nn.dense.attention_maps import carried, cls_attention, kept_patches
from diptych.nn.teacher import Teacher, cosine_momentum
from diptych.nn.view_losses import ViewHeads
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee, Read, View, drawn_caption, item

VIEWS = ("view-0", "view-1")
_IMAGE = ("visual.", "vision_model.")
_SHARED = re.compile("token_embedding|positional_embedding|position_embedding|ln_final|final_layer_norm|logit_scale")
"""Parts of the text tower of which the authors keep no slow copy, and the scale."""


class AttentiveTrainee(PairTrainee):
    """Trains pairs on crops whose patches a slow copy of the space chooses; see ``PairTrainee``.

    ``seen`` is the number of tokens of a view that passed the blocks in the last batch, CLS included.
    """

    def __init__(self, recipe: ACLIP, space: Backbone, run: Run, learns: Learns) -> None:
        read: dict[str, Read | View] = {"text": drawn_caption, **dict.fromkeys(VIEWS, View("image", item))}
        super().__init__(space, None, run, read=read, learns=learns)
        self.recipe = r = recipe
        self.tower, side = _image_tower(self.space), space.image.size or 0
        patch, self.seen = self.tower.patch[0], 0
        self.grid = (side // patch, side // self.tower.patch[1])
        self.block = _block(r.block, self.grid)
        self.still = set(self.tower.patch_layer.parameters()) if r.freeze_patches else set()
        with run.seeded("views"):
            self.view_heads = ViewHeads(self.tower.width, r.hidden, r.out, gather(run.world))
        self._module["views"] = self.view_heads
        self.student = nn.ModuleDict({"space": self.space.module(), "projector": self.view_heads.projector})
        self.teacher = Teacher(self.student, copied=_copied)
        self._module["teacher"] = self.teacher
        self.slow = space.rebuild(self.teacher.network.get_submodule("space"), space.spec)
        self.slow_tower = _image_tower(self.slow)
        colours = recolour(side, blur=0.1, solarise=0.2) if r.recolour else None
        self.crops = CoveredCrops(2, r.scale, side, patch * max(1, round(self.grid[0] * r.slow_side)), colours)

    def groups(self) -> list[ParamGroup]:
        """Return the groups of what is outside the slow copy, and outside the patch embedding if that is frozen."""
        parameters = dict(self._module.named_parameters())
        return [
            replace(g, names=tuple(n for n in g.names if n[:8] != "teacher." and parameters[n] not in self.still))
            for g in super().groups()
        ]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return a drawn caption, two crops, the slow copy's crop that covers both, and their boxes in it."""
        crops, slow, boxes = self.crops(row.item)
        return {"text": self.read["text"].read(row, g), "crops": crops, "slow": slow, "boxes": boxes}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the text's inputs, (B, 2, 3, S, S) and (B, 3, S', S') normalised pixels, and (B, 2, 4) boxes."""
        batch = {n: torch.stack([v[n] for v in views]) for n in ("crops", "slow", "boxes")}
        pixels = {n: normalise(batch[n], self.space.spec.pixels) for n in ("crops", "slow")}
        return {**batch, **pixels, "text": self.space.encoders["text"].inputs([v["text"] for v in views])}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted terms "view-0", "view-1", "simclr" and "byol"; those of weight 0 are left out."""
        r, attention, target = self.recipe, None, None
        if r.byol or self.looks:
            with torch.no_grad():
                attention, pooled = cls_attention(self.slow_tower, batch["slow"])
                target = self.teacher.network.get_submodule("projector")(pooled)
        scores = self.scores(attention if self.looks else None, batch["boxes"], clock)
        h = self._pooled(batch["crops"].transpose(0, 1).flatten(0, 1), scores.flatten(0, 1))
        vectors = dict(zip(VIEWS, self.tower.project(h).float().chunk(2), strict=True))
        vectors["text"] = self.space.encoders["text"].encode(batch["text"])
        e = Embedded(vectors, self.scale, gather(self.run.world), self.run.world.rank)
        out = {v: contrastive(e, (v, "text")) / 2 for v in VIEWS}
        if r.simclr:
            out["simclr"] = r.simclr * self.view_heads.contrasted(h, r.temperature, e)
        if r.byol and target is not None:
            out["byol"] = r.byol * self.view_heads.predicted(h, target)
        return out

    @property
    def looks(self) -> bool:
        """Whether the slow copy's attention is read."""
        return self.recipe.drop > 0

    def scores(self, attention: Tensor | None, boxes: Tensor, clock: Clock) -> Tensor:
        """Return the (2, B, h, w) scores of the patches of both views, of which the largest stay.

        Args:
            attention: (B, h', w') of the slow copy; None where it is not read.
            boxes: (B, 2, 4) of the views in the slow copy's crop.
            clock: its generator is for scores that are drawn.
        """
        if attention is None:
            return boxes.new_zeros(2, len(boxes), *self.grid)
        return torch.stack([carried(attention, of_view, self.grid) for of_view in boxes.unbind(1)])

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Move the slow copy after a step."""
        super().after(what, clock)
        if what == "step":
            self.teacher.follow(self.student, self.momentum(clock.step, clock.steps))

    def momentum(self, step: int, steps: int) -> float:
        """Return m of a step: on a cosine, once (1 + t) / (10 + t) has come to its start, and that share until then.

        So the average of a short training is not that of its start.
        """
        first = (1 + step) / (10 + step)
        return first if first < self.recipe.momentum else cosine_momentum(self.recipe.momentum, step, steps)

    def trained(self) -> Space:
        """Return the slow copy of the space, or the online one."""
        result = self.space if self.recipe.result == "online" else self.slow
        return result.rebuild(copy.deepcopy(result.module()), result.spec)

    def _pooled(self, pixels: Tensor, scores: Tensor) -> Tensor:
        """(2 B, 3, S, S) and (2 B, h, w) to (2 B, C)."""
        keep = kept_patches(scores, self.recipe.drop, self.block)

        def drop(stage: Stage, i: int, s: State) -> State:
            return keep_patches(s, keep) if stage == "positioned" and keep.shape[1] < scores[0].numel() else s

        s = self.tower.start(pixels, edit=drop)
        self.seen = s.h.shape[1]
        return self.tower.pooled(self.tower.blocks(s))


@dataclass(frozen=True)
class ACLIP(Recipe):
    """Train pairs on half of the patches of two crops, with two self-supervised losses.

    Use it for a ViT with a CLS token that is trained from random weights, or for long. The slow copy sees whole crops
    without gradient: on a CPU a step took 1.2 to 1.3 times that of CLIP's loss, and 1.0 to 1.2 times in the efficient
    form.

    Args:
        drop: r, share of the patches that is dropped, in [0, 1); 0.5 (the paper's). 0 drops nothing.
        block: side in patches of the blocks that stay or go together; None (default): 2 (the paper's) where it divides
            the grid, and 1 elsewhere.
        scale: range of the share of an image's area in a crop, in (0, 1]; (0.5, 1.0) (the paper's).
        recolour: whether the two views also get other colours; True (the paper's).
        slow_side: side of the slow copy's input, as a share of the tower's, in (0, 1]; 1.0, and 0.5 for the paper's
            efficient form.
        simclr: w_s, >= 0; 1.0 (the authors').
        byol: w_b, >= 0; 2.0 (the authors').
        temperature: tau, divides the cosines of NT-Xent, > 0; 0.1 (the authors').
        hidden: width of the projectors' layers; 4096 (the authors').
        out: width of what they return; 256 (the authors').
        momentum: m at the start, in [0, 1]; 0.996 (the authors').
        freeze_patches: whether the patch embedding stays as it is; True (the authors').
        result: "slow" or "online", the copy that is returned; "slow" (the one of the published numbers).

    Raises:
        UsageError: a setting is out of its range.

    Source: Yang et al. 2022, section 3; the authors' code for the heads and their weights.

    Example:
        Of 14 x 14 patches, 25 of 49 blocks stay, which are 100 patches:

        >>> kept_patches(torch.rand(1, 14, 14), drop=ACLIP().drop, block=2).shape
        torch.Size([1, 100])
    """

    passes_once: ClassVar[bool] = True
    drop: float = 0.5
    block: int | None = None
    scale: tuple[float, float] = (0.5, 1.0)
    recolour: bool = True
    slow_side: float = 1.0
    simclr: float = 1.0
    byol: float = 2.0
    temperature: float = 0.1
    hidden: int = 4096
    out: int = 256
    momentum: float = 0.996
    freeze_patches: bool = True
    result: Literal["slow", "online"] = "slow"

    trainee: ClassVar[type[AttentiveTrainee]] = AttentiveTrainee

    def __post_init__(self) -> None:
        check(self, between(0, 1, "[)"), "drop")
        check(self, between(0, 1, "(]"), "scale", "slow_side")
        check(self, at_least(0), "simclr", "byol")
        check(self, at_least(1), "block", "hidden", "out")
        check(self, above(0), "temperature")
        check(self, between(0, 1), "momentum")
        check(self, one_of("slow", "online"), "result")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingHook: the image tower cannot be cut in blocks, has no CLS token, or takes vectors as images.
            UsageError: the blocks do not divide the grid of patches.
        """
        yield self.trainee(self, kit.need(Backbone), run, learns)


def _image_tower(space: Space) -> ImageTower:
    tower = space.tower("image")
    if not isinstance(tower, ImageTower) or tower.prefix() is None:
        raise MissingHook(
            f"A-CLIP reads the attention of the CLS token, and the image tower of {space.spec.name} has none: use a "
            f"CLIP ViT, such as tiny."
        )
    return tower


def _block(block: int | None, grid: tuple[int, int]) -> int:
    """Return the side of a block that divides the grid."""
    block = block or (2 if grid[0] % 2 == grid[1] % 2 == 0 else 1)
    if grid[0] % block or grid[1] % block:
        raise UsageError(f"block must divide the grid of {grid[0]} x {grid[1]} patches, got {block}: give 1 or None.")
    return block


def _copied(name: str) -> bool:
    """Whether a tensor of the slow copy is always that of the online one."""
    part = name.removeprefix("space.")
    return not part.startswith(_IMAGE) and _SHARED.search(part) is not None
