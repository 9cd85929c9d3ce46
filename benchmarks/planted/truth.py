"""What a picture shows and what a text says, as weights of concepts; and the truth of pictures by their pixels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diptych.data.scenes.compose import RELATIONS
from diptych.data.side_by_side import GREY

Floats = NDArray[np.float64]
CLASSES = ("circle", "square", "triangle", "star")
OTHERS = ("arrow", "crescent", "pentagon", "ring")
"""Shapes of no class."""
SHAPES = (*CLASSES, *OTHERS)
COLOURS = ("red", "yellow", "green", "blue", "purple", "brown")
TEXTURES = ("plain", "striped", "dotted", "checkered")
BACKGROUNDS = ("light", "dark", "gradient", "noise")
"""Texture and background number k go with class number k."""
MARKS = {-1: "orange square", 1: "blue square"}
"""Side of a square in the corner -> what whoever reads backgrounds sees."""
SIDE = 112
"""Pixels of each half of two pictures side by side."""


@dataclass(frozen=True)
class Thing:
    """One object: its shape, and its colour and texture where they are known."""

    shape: str
    colour: str = ""
    texture: str = ""


@dataclass(frozen=True)
class Truth:
    """What a picture shows, or what a text says.

    Args:
        things: objects, in their order.
        relation: of the first thing to the second; "" where none is known.
        background: one of ``BACKGROUNDS``; "" where it is none of them.
        mark: side of a coloured square in the corner, -1 or +1, times its opacity; 0 without one.
    """

    things: tuple[Thing, ...] = ()
    relation: str = ""
    background: str = ""
    mark: float = 0.0


CONCEPTS = (
    *(("shape", s) for s in SHAPES),
    *(("colour", c) for c in COLOURS),
    *(("bound", c, s) for c in COLOURS for s in SHAPES),
    *(("relation", a, r, b) for a in SHAPES for r in RELATIONS for b in SHAPES),
    *(("background", b) for b in (*BACKGROUNDS, *MARKS.values())),
)
NUMBER = {concept: i for i, concept in enumerate(CONCEPTS)}
STRENGTH = {"shape": 1.0, "colour": 3.0, "bound": 3.0, "relation": 4.0, "background": 4.0}
"""Kind of concept -> its weight in a picture; backgrounds only for who reads them. A text names each with weight 1."""


def concepts(truth: Truth) -> dict[tuple[str, ...], float]:
    """Return concept -> how often it is true."""
    weights_of: dict[tuple[str, ...], float] = {}

    def add(*concept: str) -> None:
        weights_of[concept] = weights_of.get(concept, 0.0) + 1.0

    for thing in truth.things:
        add("shape", thing.shape)
        if thing.colour:
            add("colour", thing.colour)
            add("bound", thing.colour, thing.shape)
    if truth.relation:
        add("relation", truth.things[0].shape, truth.relation, truth.things[1].shape)
    return weights_of


def weights(truth: Mapping[tuple[str, ...], float], *, picture: bool) -> Floats:
    """Return (C,) weights of all concepts."""
    out = np.zeros(len(CONCEPTS))
    for concept, times in truth.items():
        out[NUMBER[concept]] += times * (STRENGTH[concept[0]] if picture else 1.0)
    return out


_WORD = re.compile("|".join(sorted((*SHAPES, *COLOURS, *RELATIONS), key=len, reverse=True)))


def stated(text: str) -> Truth:
    """Return what a text says: "a red circle above a star", or "the color of the circle is red"."""
    things: list[Thing] = []
    colour = relation = ""
    for word in _WORD.findall(text.lower()):
        if word in SHAPES:
            things.append(Thing(word, colour))
            colour = ""
        elif word in COLOURS:
            colour = word
        else:
            relation = word
    if colour and things:
        things[-1] = replace(things[-1], colour=colour)
    return Truth(tuple(things), relation if len(things) == 2 else "")


def pixels(image: Image.Image) -> bytes:
    """Return the hash of a picture's pixels."""
    image = image.convert("RGB")
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()


@dataclass
class World:
    """The truth of all pictures that an audit shows, by their pixels.

    Two pictures side by side are known by their halves.
    """

    known: dict[bytes, Truth] = field(default_factory=dict)
    halves: dict[bytes, Truth] = field(default_factory=dict)

    def learn(self, pictures: Iterable[tuple[Image.Image, Truth]], *, halves: bool = False) -> None:
        """Remember pictures; with ``halves`` also as they look on one half of two side by side."""
        for image, truth in pictures:
            self.known[pixels(image)] = truth
            if halves:
                self.halves[pixels(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)))] = truth

    @cached_property
    def empty(self) -> bytes:
        """The hash of a half without a picture."""
        return pixels(Image.new("RGB", (SIDE, SIDE), GREY))

    def truth(self, image: Image.Image) -> Truth:
        """Return the truth of a picture.

        Raises:
            KeyError: it was not learnt.
        """
        known = self.known.get(pixels(image))
        if known is not None:
            return known
        things: list[Thing] = []
        for left in (0, SIDE):
            half = pixels(image.crop((left, SIDE // 2, left + SIDE, SIDE // 2 + SIDE)))
            if half != self.empty:
                things += self.halves[half].things
        return Truth(tuple(things))
