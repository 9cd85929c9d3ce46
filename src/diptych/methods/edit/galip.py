"""GALIP makes pictures from words in one pass: a frozen CLIP judges them, and helps to draw them.

    L_D = E (1 - D(F(x), t))_+ + 1/2 E (1 + D(F(G(z, t)), t))_+ + 1/2 E (1 + D(F(x), t'))_+ + a E |grad D(F(x), t)|^6
    L_G = - E D(F(G(z, t)), t) - c E cos(I(G(z, t)), t)

x: a picture, t: the embedding of its caption, not normalised, t': that of another picture of the batch
z: normal noise;  G, D: generator and discriminator, see ``nn.bridge_gan``
F: maps of the frozen image tower after three blocks;  I: its image embedding
grad: by F(x) and t;  a, c: weights

Both networks step once per batch, each with an optimiser of its own. The generator passes a map through the frozen
blocks, with a prompt that depends on the words in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    EditAsk,
    Edited,
    Editor,
    Evidence,
    FittedEditor,
    Kit,
    MissingEvidence,
    ParamGroup,
    Row,
    Run,
    Takes,
    Texts,
    Tower,
    Trainee,
    UsageError,
)
from diptych.core.ranges import above, at_least, check
from diptych.features.embed import embed
from diptych.features.networks import twin_of
from diptych.features.released_tensors import check_released, frozen_apart
from diptych.features.strict_weights import load_tensors
from diptych.nn.bridge_gan import BridgeGenerator, GanLayout, MapDiscriminator, hinge, matching_penalty
from diptych.nn.frozen_vit_maps import as_input, block_maps, prompted_blocks, prompted_map
from diptych.train.pair import drawn_caption
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule


class _Adversaries(Trainee):
    """Trains the discriminator in phase "d", and the generator in phase "g"."""

    phases = ("d", "g")

    def __init__(self, method: GALIP, backbone: Backbone, layout: GanLayout, run: Run) -> None:
        self.method, self.backbone, self.size = method, backbone, layout.size
        self.tower = backbone.tower("image")
        with run.seeded("galip"):
            self.generator, self.discriminator = BridgeGenerator(layout), MapDiscriminator(layout)
        self._module = nn.ModuleDict({"generator": self.generator, "discriminator": self.discriminator})

    def module(self) -> nn.Module:
        """Return both networks."""
        return self._module

    def groups(self) -> list[ParamGroup]:
        """Return one group for each network."""
        names = [n for n, _ in self._module.named_parameters()]
        of = {start: tuple(n for n in names if n.startswith(start)) for start in ("discriminator", "generator")}
        return [
            ParamGroup(of["discriminator"], lr=self.method.ratio, phases=("d",)),
            ParamGroup(of["generator"], phases=("g",)),
        ]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the picture in [0, 1], one of its captions, and noise for each phase."""
        picture = ImageOps.fit(row.item.convert("RGB"), (self.size, self.size), Image.Resampling.BICUBIC)
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        pixels = pixels.reshape(self.size, self.size, 3).permute(2, 0, 1).float() / 255
        return {"image": pixels, "text": drawn_caption(row, g), "z": torch.randn(2, self.method.noise, generator=g)}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return pictures, noise, and the inputs of the text encoder."""
        text = self.backbone.text.inputs([v["text"] for v in views])
        return {"text": text, **{name: torch.stack([v[name] for v in views]) for name in ("image", "z")}}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return "hinge" and "penalty" of the discriminator, or "adversarial" and "words" of the generator."""
        m = self.method
        with torch.no_grad():
            t = self.backbone.text.encode(batch["text"])
        z = batch["z"][:, self.phases.index(phase)]
        if phase == "d":
            with torch.no_grad():
                maps = block_maps(self.tower, as_input(self.backbone, batch["image"]))[0]
                drawn, _ = block_maps(self.tower, as_input(self.backbone, self.drawn(z, t)))
            maps, words = maps.requires_grad_(), t.clone().requires_grad_()
            real = self.discriminator(maps, words)
            scores = self.discriminator(drawn, t), self.discriminator(maps.detach(), t.roll(1, 0))
            penalty = matching_penalty(real, maps, words, m.penalty, m.power)
            return {"hinge": hinge(real, *scores), "penalty": penalty}
        maps, last = block_maps(self.tower, as_input(self.backbone, self.drawn(z, t)))
        seen = self.tower.project(self.tower.pooled(last))
        near = cosine_similarity(seen.float(), t, dim=1).mean()
        return {"adversarial": -self.discriminator(maps, t).mean(), "words": -m.words * near}

    def drawn(self, z: Tensor, t: Tensor) -> Tensor:
        """Return pictures, around [0, 1]."""
        return pictures(self.generator, self.tower, z, t, self.backbone.image.size or self.size)


def pictures(generator: BridgeGenerator, tower: Tower, z: Tensor, t: Tensor, side: int) -> Tensor:
    """Return (B, 3, S, S) pictures, around [0, 1].

    Args:
        generator: draws.
        tower: the frozen image tower.
        z: (B, Z) noise.
        t: (B, D) text embeddings.
        side: of the tower's input, in pixels.
    """
    out: Tensor = (generator(z, t, lambda bridge, prompts: prompted_map(tower, bridge, prompts, side)) + 1) / 2
    return out


@dataclass(frozen=True)
class GALIP(Editor):
    """Make pictures from words in one pass, by a generator that learns from captioned photos.

    Use it where many pictures of one kind are wanted fast. It needs a ViT as image tower. The row small fits minutes
    of a CPU and pictures of 32 pixels; the paper's sizes take days of GPUs.

    Args:
        size: side of the pictures, in pixels, >= 8; 224 (the authors').
        noise: Z, >= 1; 100 (the authors').
        width: most channels of the generator, >= 1; 512 (the authors').
        least: its channels at the largest size, >= 1; 64 (the authors').
        bridge: channels of the bridge, >= 1; 64 (the authors').
        inner: channels inside the discriminator's blocks, >= 1; 768 (those of ViT-B/32).
        judge: channels before its score, >= 4; 512 (the authors').
        words: c, >= 0; 4.0 (the authors').
        penalty: a, >= 0; 2.0 (the authors').
        power: of the length of the gradient, > 0; 6.0 (the authors').
        rate: learning rate of the generator, > 0; 1e-4 (the authors').
        ratio: factor on it for the discriminator, > 0; 4.0 (the authors').
        batch: pictures per step, >= 2; 64 (the authors').
        steps: >= 1; 100,000 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Tao et al. 2023, sections 3.2 to 3.4, and the authors' code.

    Example:
        >>> real, fake, mismatched = torch.tensor([2.0]), torch.tensor([-2.0]), torch.tensor([0.0])
        >>> hinge(real, fake, mismatched).item()  # half of 1 for the pair that is not told apart
        0.5
    """

    size: int = 224
    noise: int = 100
    width: int = 512
    least: int = 64
    bridge: int = 64
    inner: int = 768
    judge: int = 512
    words: float = 4.0
    penalty: float = 2.0
    power: float = 6.0
    rate: float = 1e-4
    ratio: float = 4.0
    batch: int = 64
    steps: int = 100_000

    takes: ClassVar[Takes] = Takes(("nothing",), source=False, targets=None, strength=False)

    def __post_init__(self) -> None:
        check(self, at_least(1), "noise", "width", "least", "bridge", "inner", "steps")
        check(self, at_least(2), "batch")
        check(self, at_least(4), "judge")
        check(self, at_least(8), "size")
        check(self, at_least(0), "words", "penalty")
        check(self, above(0), "power", "rate", "ratio")

    def layout(self, backbone: Backbone) -> GanLayout:
        """Return the sizes of the networks for a backbone.

        Raises:
            MissingHook: it has no image tower.
            UsageError: pictures are no larger than the tower's grid.
        """
        tower, side = backbone.tower("image"), backbone.image.size or self.size
        with torch.no_grad():
            grid = tower.start(torch.zeros(1, 3, side, side)).grid
        assert grid is not None, "image towers have a grid"
        if self.size <= grid[0]:
            raise UsageError(f"size must be above the tower's grid of {grid[0]} cells, got {self.size}: give more.")
        return GanLayout(
            self.noise, backbone.spec.dim, tower.width, grid[0], len(prompted_blocks(tower.depth)), self.size,
            self.width, self.least, self.bridge, self.inner, self.judge,
        )  # fmt: skip

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedGALIP:
        """Train both networks on captioned pictures.

        Raises:
            MissingEvidence: there are no captioned pictures.
            MissingHook: the backbone has no image tower.
        """
        backbone = kit.need(Backbone)
        if evidence.train is None or "captions" not in evidence.train.columns:
            raise MissingEvidence("galip learns from pictures with captions, and there are none: give {like}.")
        frozen = twin_of(backbone)
        frozen.module().requires_grad_(False)
        trainee = _Adversaries(self, frozen, self.layout(backbone), run)
        fit = Fit(
            self.rate, self.batch, steps=self.steps, optimizer="adam", betas=(0.0, 0.9), decay=0.0,
            schedule=Schedule("constant"), log_every=50,
        )  # fmt: skip
        names = [n for n in trainee.module().state_dict() if n.startswith("generator.")]
        weights = train_parameters(trainee, evidence.train, fit, run, names)
        return FittedGALIP(backbone, self, {n.removeprefix("generator."): w for n, w in weights.items()})

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedGALIP:
        """Return the generator of a released file, which holds the frozen blocks of its backbone too."""
        backbone = kit.need(Backbone)
        mine = frozen_apart(learnt, backbone, "The released file")
        with torch.random.fork_rng(devices=[]):
            wanted = BridgeGenerator(self.layout(backbone)).state_dict()
        return FittedGALIP(backbone, self, check_released(mine, wanted, self.card.name))


@dataclass(frozen=True)
class FittedGALIP(FittedEditor):
    """Makes pictures from words.

    Args:
        backbone: reads words, and its blocks draw.
        weights: of the generator.
    """

    backbone: Backbone
    method: GALIP
    weights: Mapping[str, Tensor] = field(repr=False)

    @cached_property
    def generator(self) -> BridgeGenerator:
        """The generator, in eval mode."""
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global generator
            net = BridgeGenerator(self.method.layout(self.backbone))
        load_tensors(net, self.weights)
        return net.eval().requires_grad_(False)

    @torch.no_grad()
    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Make the pictures of each text. A picture depends on its text, its number and the seed."""
        self.method.takes.check(ask, self.method.card.name)
        tower, side = self.backbone.tower("image"), self.backbone.image.size or self.method.size
        texts, generator = embed(self.backbone.text, Texts(ask.targets), run), self.generator.to(run.device)
        parts = []
        for words, t in zip(ask.targets, texts.to(run.device), strict=True):
            z = torch.randn(ask.count, self.method.noise, generator=run.generator(f"galip/{words}")).to(t)
            images = pictures(generator, tower, z, t.expand(ask.count, -1), side)
            parts.append(images.float().clamp(0, 1).cpu())
        return Edited((), torch.cat(parts))
