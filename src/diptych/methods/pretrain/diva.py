"""DIVA teaches an image tower details by a frozen denoiser, which is told the tower's tokens in the place of a text.

    c_0 = P norm(h_0),   c_p = P norm(h_p)                          (CLS, and the patches that the denoiser is told)
    y   = E + W c
    z_t = sqrt(a_t) z + sqrt(1 - a_t) eps
    L   = mean over pictures and draws of  | eps'(z_t, t, y) - eps |^2 / n

h: (1 + P, C) tokens of a picture after the last block;  norm, P: the tower's own last norm and projection
W: a new linear layer, from the joint space to the width of the denoiser's texts
E: what the denoiser reads of one sentence for all pictures, "a photo of a ."; the mean of its tokens, unless it has as
    many as c
z: latent of the same crop;  a_t: share of signal at step t, which is uniform;  eps: normal noise
eps': the denoiser, which stays as it is;  n: values of a latent

Tokens that say more of the picture let the noise be told from it better. The tower and W learn; the text tower is not
read. Afterwards the image vector is c_0 plus the mean of c_p over all patches. A denoiser that does not read y moves
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from diptych.backbones.changes.apply import changed
from diptych.backbones.towers.image import ImageTower
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Condition,
    Evidence,
    Kit,
    Learns,
    MissingHook,
    ParamGroup,
    Recipe,
    Row,
    Run,
    Space,
    TextDiffusion,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.core.train import everything, of_image
from diptych.data.pixels import normalise
from diptych.nn.crop_views import cut, random_box
from diptych.nn.diffusion.noise_error import drawn_noise, noise_error
from diptych.train.pair import PairTrainee, item

DIFFUSION = "diffusion"
"""Name of the kit's denoiser."""
POOLING = "cls-and-patches"
"""The change of the pooling, see ``backbones.changes.cls_and_patches``."""


class FeedbackTrainee(PairTrainee):
    """Trains an image tower through a denoiser, which is no part of its module; see ``PairTrainee``."""

    def __init__(self, recipe: DIVA, space: Backbone, run: Run, diffusion: TextDiffusion, learns: Learns) -> None:
        super().__init__(space, None, run, read={"image": item}, learns=lambda n: of_image(n) and learns(n))
        self.recipe, self.diffusion = recipe, diffusion
        self.tower, width = _image_tower(self.space)
        prompt = diffusion.encode_text([recipe.prompt])
        self.prompt = prompt.tokens[0] if prompt.mask is None else prompt.tokens[0][prompt.mask[0]]
        with run.seeded("reader"):
            self.reader = nn.Linear(width, self.prompt.shape[-1])
        self._module["reader"] = self.reader
        self.side = space.image.size or 0
        self.patches = (self.side // self.tower.patch[0]) * (self.side // self.tower.patch[1])

    def groups(self) -> list[ParamGroup]:
        """Return the groups of the image tower, and those of W, whose rate is another one."""
        rate = self.recipe.reader_rate
        tower = [replace(g, names=tuple(n for n in g.names if n.startswith("space."))) for g in super().groups()]
        return [*tower, ParamGroup(("reader.weight",), lr=rate), ParamGroup(("reader.bias",), lr=rate, decay=0.0)]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return a crop for the tower, the same for the denoiser, steps and noise, and the patches that are told."""
        from torchvision.transforms.functional import to_tensor

        r, image = self.recipe, row.item.convert("RGB")
        box = random_box(image, r.scale)
        t, noise = drawn_noise(self.diffusion, r.draws, g)
        view = {name: to_tensor(cut(image, box, side)) for name, side in self._sides().items()}
        patches = (
            torch.arange(self.patches) if r.patches is None else torch.randint(self.patches, (r.patches,), generator=g)
        )
        return {**view, "t": t, "noise": noise, "patches": patches}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return (B, 3, S, S) normalised pixels, (B, 3, S', S') in [0, 1], (B, K) steps, their noise, and patches."""
        batch = {name: torch.stack([v[name] for v in views]) for name in views[0]}
        return {**batch, "image": normalise(batch["image"], self.space.spec.pixels)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the term "noise", the denoiser's mean squared error."""
        y = self.condition(self.tokens_told(batch["image"], batch["patches"]))
        with torch.no_grad():
            z = self.diffusion.to_latent(batch["picture"])
        draws = batch["t"].shape[1]
        of_picture = Condition(y.repeat_interleave(draws, 0))
        errors = noise_error(
            self.diffusion,
            z.repeat_interleave(draws, 0),
            of_picture,
            batch["t"].flatten(),
            batch["noise"].flatten(0, 1),
        )
        return {"noise": errors.mean()}

    def tokens_told(self, pixels: Tensor, patches: Tensor) -> Tensor:
        """Return c, (B, 1 + Q, D): the CLS token and patches in the joint space.

        Args:
            pixels: (B, 3, S, S) normalised.
            patches: (B, Q) numbers of patches.
        """
        s = self.tower.blocks(self.tower.start(pixels))
        h = self.tower.norm(s.h)
        # A tower without CLS has its pooled vector in that place, as the authors give it for SigLIP.
        first = h[:, :1] if s.prefix else self.tower.pooled(s)[:, None]
        rows = patches[..., None].expand(-1, -1, h.shape[2])
        return self.tower.project(torch.cat([first, h[:, s.prefix :].gather(1, rows)], dim=1))

    def condition(self, c: Tensor) -> Tensor:
        """Return y, (B, 1 + Q, C'), of (B, 1 + Q, D) tokens."""
        prompt = self.prompt.to(c.device)
        read: Tensor = self.reader(c)
        return read + (prompt if len(prompt) == c.shape[1] else prompt.mean(0))

    def _sides(self) -> dict[str, int]:
        return {"image": self.side, "picture": self.diffusion.size}


@dataclass(frozen=True)
class DIVA(Recipe):
    """Train an image tower on photos alone, so that a denoiser which is told its tokens predicts noise better.

    Use it for a ViT that overlooks what a denoiser can paint: colours, textures, shapes. Whether it helps is contested,
    see the card. Nothing keeps image and text together, so train for few steps and look at what is forgotten.

    Args:
        patches: Q, patches that are told, drawn with replacement; >= 1. None (default): all of them (the authors' for
            MetaCLIP and DFN), and 76 for OpenAI's ViT-L/14.
        draws: K, pairs of step and noise for each picture, >= 1; 2 (the authors').
        prompt: what E says; "a photo of a ." (the authors').
        reader_rate: factor on the learning rate for W, > 0; 1.0 (the authors').
        scale: range of the share of a picture's area in a crop, in (0, 1]; (0.9, 1.0) (the authors').
        pooling: "cls-and-patches" (the authors'), or "own": the image vector stays what it was.

    Raises:
        UsageError: a setting is out of its range.

    Source: Wang et al. 2024; the authors' code for all numbers.

    Example:
        >>> from diptych.backbones.diffusion.load import load_small
        >>> from diptych.backbones.sources.load import load
        >>> from diptych.core import Table
        >>> from diptych.data.load import open_data
        >>> from diptych.train.recipe import train_space
        >>> from diptych.train.schedule import Fit
        >>> tiny = load("tiny")
        >>> kit = Kit({"main": tiny, "diffusion": load_small(tiny)})
        >>> photos = open_data("demo:photos").split("test").items
        >>> fit = Fit(lr=1e-4, batch=2, steps=1)
        >>> made = train_space(DIVA(), kit, Evidence(unlabelled=photos), fit, Run(workers=0))
        >>> words = tiny.text.inputs(["a red star"])
        >>> torch.equal(made.space.encoders["text"].encode(words), tiny.text.encode(words))
        True
    """

    passes_once: ClassVar[bool] = True
    patches: int | None = None
    draws: int = 2
    prompt: str = "a photo of a ."
    reader_rate: float = 1.0
    scale: tuple[float, float] = (0.9, 1.0)
    pooling: Literal["cls-and-patches", "own"] = "cls-and-patches"

    trainee: ClassVar[type[FeedbackTrainee]] = FeedbackTrainee

    def __post_init__(self) -> None:
        check(self, at_least(1), "patches", "draws")
        check(self, above(0), "reader_rate")
        check(self, between(0, 1, "(]"), "scale")
        check(self, one_of("cls-and-patches", "own"), "pooling")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingHook: the image tower cannot be cut in blocks, its projection takes no tokens, or its pooling cannot
                be changed.
            MissingPart: the kit has no denoiser.
        """
        space, diffusion = kit.need(Backbone), kit.need(TextDiffusion, DIFFUSION)
        _image_tower(space)  # before its pooling changes: a tower without tokens is told so
        if self.pooling == POOLING and all(change.kind != POOLING for change in space.spec.changes):
            pooled = changed(space, POOLING)
            assert isinstance(pooled, Backbone)  # a change keeps the kind
            space = pooled
        yield self.trainee(self, space, run, diffusion, learns)


def _image_tower(space: Space) -> tuple[ImageTower, int]:
    """Return the image tower and the width of its projected tokens."""
    tower = space.tower("image")
    if not isinstance(tower, ImageTower):
        raise MissingHook(f"DIVA reads patch tokens, which {space.spec.name} has not: use a ViT CLIP, such as tiny.")
    like = next(space.module().parameters())
    try:
        return tower, tower.project(like.new_zeros(1, tower.width)).shape[-1]
    except RuntimeError as error:
        raise MissingHook(
            f"The projection of {space.spec.name} takes pooled vectors and no tokens: use a ViT CLIP that pools by CLS "
            f"or mean, such as tiny."
        ) from error
