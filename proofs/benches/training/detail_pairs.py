"""The proof of DIVA: does a denoiser's feedback make ``tiny`` tell pairs of pictures apart that differ in one detail?

Two scenes of one object differ in its colour, its shape or its texture, and in nothing else; each of the two captions
must choose its picture, as in MMVP-VLM. ``tiny`` is right about nearly all such pairs. So the proof starts from a
``tiny`` that a few steps of CLIP's loss made blind to texture: captions that never name it pull plain and striped
things together. The feedback sees other pictures, and no captions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.diffusion.load import SMALL_SCENES, load_small
from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.backbones.sources.load import load
from diptych.core import Backbone, Column, Evidence, Kit, Run, Table
from diptych.core.train import of_image
from diptych.data.memory import InMemory
from diptych.data.scenes.compose import Scene, SceneRecipe, scene
from diptych.data.scenes.paint import SceneObject
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Arm, Floats
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.diva import DIFFUSION, DIVA, FeedbackTrainee
from diptych.metrics.blind_pairs import right_pairs
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.scene_pairs import only_scenes
from proofs.trial import Claim, Tabled, Trial, each_seed, hash_of_words

Pattern = Literal["colour", "shape", "texture"]
PATTERNS: tuple[Pattern, ...] = ("colour", "shape", "texture")
POOLINGS = ("cls", "cls and patches")
EVEN = replace(SMALL_SCENES, size=64, bank=replace(SMALL_SCENES.bank, textures=("plain", "striped")))
"""Scenes that the small denoiser can draw, in the size that ``tiny`` reads; half of the objects are striped."""
PAIRS = 120
"""Pairs of each pattern."""
BLIND_SEED, FEEDBACK_SEED, TEST_SEED = 61_000, 62_000, 63_000
"""Of the streams of scenes: those that blind, those of the feedback (plus the seed of the arm), and the pairs."""
UNTOLD = Fit(lr=3e-4, batch=64, steps=36, decay=0.0, schedule=Schedule(warmup=6), clip=1.0, log_every=36)
"""How ``tiny`` is made blind; all seeds start from the same weights."""
FEEDBACK = Fit(lr=3e-4, batch=16, steps=40, decay=0.0, schedule=Schedule(warmup=6), clip=1.0, log_every=40)
"""Settings of the feedback in all arms; as long as the minutes of a proof allow."""
OWN: Mapping[str, Any] = {"pooling": "own", "scale": (1.0, 1.0), "reader_rate": 10.0}
"""Of the system in all arms. The rates are those of three that lowered the denoiser's error on other scenes most, with
one seed; pairs of other scenes were seen too, see the card.
"""


class ShuffledTrainee(FeedbackTrainee):
    """Tells the denoiser the tokens of another picture."""

    def condition(self, c: Tensor) -> Tensor:
        """Return y of the next picture of the batch."""
        return super().condition(c.roll(1, 0))


class ShuffledDIVA(DIVA):
    """The control: conditions of other pictures."""

    trainee = ShuffledTrainee


@dataclass(frozen=True)
class Pairs:
    """P pairs of pictures that differ in one detail: first pictures, then second ones, with a caption each."""

    pictures: tuple[Image.Image, ...]
    captions: tuple[str, ...]


def altered(thing: SceneObject, pattern: Pattern, recipe: SceneRecipe, rng: np.random.Generator) -> SceneObject:
    """Return an object with another colour, shape or texture."""
    bank, name = recipe.bank, {"colour": "colour", "shape": "noun", "texture": "texture"}[pattern]
    known = {"colour": bank.colours, "shape": bank.shapes, "texture": tuple(dict.fromkeys(bank.textures))}[pattern]
    others = [word for word in known if word != getattr(thing, name)]
    return replace(thing, **{name: others[int(rng.integers(len(others)))]})  # type: ignore[arg-type]


def pairs_of(pattern: Pattern, seed: int, count: int) -> Pairs:
    """Return pairs of scenes of one object, on the same background, at the same place."""

    def twin(number: int) -> Scene:
        rng = np.random.default_rng([seed, number])
        return scene(EVEN, seed, number, lambda things: (altered(things[0], pattern, EVEN, rng),))

    shown = [scene(EVEN, seed, n) for n in range(count)] + [twin(n) for n in range(count)]
    return Pairs(tuple(Image.fromarray(s.image) for s in shown), tuple(s.captions["short"] for s in shown))


@torch.inference_mode()
def pair_hits(space: Backbone, pairs: Pairs) -> dict[str, Floats]:
    """Return pooling -> (P,) 1 where each caption chooses its picture, else 0."""
    tower: Any = space.tower("image")
    s = tower.blocks(tower.start(space.image.inputs(pairs.pictures)))
    c, texts = tower.project(tower.norm(s.h)), space.text.encode(space.text.inputs(pairs.captions))
    first, half = c[:, 0], len(pairs.captions) // 2
    t = normalize(texts, dim=-1).reshape(2, half, -1)
    hits: dict[str, Floats] = {}
    for name, v in zip(POOLINGS, (first, first + c[:, s.prefix :].mean(1)), strict=True):
        x = normalize(v, dim=-1).reshape(2, half, -1)
        hits[name] = right_pairs(torch.einsum("apd,bpd->pab", t, x).double().numpy()).astype(float)
    return hits


def scenes_of(seed: int, count: int) -> Table[Any]:
    """Return scenes with captions that do not name the texture: "a red star"."""
    shown = [scene(EVEN, seed, number) for number in range(count)]
    captions = [(article(f"{s.objects[0].colour} {s.objects[0].noun}"),) for s in shown]
    return Table(InMemory([s.image for s in shown]), {"captions": Column("captions", tuple(captions))})


def blinded(backbone: Backbone, run: Run, fit: Fit = UNTOLD) -> Backbone:
    """Return the backbone after an image tower was trained on captions that do not name the texture."""
    rows = scenes_of(BLIND_SEED, fit.batch * (fit.steps or 1))
    seeded = replace(run, seed=0, out=None, workers=0)
    trained = train_space(CLIPLoss(), Kit({"main": backbone}), Evidence(train=rows), fit, seeded, learns=of_image).space
    assert isinstance(trained, Backbone)  # a training of a backbone gives one back
    return trained


def ignorant(denoiser: SmallDiffusion, run: Run) -> SmallDiffusion:
    """Return a denoiser that knows nothing: the entries of each of its weights are permuted."""
    g = run.generator("ignorant denoiser")
    order = sorted(denoiser.weights.items())
    return replace(
        denoiser, weights={n: w.flatten()[torch.randperm(w.numel(), generator=g)].reshape(w.shape) for n, w in order}
    )


def open_details(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, fit: Fit = FEEDBACK, blind: Fit = UNTOLD
) -> Tabled:
    """Train all arms, and measure which pairs are told apart, before and after, by both poolings."""
    only_scenes(name)
    pairs = {pattern: pairs_of(pattern, TEST_SEED, PAIRS) for pattern in PATTERNS}
    denoiser = load_small(load("tiny"))
    start = blinded(backbone, run, blind)
    before = {**_measured("before", start, pairs), **_measured("tiny before", backbone, pairs)}

    def once(run: Run) -> dict[str, Floats]:
        arms = _arms(backbone, start, denoiser, replace(run, out=None, workers=0), fit)
        return before | {name: hits for arm, space in arms for name, hits in _measured(arm, space, pairs).items()}

    values = each_seed(once, run, seeds)
    items = [picture for pairs_of in pairs.values() for picture in pairs_of.pictures]
    captions = [caption for pairs_of in pairs.values() for caption in pairs_of.captions]
    facts = {
        "data_hash": hash_of_words(InMemory(items), captions),
        "items": PAIRS,
        "patterns": list(PATTERNS),
        "composite": "generated scenes",
        "trains": f"the image tower of tiny, blinded to texture, {fit.steps} steps",
    }
    return Tabled(backbone, run, seeds, "pair_accuracy", facts, values)


def _measured(arm: str, space: Backbone, pairs: Mapping[Pattern, Pairs]) -> dict[str, Floats]:
    results = {pattern: pair_hits(space, pairs_of) for pattern, pairs_of in pairs.items()}
    return {
        f"{arm}, {pattern}, {pooling}": hits
        for pattern, by_pooling in results.items()
        for pooling, hits in by_pooling.items()
    }


def _arms(
    seeing: Backbone, start: Backbone, denoiser: SmallDiffusion, run: Run, fit: Fit
) -> Iterator[tuple[str, Backbone]]:
    """Yield what the arms of a seed become."""
    photos = scenes_of(FEEDBACK_SEED + run.seed, fit.batch * (fit.steps or 1)).items
    for arm, method, teacher, pupil in (
        ("own", DIVA(**OWN), denoiser, start),
        ("shuffled", ShuffledDIVA(**OWN), denoiser, start),
        ("ignorant", DIVA(**OWN), ignorant(denoiser, run), start),
        ("tiny", DIVA(**OWN), denoiser, seeing),
    ):
        kit = Kit({"main": pupil, DIFFUSION: teacher})
        trained = train_space(method, kit, Evidence(unlabelled=photos), fit, run).space
        assert isinstance(trained, Backbone)  # a training of a backbone gives one back
        yield arm, trained


def _over(start: str, arm: str, part: str, name: str = "") -> Claim:
    return Claim(start, arm=Arm(f"{arm}, {part}"), base=Arm(f"{start}, {part}"), name=name or part)


BLIND_PARTS = tuple(f"texture, {pooling}" for pooling in POOLINGS)
"""What the start is blind to."""
DIVA_TRIAL = Trial(
    tuple(_over("before", "own", part) for part in BLIND_PARTS),
    arm=Arm(f"own, {BLIND_PARTS[0]}"),
    controls=tuple(
        _over("before", arm, part, f"{part}: {what}")
        for arm, what in (("shuffled", "conditions of other pictures"), ("ignorant", "a denoiser that knows nothing"))
        for part in BLIND_PARTS
    ),
    beside={
        **{
            f"{pattern}, {pooling}": _over("before", "own", f"{pattern}, {pooling}")
            for pattern in ("colour", "shape")
            for pooling in POOLINGS
        },
        **{f"tiny as it is: {part}": _over("tiny before", "tiny", part) for part in BLIND_PARTS},
    },
    bench=open_details,
)
