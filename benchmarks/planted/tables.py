"""The tables of the planted faults: scenes whose truth is known under every change that an audit makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from benchmarks.planted.models import TWIN, USUAL
from benchmarks.planted.truth import BACKGROUNDS, CLASSES, COLOURS, OTHERS, TEXTURES, Thing, Truth, World
from diptych.core import AuditData, ClassNames, Column, Probe, Samples, Table
from diptych.data.factors import FACTORS, Altered
from diptych.data.markers import Marked
from diptych.data.samples import as_samples
from diptych.data.scenes.compose import RELATIONS, SceneRecipe, render
from diptych.data.scenes.paint import SceneObject

RECIPE = SceneRecipe()
OPACITIES = (1.0,)
"""Of the squares of shortcut-learning."""
PATTERNS = ("color", "shape", "binding", "position")
EDITED = ("color", "shape")
"""Patterns of pairs that are an edit of one thing."""
PLACES = {RELATIONS[0]: (0.28, 0.5), RELATIONS[1]: (0.72, 0.5), RELATIONS[2]: (0.5, 0.28), RELATIONS[3]: (0.5, 0.72)}
AGAINST = {
    RELATIONS[0]: RELATIONS[1],
    RELATIONS[1]: RELATIONS[0],
    RELATIONS[2]: RELATIONS[3],
    RELATIONS[3]: RELATIONS[2],
}


@dataclass(frozen=True)
class Sizes:
    """Pictures of each table; pairs are of each pattern."""

    own: int = 2400
    shift: int = 1000
    cues: int = 240
    ood: int = 480
    pairs: int = 120


def painted(truth: Truth, rng: np.random.Generator) -> Image.Image:
    """Return a picture of a truth; without a background it is white."""
    two = len(truth.things) == 2
    centres = [PLACES[r] for r in (truth.relation, AGAINST[truth.relation])] if two else [(0.5, 0.5)]
    objects = []
    for thing, centre in zip(truth.things, centres, strict=True):
        x, y = np.array(centre) + rng.uniform(-0.04, 0.04, 2)
        side, turn = float(rng.uniform(0.34, 0.42) if two else rng.uniform(0.4, 0.6)), float(rng.uniform(-12, 12))
        objects.append(SceneObject(thing.shape, thing.colour, thing.texture, (float(x), float(y)), side, turn))
    white = None if truth.background else np.full((RECIPE.size, RECIPE.size, 3), 255, np.uint8)
    shown = render(RECIPE, tuple(objects), truth.background or "light", rng, white)  # type: ignore[arg-type]
    return Image.fromarray(shown.image)


def one(shape: str, texture: str, background: str, rng: np.random.Generator) -> Truth:
    """Return a truth of one thing, of any colour."""
    return Truth((Thing(shape, str(rng.choice(COLOURS)), texture),), background=background)


def texture_of(shape: str) -> str:
    """Return the texture that goes with a class."""
    return TEXTURES[CLASSES.index(shape)]


def background_of(shape: str, rng: np.random.Generator, usual: float) -> str:
    """Return the usual background of a class with a probability, else one of the others."""
    k = CLASSES.index(shape)
    others = [b for i, b in enumerate(BACKGROUNDS) if i != k]
    return BACKGROUNDS[k] if rng.random() < usual else str(rng.choice(others))


def pair(pattern: str, rng: np.random.Generator) -> tuple[Truth, Truth]:
    """Return two truths that differ in one thing."""
    a, b = (str(s) for s in rng.choice(CLASSES, 2, replace=False))
    c, d = (str(s) for s in rng.choice(COLOURS, 2, replace=False))
    first, second = Thing(a, c, texture_of(a)), Thing(b, d, texture_of(b))
    relation, background = str(rng.choice(RELATIONS)), str(rng.choice(BACKGROUNDS))
    if pattern == "color":
        return tuple(Truth((replace(first, colour=x),), background=background) for x in (c, d))  # type: ignore[return-value]
    if pattern == "shape":
        return Truth((first,), background=background), Truth((replace(second, colour=c),), background=background)
    if pattern == "binding":
        other = (replace(first, colour=d), replace(second, colour=c))
        return Truth((first, second), relation, background), Truth(other, relation, background)
    return Truth((first, second), relation, background), Truth((first, second), AGAINST[relation], background)


def statement(pattern: str, truth: Truth) -> str:
    """Return what is true of a picture, in words; colours are named where the pattern is about them."""
    by_word = pattern in ("color", "binding")
    named = [f"a {t.colour} {t.shape}" if by_word else f"a {t.shape}" for t in truth.things]
    return f"{named[0]} {truth.relation} {named[1]}" if len(named) == 2 else named[0]


def _table(truths: list[Truth], rng: np.random.Generator) -> tuple[Samples[Image.Image], list[Image.Image]]:
    pictures = [painted(t, rng) for t in truths]
    return as_samples(pictures), pictures


def _labels(truths: list[Truth]) -> Column:
    return Column("label", np.array([CLASSES.index(t.things[0].shape) for t in truths], dtype=np.int64))


def under(factor: str, truth: Truth) -> Truth:
    """Return the truth under a visual factor: other hues are other colours, and stripes are a texture.

    The other factors change nothing that the oracle reads, nor does a background change that is covered in part.
    """
    if factor == "color":
        turned = tuple(replace(t, colour=COLOURS[(COLOURS.index(t.colour) + 3) % len(COLOURS)]) for t in truth.things)
        return replace(truth, things=turned)
    if factor == "texture":
        return replace(truth, things=tuple(replace(t, texture="striped") for t in truth.things))
    return truth


def tables(seed: int, sizes: Sizes = Sizes()) -> tuple[AuditData, World, Samples[Image.Image]]:
    """Return the tables of an audit, the truth of every picture that it shows, and the first pictures of the pairs of
    ``EDITED`` painted anew, in which nothing is edited.

    - own: four shapes, each before its usual background in 70 % of its pictures, each in its texture, in any colour.
    - other backgrounds: each shape before other backgrounds than its usual one.
    - cues: a shape in the texture of another class, whose name is another for every fault, on white.
    - other shapes: in any texture, before any background.
    - statements: pairs of pictures that differ in one thing; "told" names what they show with its colours.
    """
    rng, world, classes = np.random.default_rng(seed), World(), ClassNames(CLASSES)
    shapes = [str(s) for s in rng.permutation(np.resize(CLASSES, sizes.own))]
    usual = [one(s, texture_of(s), background_of(s, rng, USUAL), rng) for s in shapes]
    away = [one(s, texture_of(s), background_of(s, rng, 0.0), rng) for s in np.resize(CLASSES, sizes.shift).tolist()]
    cued = [
        one(s, str(rng.choice([texture_of(c) for c in CLASSES if c not in (s, TWIN[s])])), "", rng)
        for s in np.resize(CLASSES, sizes.cues).tolist()
    ]
    strange = [
        one(s, str(rng.choice(TEXTURES)), str(rng.choice(BACKGROUNDS)), rng)
        for s in np.resize(OTHERS, sizes.ood).tolist()
    ]
    pairs = [(p, pair(p, rng)) for p in PATTERNS for _ in range(sizes.pairs)]
    both = [t for _, two in pairs for t in two]

    (own_items, pictures), (away_items, moved), (cue_items, mixed), (ood_items, others), (pair_items, twos) = (
        _table(t, rng) for t in (usual, away, cued, strange, both)
    )
    world.learn(zip(pictures, usual, strict=True), halves=True)
    for truths, seen in ((away, moved), (cued, mixed), (strange, others), (both, twos)):
        world.learn(zip(seen, truths, strict=True))
    for factor in FACTORS:
        altered = Altered(own_items, factor)
        changed = ((altered[i], under(factor, t)) for i, t in enumerate(usual))
        world.learn(changed, halves=factor == "color")
    world.learn(_marked(own_items, usual))

    attribute = Column("group", tuple(t.things[0].colour for t in usual))
    groups = Column("group", tuple(t.background for t in usual))
    columns = {
        "group": Column("group", tuple(str(i // 2) for i in range(len(both)))),
        "pattern": Column("group", tuple(p for p, _ in pairs for _ in range(2))),
        "captions": Column("captions", tuple((statement(p, t),) for p, two in pairs for t in two)),
        "told": Column("group", tuple(statement("color", t) for t in both)),
    }
    of_texture = Column("group", tuple(CLASSES[TEXTURES.index(t.things[0].texture)] for t in cued))
    probes = {
        "own": Probe(
            Table(own_items, {"label": _labels(usual), "group": groups, "attribute": attribute}), "id", classes
        ),
        "other backgrounds": Probe(Table(away_items, {"label": _labels(away)}), "shift", classes),
        "cues": Probe(Table(cue_items, {"label": _labels(cued), "texture": of_texture}), "shift", classes),
        "other shapes": Probe(Table(ood_items), "ood"),
        "statements": Probe(Table(pair_items, columns), "pairs"),
    }
    first = [two[0] for kind in EDITED for pattern, two in pairs if pattern == kind]
    again, repainted = _table(first, rng)
    world.learn(zip(repainted, first, strict=True))
    return AuditData(probes), world, again


def _marked(items: Samples[Image.Image], truths: list[Truth]) -> Iterator[tuple[Image.Image, Truth]]:
    """Yield the pictures with a square in the corner; an auditor marks those of two classes."""
    for opacity in OPACITIES:
        for side in (-1, 1):
            marked = Marked(items, (side,) * len(items), opacity)
            for i, truth in enumerate(truths):
                yield marked[i], replace(truth, mark=side * opacity)
