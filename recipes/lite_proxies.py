"""The proxies on which ``lite:views`` is chosen: photos and drawings that its training never saw, with true names.

The ImageNet sample under everyday words, clean, with few pixels, as edges, contours, posters and in grey; and the
drawings of held-out names among those names. The published tower learnt from ImageNet, probably from these very photos:
its clean row is flattered, so that the choice errs towards the published weights.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.lite import PIXELS
from diptych.backbones.lite_parts import ImageHead
from diptych.core import NotAvailable, Run
from diptych.data.images import open_image
from diptych.data.pixels import normalise
from diptych.data.words.wordnet import WordNet
from recipes.lite_pictures import SIDE, Drawing
from recipes.lite_views import VIEWS, Picture, low_resolution, placed

EVERYDAY = (
    "dog", "cat", "wolf", "fox", "bear", "monkey", "ape", "rabbit", "sheep", "cattle", "antelope", "bird", "duck",
    "owl", "parrot", "fish", "shark", "snake", "lizard", "turtle", "frog", "spider", "insect", "butterfly", "beetle",
    "crab", "snail", "car", "truck", "bus", "train", "bicycle", "boat", "ship", "aircraft", "ball", "bag", "bottle",
    "cup", "bowl", "pot", "box", "tool", "lamp", "clock", "chair", "table", "sofa", "bed", "cabinet", "computer",
    "telephone", "camera", "keyboard instrument", "stringed instrument", "drum", "wind instrument", "hat", "shoe",
    "dress", "coat", "mask", "weapon", "fence", "building", "bridge", "fruit", "vegetable", "bread", "mushroom",
    "flower", "mountain", "furniture",
)  # fmt: skip
"""Words for what the photos of the ImageNet sample show; a class goes to its narrowest word."""
STYLES: Mapping[str, tuple[str, int | None]] = MappingProxyType(
    {
        "clean": ("", None), "32 pixels": ("low resolution", 32), "edges": ("edges", None),
        "contours": ("contours", None), "poster": ("poster", None), "grey": ("grey", None),
    }
)  # fmt: skip
"""Proxy -> (view, pixels)."""


@dataclass(frozen=True)
class Proxy:
    """Pictures of one look with labels.

    Args:
        name: of the look.
        pictures: N pictures, (192, 192, 3) uint8.
        labels: (N,) number of the class.
        classes: K names.
    """

    name: str
    pictures: Sequence[Picture]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def everyday(words: WordNet, wnids: Sequence[str]) -> list[str | None]:
    """Return the narrowest everyday word above each ImageNet class, None where there is none.

    The sense of a word is the one with most of the classes below it; of two words the one with fewer is narrower.
    """
    above = [{int(w[1:]), *words.ancestors(int(w[1:]))} for w in wnids]
    below: dict[str, set[int]] = {}
    for word in EVERYDAY:
        senses = [{i for i, a in enumerate(above) if s.offset in a} for s in words.senses(word)]
        below[word] = max(senses, key=len, default=set())
    out: list[str | None] = []
    for i in range(len(wnids)):
        over = [w for w in EVERYDAY if i in below[w]]
        out.append(min(over, key=lambda w: len(below[w])) if over else None)
    return out


def proxies(data: Path, drawn: Sequence[Drawing], seed: int = 0, every: int = 1) -> Iterator[Proxy]:
    """Yield the proxies.

    Args:
        data: folder of the development sets, of which the ImageNet sample is read.
        drawn: drawings of held-out names.
        seed: of views.
        every: take one photo in so many.

    Raises:
        NotAvailable: the sample is missing.
    """
    table = data / "imagenet1k_sample" / "labels.csv"
    if not table.is_file():
        raise NotAvailable(f"No ImageNet sample at {table}: give the folder of the development sets.")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    words = everyday(WordNet.load(), [r["wnid"] for r in rows])
    named = [(row, w) for row, w in zip(rows, words, strict=True) if w][::every]
    classes = tuple(w for w in EVERYDAY if w in {n for _, n in named})
    labels = np.array([classes.index(w) for _, w in named])
    clean = [_square(table.parent / row["path"]) for row, _ in named]
    for name, (view, side) in STYLES.items():
        g = np.random.default_rng(Run(seed=seed).integer(f"proxy/{name}"))
        if side:
            pictures = [low_resolution(x, g, side) for x in clean]
        else:
            pictures = [VIEWS[view][1](x, g) for x in clean] if view else clean
        yield Proxy(name, pictures, labels, classes)
    g = np.random.default_rng(Run(seed=seed).integer("proxy/drawings"))
    names = tuple(sorted({d.name for d in drawn}))
    for name, ink in (("coloured drawings", False), ("line drawings", True)):
        some = [d for d in drawn if d.ink is ink][::every]
        pictures = [placed(d.rgba, d.ink, np.full((SIDE, SIDE, 3), 255, np.uint8), g) for d in some]
        yield Proxy(name, pictures, np.array([names.index(d.name) for d in some]), names)


def tower_pixels(pictures: Tensor, side: int) -> Tensor:
    """Return (B, 3, side, side) normalised pixels of (B, S, S, 3) uint8 pictures."""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
    return normalise(x, PIXELS).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def cosines(tower: nn.Module, head: ImageHead, pictures: Sequence[Picture], texts: Tensor, side: int) -> Tensor:
    """Return (N, K) products of image and text vectors.

    Args:
        tower: image tower.
        head: the image head.
        pictures: N pictures.
        texts: (K, D) unit vectors.
        side: of the pixels that the tower gets.
    """
    rows = []
    for i in range(0, len(pictures), 32):
        x = tower_pixels(torch.from_numpy(np.stack(pictures[i : i + 32])), side)
        rows.append(F.normalize(head(tower(x)), dim=-1) @ texts.T)
    return torch.cat(rows)


def _square(path: Path) -> Picture:
    image = open_image(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.resize((SIDE, SIDE), 3, (left, top, left + side, top + side), 3.0))
