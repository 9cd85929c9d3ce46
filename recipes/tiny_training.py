"""What ``tiny`` learns from, and how: the stages of its training, and the trainee that the one loop drives.

A batch holds composed scenes, and photos whose "caption" is an ImageNet class drawn from Lite0's own top five. Beside
the contrastive term, a linear layer names colour and shape under each patch token, and of the one object of a scene
from CLS: the ground truth of scenes is dense, and a small ViT learns shape from it many times faster than from
captions. The photos carry two distillation terms: Lite0's pooled vector and its map, each predicted by a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.towers.edits import keep_patches
from diptych.core import Backbone, Clock, Embedded, Row, Run
from diptych.data.scenes.compose import Scene, SceneRecipe, hold_out, scene
from diptych.data.scenes.sprites import SpriteBank
from diptych.data.words.sentences import article
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee
from diptych.train.schedule import Fit
from recipes.scene_probes import HELD_OUT_SHARE

MODEL: Mapping[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 192, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
}
GRID = MODEL["vision_cfg"]["image_size"] // MODEL["vision_cfg"]["patch_size"]
PATCHES = GRID * GRID
PARTIAL = 0.2
"""Share of one-object scenes whose caption names the colour only, or the shape only: what composes, unseen pairs
included, is their sum.
"""
FRAMES = ("{}", "a photo of {}.", "a picture of {}", "an image of {}", "{} on a {background} background")


@dataclass(frozen=True)
class Photos:
    """Photos with the teacher's answers.

    Args:
        pixels: (N, 64, 64, 3) uint8, squashed.
        pooled: (N, 1280) Lite0's pooled vector.
        map: (N, 1280, 7, 7) Lite0's last map, float16.
        top: (N, 5) int64 ImageNet classes by Lite0's probability.
        share: (N, 5) their probabilities, summing to 1.
    """

    pixels: Tensor
    pooled: Tensor
    map: Tensor
    top: Tensor
    share: Tensor


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Args:
        share: of the steps.
        recipes: scenes, drawn with equal chance.
        keep: patch tokens that the tower sees, those that objects cover first.
        photos: share of photos in a batch.
    """

    share: float
    recipes: tuple[SceneRecipe, ...]
    keep: int
    photos: float


def stages(bank: SpriteBank, emoji: SpriteBank) -> tuple[Stage, ...]:
    """Return the stages: one object; then one, two, several alike, emoji beside shapes, and photos; then the same on
    all patches.
    """
    one = SceneRecipe(bank, held_out=hold_out(bank, HELD_OUT_SHARE, seed=0))
    two, alike = replace(one, objects=(2,)), replace(one, objects=(2, 3, 4), same=0.8)
    every = (one, one, two, two, alike, replace(one, bank=emoji, objects=(1, 1, 2)))
    return Stage(0.4, (one,), 16, 0.0), Stage(0.52, every, 32, 0.125), Stage(0.08, every, PATCHES, 0.125)


class TinyTrainee(PairTrainee):
    """Contrastive pairs of scenes and photos, naming of patches in scenes, distillation of photos.

    Args:
        space: the untrained model.
        run: seed and world.
        fit: batch and steps, which place the stages.
        plan: the stages.
        photos: photos with the teacher's answers.
        names: the 1,000 ImageNet class names.
        distil: weight of each distillation term.
    """

    def __init__(
        self,
        space: Backbone,
        run: Run,
        fit: Fit,
        plan: Sequence[Stage],
        photos: Photos,
        names: Sequence[str],
        distil: float = 0.5,
    ) -> None:
        super().__init__(space, CLIPLoss(), run)
        self.contrast = CLIPLoss()
        self.fit, self.plan, self.photos, self.names, self.distil = fit, plan, photos, names, distil
        bank = plan[0].recipes[0].bank
        self.colours, self.shapes = bank.colours, bank.shapes
        held = plan[0].recipes[0].held_out
        # A shape that never occurs in a colour would be learnt as "not this shape": such shapes take no part in that
        # colour's softmax.
        self.absent = torch.tensor([[(c, s) in held for s in self.shapes] for c in self.colours])
        width, joint = MODEL["vision_cfg"]["width"], photos.pooled.shape[1]
        with run.seeded("heads of tiny"):
            self.linear = nn.ModuleDict(
                {
                    "map": nn.Linear(width, joint),
                    "pooled": nn.Linear(width, joint),
                    "name": nn.Linear(width, sum(self.absent.shape)),
                }
            )
        self._module["linear"] = self.linear

    def stage(self, item: int) -> Stage:
        """Return the stage of an item of the stream: a batch lies in one stage."""
        done, end = item // self.fit.batch / (self.fit.steps or 1), 0.0
        for stage in self.plan:
            end += stage.share
            if done < end:
                return stage
        return self.plan[-1]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Draw a scene or a photo with its caption, the patches to keep, and what stands under CLS and each of them.

        Returns:
            "image" (3, 64, 64), "text", "photo" (its number, or -1), "keep" (t,), "named" (1 + t, 2): colour and shape,
            or -1.
        """

        def pick(n: int) -> int:
            return int(torch.randint(n, (), generator=g))

        stage = self.stage(row.index)
        order = torch.rand(PATCHES, generator=g)
        named = torch.full((1 + PATCHES, 2), -1)
        if float(torch.rand((), generator=g)) < stage.photos:
            number = pick(len(self.photos.pixels))
            name = self.names[
                int(self.photos.top[number][int(torch.multinomial(self.photos.share[number], 1, generator=g))])
            ]
            image, text = self.photos.pixels[number].numpy(), FRAMES[pick(4)].replace("{}", article(name))
        else:
            number = -1
            drawn = scene(stage.recipes[pick(len(stage.recipes))], self.run.seed, int(row.item))
            image, text = drawn.image, self._caption(drawn, pick, float(torch.rand((), generator=g)))
            cover = _coverage(drawn)
            order -= 2.0 * (cover.amax(0) > 0)
            named[1:] = torch.where((cover.amax(0) >= 0.25)[:, None], self._names(drawn)[cover.argmax(0)], -1)
            if len(drawn.objects) == 1:
                named[0] = self._names(drawn)[0]
        keep = order.argsort()[: stage.keep]
        named = named[torch.cat([torch.zeros(1, dtype=torch.long), keep + 1])]
        return {"image": pixels_of(image), "text": text, "photo": number, "keep": keep, "named": named}

    def _caption(self, drawn: Scene, pick: Callable[[int], int], chance: float) -> str:
        thing = drawn.objects[0]
        if len(drawn.objects) == 1 and thing.colour and chance < PARTIAL:
            text = article(thing.noun) if pick(2) else f"something {thing.colour}"
        else:
            text = drawn.captions["short"]
        return FRAMES[(0, 0, 0, 1, 2, 3, 4)[pick(7)]].replace("{background}", drawn.background).replace("{}", text)

    def _names(self, drawn: Scene) -> Tensor:
        """Return (n, 2) colour and shape of each object; -1 for emoji."""
        known = [
            (self.colours.index(o.colour), self.shapes.index(o.noun)) if o.colour else (-1, -1) for o in drawn.objects
        ]
        return torch.tensor(known)

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return inputs of both encoders, which rows are photos, the kept patches and their names."""
        rest = {name: torch.stack([torch.as_tensor(v[name]) for v in views]) for name in ("photo", "keep", "named")}
        return {**super().collate(views), **rest}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the contrastive term, the naming of patches and of CLS, and both distillation terms."""
        tower = self.space.tower("image")
        state = tower.blocks(keep_patches(tower.start(batch["image"]), batch["keep"]))
        pooled, tokens = tower.pooled(state), tower.norm(state.h)[:, state.prefix :]
        vectors = {"image": tower.project(pooled), "text": self.space.encoders["text"].encode(batch["text"])}
        e = Embedded(vectors, self.space.scale, gather(self.run.world), self.run.world.rank)
        out = dict(self.contrast.terms(e, self.heads, clock))
        out["patch name"] = self._naming(tokens, batch["named"][:, 1:])
        out["name"] = self._naming(pooled, batch["named"][:, 0])
        photo = batch["photo"] >= 0
        if photo.any():
            numbers, kept = batch["photo"][photo].cpu(), batch["keep"][photo]
            target = (
                F.interpolate(self.photos.map[numbers].float(), size=(GRID, GRID), mode="bilinear")
                .flatten(2)
                .transpose(1, 2)
            )
            target = target.to(tokens.device).gather(1, kept[..., None].expand(-1, -1, target.shape[-1]))
            out["map"] = (
                self.distil * (1 - F.cosine_similarity(self.linear["map"](tokens[photo]), target, dim=-1)).mean()
            )
            teacher = self.photos.pooled[numbers].to(pooled.device)
            out["pooled"] = (
                self.distil * (1 - F.cosine_similarity(self.linear["pooled"](pooled[photo]), teacher, dim=-1)).mean()
            )
        return out

    def _naming(self, tokens: Tensor, named: Tensor) -> Tensor:
        """Return the cross-entropy of colour plus that of shape over the tokens that have a name."""
        known = named[..., 0] >= 0
        colour, shape = named[known].unbind(-1)
        scores = self.linear["name"](tokens[known])
        absent = self.absent.to(scores.device)[colour]
        by_colour, by_shape = scores.split(list(self.absent.shape), dim=-1)
        terms = F.cross_entropy(by_colour, colour, reduction="sum") + F.cross_entropy(
            by_shape.masked_fill(absent, -1e4), shape, reduction="sum"
        )
        return terms / max(1, len(colour))


def _coverage(drawn: Scene) -> Tensor:
    """Return (n, PATCHES), the share of each patch that each object covers."""
    side = MODEL["vision_cfg"]["patch_size"]
    masks = torch.from_numpy(drawn.masks).float()
    return F.avg_pool2d(masks[:, None], side).flatten(1)


def pixels_of(image: Any) -> Tensor:
    """Return (3, S, S) in [0, 1] of an (S, S, 3) image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
