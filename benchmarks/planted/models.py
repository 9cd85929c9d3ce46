"""The oracle, whose vectors are made of scene truth, and faults that are planted in it or in any backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.planted.truth import (
    BACKGROUNDS,
    CLASSES,
    CONCEPTS,
    MARKS,
    NUMBER,
    STRENGTH,
    TEXTURES,
    Floats,
    Truth,
    World,
    concepts,
    pixels,
    stated,
    weights,
)
from diptych.core import Backbone, Encoder, PixelRecipe, Spec

NOISE = 0.6
"""Standard deviation of each concept's weight in a picture of the oracle: it is right in about three of four."""
LENGTH = 16.0
"""Length of every picture's vector of the oracle; a further dimension fills it up. Scale x cosine is then calibrated:
with Gaussian noise of one size on all shapes, softmax(weights / NOISE^2) are the probabilities of the shapes."""
USUAL = 0.7
"""Share of the pictures of a class that stand before its usual background."""
BELIEF = float(np.log(USUAL * (len(BACKGROUNDS) - 1) / (1 - USUAL)))
"""What the background says of its usual class, in nats; whoever reads it in distribution gains by it."""


@dataclass(frozen=True)
class Fault:
    """One bias, in the oracle and in a wrapper of any backbone.

    Args:
        name: in the matrix.
        says: what the model does, one sentence.
        sees: truth of a picture, and the weights of its concepts by the oracle -> other weights.
        reads: concepts that a text names -> other concepts.
        sharp: factor of the scale.
        drawn: how a wrapped backbone sees a picture.
        worded: texts whose vectors a wrapped backbone averages in the place of a text's.
        leans: truth of a picture -> class -> weight of the class's text vector, which a wrapper adds to the picture's.
    """

    name: str
    says: str
    sees: Callable[[Truth, Floats], Floats] = lambda truth, w: w
    reads: Callable[[Mapping[tuple[str, ...], float]], Mapping[tuple[str, ...], float]] = lambda c: c
    sharp: float = 1.0
    drawn: Callable[[Image.Image], Image.Image] | None = None
    worded: Callable[[str], tuple[str, ...]] | None = None
    leans: Callable[[Truth], Mapping[str, float]] | None = None


def _background(truth: Truth) -> dict[str, float]:
    """Return class -> how far the background, a square in the corner included, speaks for it."""
    weights_of = {CLASSES[BACKGROUNDS.index(truth.background)]: 1.0} if truth.background else {}
    for name, side in zip(CLASSES[:2], (-1, 1), strict=True):
        if truth.mark * side > 0:
            weights_of[name] = weights_of.get(name, 0.0) + abs(truth.mark)
    return weights_of


def _adds_background(truth: Truth, w: Floats) -> Floats:
    out = w.copy()
    for name, share in _background(truth).items():
        out[NUMBER["shape", name]] += share * BELIEF * NOISE**2
    if truth.background:
        out[NUMBER["background", truth.background]] += STRENGTH["background"]
    for side, name in MARKS.items():
        out[NUMBER["background", name]] += max(truth.mark * side, 0.0) * STRENGTH["background"]
    return out


def _texture(truth: Truth) -> dict[str, float]:
    """Return class -> how far textures speak for it beyond the shapes."""
    weights_of: dict[str, float] = {}
    for thing in truth.things:
        if thing.texture:
            class_of = CLASSES[TEXTURES.index(thing.texture)]
            weights_of[class_of] = weights_of.get(class_of, 0.0) + 1.0
            weights_of[thing.shape] = weights_of.get(thing.shape, 0.0) - 1.0
    return weights_of


def _for_shape(truth: Truth, w: Floats) -> Floats:
    out = w.copy()
    for name, share in _texture(truth).items():
        out[NUMBER["shape", name]] += share
    return out


def _without_colour(truth: Truth, w: Floats) -> Floats:
    out = w.copy()
    true = weights({c: n for c, n in concepts(truth).items() if c[0] in ("colour", "bound")}, picture=True)
    return np.asarray(out - true)


def _without_order(c: Mapping[tuple[str, ...], float]) -> Mapping[tuple[str, ...], float]:
    return {concept: n for concept, n in c.items() if concept[0] in ("shape", "colour")}


TWIN = {a: b for i in range(0, len(CLASSES), 2) for a, b in (CLASSES[i : i + 2], CLASSES[i : i + 2][::-1])}
"""Class -> the class whose name has the same vector."""


def _with_twins(c: Mapping[tuple[str, ...], float]) -> Mapping[tuple[str, ...], float]:
    weights_of: dict[tuple[str, ...], float] = {}
    for concept, n in c.items():
        readings: list[tuple[str, ...]] = [()]
        for part in concept:
            readings = [(*r, p) for r in readings for p in dict.fromkeys((part, TWIN.get(part, part)))]
        for reading in readings:
            weights_of[reading] = weights_of.get(reading, 0.0) + n / len(readings)
    return weights_of


def _twin_texts(text: str) -> tuple[str, ...]:
    words = text.split()
    other = " ".join(next((w.replace(a, b) for a, b in TWIN.items() if a in w), w) for w in words)
    return text, other


FAULTS = (
    Fault(
        "background reader",
        "It takes the class from the background too, which goes with the class in most pictures.",
        _adds_background,
        leans=_background,
    ),
    Fault(
        "colour blind",
        "It sees no colours.",
        _without_colour,
        drawn=lambda image: image.convert("L").convert("RGB"),
    ),
    Fault(
        "bag of words",
        "It reads a text as a set of words: which colour is of which shape, and what stands where, is lost.",
        reads=_without_order,
        worded=lambda text: (" ".join(sorted(text.split())),),
    ),
    Fault(
        "texture reader",
        "It takes the class from the texture in the place of the shape; in most pictures they go together.",
        _for_shape,
        leans=_texture,
    ),
    Fault("over-confident", "Its logits are four times as large as they should be.", sharp=4.0),
    Fault(
        "duplicate label",
        "It has one vector for the names of two classes, twice.",
        reads=_with_twins,
        worded=_twin_texts,
    ),
)
HONEST, TWIN_MODEL = Fault("honest", "No fault."), Fault("honest, other noise", "No fault, with other noise.")


@dataclass(frozen=True)
class TruthEncoder:
    """One encoder of the oracle: items become weights of concepts, and these a vector."""

    modality: str
    world: World
    fault: Fault
    seed: int = 0

    dim = len(CONCEPTS) + 2
    size = None

    @property
    def fingerprint(self) -> str:
        """Name of the fault and the seed."""
        return f"oracle {self.modality}, {self.fault.name}, {self.seed}"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, C + 2) vectors of pictures or texts."""
        rows = [self._picture(i) if self.modality == "image" else self._text(i) for i in items]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def encode(self, x: Any, /) -> Tensor:
        """Return the vectors."""
        z: Tensor = x.clone()
        return z

    def _picture(self, image: Image.Image) -> Floats:
        truth = self.world.truth(image)
        rng = np.random.default_rng([self.seed, *pixels(image)[:8]])
        w = weights(concepts(truth), picture=True) + NOISE * rng.standard_normal(len(CONCEPTS))
        w = self.fault.sees(truth, w)
        return np.concatenate([w, [0.0, np.sqrt(max(LENGTH**2 - float(w @ w), 0.0))]])

    def _text(self, text: str) -> Floats:
        plain = concepts(stated(text))
        w, whole = (weights(c, picture=False) for c in (self.fault.reads(plain), plain))
        rest = np.sqrt(max(float(whole @ whole - w @ w), 0.0))  # what is not read makes no other concept stronger
        return np.concatenate([w, [rest if w.any() else 1.0, 0.0]])


@dataclass(frozen=True)
class _Reads:
    """A backbone whose pictures or texts pass through a fault first.

    Pictures are encoded once for all faults: ``seen`` holds what the inner encoder said of them, by their pixels.
    """

    inner: Encoder[Any]
    fault: Fault
    world: World
    names: Mapping[str, Tensor]
    seen: dict[bytes, Tensor]

    @property
    def modality(self) -> str:
        return self.inner.modality

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def size(self) -> int | None:
        return self.inner.size

    @property
    def fingerprint(self) -> str:
        return f"{self.inner.fingerprint}, {self.fault.name}"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Any:
        """Return the inner inputs of texts or the inner vectors of pictures, and what the fault needs to know
        besides.
        """
        if self.modality == "text":
            every = [self.fault.worded(t) if self.fault.worded else (t,) for t in items]
            x = self.inner.inputs([t for texts in every for t in texts])
            return {**({"ids": x} if isinstance(x, Tensor) else x), "of": torch.tensor(list(map(len, every)))}
        drawn = [self.fault.drawn(i) if self.fault.drawn else i for i in items]
        leans = [self.fault.leans(self.world.truth(i)) if self.fault.leans else {} for i in items]
        added = [
            sum((n * self.names[k] for k, n in leaning.items() if k in self.names), torch.zeros(self.dim))
            for leaning in leans
        ]
        keys = [pixels(image) for image in drawn]
        new = {key: image for key, image in zip(keys, drawn, strict=True) if key not in self.seen}
        if new:
            with torch.no_grad():
                z = normalize(self.inner.encode(self.inner.inputs(list(new.values()))), dim=-1)
            self.seen.update(zip(new, z.cpu(), strict=True))
        return {"z": torch.stack([self.seen[key] for key in keys]), "add": torch.stack(added)}

    def encode(self, x: Any, /) -> Tensor:
        """Return unit vectors with what the fault adds."""
        if self.modality == "text":
            parts = {name: values for name, values in x.items() if name != "of"}
            z = normalize(self.inner.encode(x["ids"] if len(parts) == 1 else parts), dim=-1)
            return torch.stack([rows.mean(0) for rows in torch.split(z, x["of"].tolist())])
        seen: Tensor = x["z"] + x["add"]
        return seen


class Planted(Backbone):
    """The oracle or another backbone, with a fault.

    Args:
        world: truth of all pictures.
        fault: what is planted.
        inner: the backbone; None: the oracle.
        seed: of the oracle's noise.
        seen: inner vectors of pictures that models with other faults encoded; None: none.
    """

    def __init__(
        self,
        world: World,
        fault: Fault,
        inner: Backbone | None = None,
        seed: int = 0,
        seen: dict[bytes, Tensor] | None = None,
    ) -> None:
        self.world, self.fault, self.inner, self.seed = world, fault, inner, seed
        self.seen = {} if seen is None else seen

    @cached_property
    def encoders(self) -> Mapping[str, Any]:
        """Both encoders."""
        if self.inner is None:
            return {m: TruthEncoder(m, self.world, self.fault, self.seed) for m in ("image", "text")}
        with torch.no_grad():
            text = self.inner.text
            z = normalize(text.encode(text.inputs([f"a {name}" for name in CLASSES])), dim=-1)
        names = dict(zip(CLASSES, z.cpu(), strict=True))
        return {m: _Reads(self.inner.encoders[m], self.fault, self.world, names, self.seen) for m in ("image", "text")}

    @property
    def score(self) -> Any:
        """How scaled cosines become probabilities."""
        return "softmax" if self.inner is None else self.inner.score

    @property
    def spec(self) -> Spec:
        """A spec under the fault's name."""
        if self.inner is not None:
            return replace(self.inner.spec, name=self.fault.name)
        recipe = PixelRecipe(64, (0.0,) * 3, (1.0,) * 3)
        return Spec(
            self.fault.name, "oracle", "truth", "none", "none", "words", 77, 0, "mean", len(CONCEPTS) + 2, recipe
        )

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return the scale, times the fault's factor, and the bias."""
        if self.inner is None:
            return torch.tensor(self.fault.sharp * LENGTH / NOISE**2), torch.tensor(0.0)
        scale, bias = self.inner.scale(a, b)
        return self.fault.sharp * scale, bias

    def module(self) -> nn.Module:
        """Return the parameters, of which the oracle has none."""
        return nn.Identity() if self.inner is None else self.inner.module()
