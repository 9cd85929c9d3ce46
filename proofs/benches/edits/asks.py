"""What edits are asked for in proofs, and how they are read: by known factors, or by the nearest of many pictures with
known factors.

An edit is clean when the named factor (colour or shape) becomes the target, the other one stays, and no factor of place
or ground moves by half a standard deviation (where they can be read).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.load import SMALL_DRAWS, SMALL_PLACED, load_generator
from diptych.core import Backbone, Run, StyleGenerator, Styles
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Floats
from diptych.features.heads import text_head
from diptych.nn.style_space import drawn

KINDS = ("colour", "shape")
STILL = 0.5
"""Standard deviations by which a factor of place or ground may move in a clean edit."""


@dataclass(frozen=True)
class Asks:
    """N pictures, each with one thing to change.

    Args:
        start: (N, 2) the pictures' colours and shapes.
        kind: (N,) 0: the colour is named, 1: the shape.
        target: (N,) what it shall become, never what it is.
    """

    styles: Styles
    start: Tensor
    kind: Tensor
    target: Tensor

    @classmethod
    def draw(cls, styles: Styles, start: Tensor, sizes: tuple[int, int], g: torch.Generator) -> Asks:
        """Draw a kind and a target for each picture; ``sizes`` are the numbers of colours and of shapes."""
        kind = torch.randint(2, (len(start),), generator=g)
        many = torch.tensor(sizes)[kind]
        shift = 1 + (torch.rand(len(start), generator=g) * (many - 1)).long()
        return cls(styles, start, kind, (start.gather(1, kind[:, None])[:, 0] + shift) % many)

    def wanted(self) -> Tensor:
        """Return (N, 2) colours and shapes after a right edit."""
        return self.start.scatter(1, self.kind[:, None], self.target[:, None])


@dataclass(frozen=True)
class Words:
    """Vectors of all captions such as "a red circle".

    Args:
        unit: (colours, shapes, D) unit vectors.
    """

    unit: Tensor

    @classmethod
    def of(cls, generator: FactorGenerator, frames: tuple[str, ...], backbone: Backbone, run: Run) -> Words:
        """Embed them in frames."""
        texts = [article(f"{c} {s}") for c in generator.colours for s in generator.shapes]
        head = text_head(backbone, [[f.replace("{}", words) for f in frames] for words in texts], run)
        return cls(torch.unflatten(head, 0, (len(generator.colours), -1)))

    def at(self, pairs: Tensor) -> Tensor:
        """Return (N, D) of (N, 2) colours and shapes."""
        return self.unit[pairs[:, 0], pairs[:, 1]]


class Bench(Protocol):
    """A generator whose pictures can be read."""

    @property
    def generator(self) -> StyleGenerator:
        """It."""

    @property
    def truth(self) -> FactorGenerator:
        """Whose colours and shapes it draws."""

    def read(self, styles: Styles, /) -> Tensor:
        """Return (N, 2) colours and shapes that are drawn."""

    def moved(self, before: Styles, after: Styles, /) -> Tensor:
        """Return (N, n) moves of each factor of place and background, in standard deviations; 0 where unread."""


@dataclass(frozen=True)
class Factors:
    """Pictures of the factor generator, read from the factors themselves."""

    generator: FactorGenerator

    @property
    def truth(self) -> FactorGenerator:
        """The generator itself."""
        return self.generator

    def read(self, styles: Styles, /) -> Tensor:
        """Return the strongest colour and shape."""
        f = self.generator.factors(styles)
        return torch.stack([f[kind].argmax(1) for kind in KINDS], dim=1)

    def moved(self, before: Styles, after: Styles, /) -> Tensor:
        """Return (N, 6)."""
        a, b = self.generator.factors(before), self.generator.factors(after)
        return torch.cat([(b[n] - a[n]).abs() for n in ("place", "ground")], dim=1)


@dataclass(frozen=True)
class Pictures:
    """Pictures of any generator of such things, read as the nearest of M factor pictures by squared difference.

    Args:
        generator: whose pictures are read.
        truth: whose colours and shapes it draws.
        known: (M, 3 size size) pictures.
        names: (M, 2) their colours and shapes.
    """

    generator: StyleGenerator
    truth: FactorGenerator
    known: Tensor
    names: Tensor

    @classmethod
    def small(cls, count: int = 4096) -> Pictures:
        """Return the bench of the embedded generator ``small``."""
        generator, truth = load_generator("small")[0], SMALL_DRAWS
        styles = truth.sample(count, Run().generator("known pictures"))
        factors = dict(truth.factors(styles))
        styles = truth.styles({**factors, "place": SMALL_PLACED * factors["place"]})
        return cls(generator, truth, drawn(truth, styles, Run(batch=256)).flatten(1), Factors(truth).read(styles))

    def read(self, styles: Styles, /) -> Tensor:
        """Return colour and shape of the nearest picture."""
        with torch.no_grad():
            pictures = drawn(self.generator, styles, Run(batch=64)).flatten(1)
        return self.names[torch.cdist(pictures, self.known).argmin(1)]

    def moved(self, before: Styles, after: Styles, /) -> Tensor:
        """Return (N, 0): a nearest picture tells place and ground too roughly."""
        return torch.zeros(len(before), 0)


def asks(bench: Bench, items: int, part: str) -> Asks:
    """Draw pictures and asks, the same for every seed; ``part`` is "val" or "test"."""
    g = Run().generator(f"edit asks/{part}")
    styles = bench.generator.sample(items, g)
    return Asks.draw(styles, bench.read(styles), (len(bench.truth.colours), len(bench.truth.shapes)), g)


def after(asks: Asks, change: Tensor) -> Styles:
    """Return the styles of the edited pictures."""
    return replace(asks.styles, s=asks.styles.s + change)


def clean(bench: Bench, asks: Asks, change: Tensor) -> Floats:
    """Return (N,) 1.0 where an edit did what was asked and nothing else."""
    new = after(asks, change)
    still = (bench.moved(asks.styles, new) < STILL).all(1)
    return ((bench.read(new) == asks.wanted()).all(1) & still).numpy().astype(np.float64)


def details(bench: Bench, asks: Asks, change: Tensor) -> dict[str, float]:
    """Return the shares of edits that reach the target and that change the other name, and mean moves."""
    new = after(asks, change)
    now, moved = bench.read(new), bench.moved(asks.styles, new)
    hit = now.gather(1, asks.kind[:, None])[:, 0] == asks.target
    other = (now != asks.start).gather(1, 1 - asks.kind[:, None])[:, 0]
    out = {f"on_target_{name}": float(hit[asks.kind == k].float().mean()) for k, name in enumerate(KINDS)}
    out["other_changed"] = float(other.float().mean())
    return out if moved.shape[1] == 0 else {**out, "place_and_ground_moved": float(moved.mean())}
