"""Words for stuff stand in phrases of their usual context, photos are read at several sizes, and stuff has a look.

    L_k = mean over sizes s of   scale z_s t_k + bias,    resized to the grid of the largest size
    M   = softmax(a z z^T) L  +  w R                      row by row;  z: of the largest size
    R_k = log sum over j of  N(f; m_kj, s_kj)  -  log N(f; m, s),   within [-b, b];  0 for things
    M'  = M  +  c C                                       C: colours of each class in the photo, see ``photo_colours``

Sizes: n cells of the grid, K classes, D dimensions of the embeddings
z_s: (n_s, D) unit embeddings of the patches or cells of the photo at size s, each pooled alone, as in MaskCLIP
t_k: (D,) unit vector of a class: of its phrases if its word is known as stuff, such as "an object against the sky" for
     "sky", else of its prompts
a: sharpness of the affinity;  M: (n, K) logits of the cells
f: (n, 5) CIELAB colour, contrast and height of each cell;  N: normal density of independent features
m_kj, s_kj: looks j of class k, such as blue and white for "sky";  m, s: any cell of a photo;  b = 4
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    FittedSegmenter,
    Kit,
    Regions,
    Run,
    Samples,
    Segmenter,
    UsageError,
)
from diptych.core.ranges import at_least, check
from diptych.data.pixels import normalise
from diptych.data.words.stuff import PHRASES, stuff_phrases
from diptych.data.words.stuff_looks import PHOTO, Look, looks_of
from diptych.features.heads import logits, text_head
from diptych.features.networks import inference
from diptych.nn.dense.cell_looks import cell_looks, log_odds
from diptych.nn.dense.label_maps import LONG, cells
from diptych.nn.dense.mask_classes import whole_cells
from diptych.nn.dense.patches import BLOCK, check_patches, embed_patches
from diptych.nn.dense.photo_colours import photo_colours

BOUND = 4.0
"""b: what a look says for or against a class at most, before it is weighed."""
GREY = 2.0
"""Largest |a*| and |b*| of the cells of a photo that has no colour."""


def in_context(classes: ClassNames, phrases: Mapping[str, tuple[str, ...]] = PHRASES) -> list[list[str]]:
    """Return K lists of prompts: phrases of the words that are known as stuff, and the prompts of the others.

    Args:
        classes: K names, with words and templates.
        phrases: kind of stuff -> phrases with {} for the word.

    Example:
        >>> in_context(ClassNames(("rock", "dog"), ("a photo of a {}.",)))
        [['rock scenery', 'rock in the distance', 'a valley below the rock'], ['a photo of a dog.']]
    """

    def prompts(word: str) -> tuple[str, ...] | list[str]:
        return stuff_phrases(word, phrases) or ClassNames((word,), classes.templates).prompts()[0]

    words = classes.words or tuple((name,) for name in classes.names)
    return [[prompt for word in some for prompt in prompts(word)] for some in words]


def blended(z: Tensor, scores: Tensor, affinity: float) -> Tensor:
    """Return softmax(a z z^T) scores; ``BLOCK`` numbers of the n x n affinities exist at a time.

    Args:
        z: (n, D) unit embeddings.
        scores: (n, K).
        affinity: a, > 0.

    Example:
        >>> blended(torch.eye(2), torch.tensor([[1.0], [0.0]]), affinity=2.0).round(decimals=2)[:, 0]
        tensor([0.8800, 0.1200])
    """
    rows = torch.split(z, max(1, BLOCK // len(z)))
    return torch.cat([(affinity * some @ z.T).softmax(-1) @ scores for some in rows])


@dataclass(frozen=True)
class StuffContext(Segmenter):
    """Compare patches at several sizes with phrases that put stuff in its context, and cells with the looks of stuff.

    Use it on backbones whose words for sky, grass and water mean the things seen there, such as ``lite``.

    Args:
        sides: shorter sides of the photo, in pixels, each >= 1.
        affinity: a, sharpness of the mean over cells that are like each other, >= 0; 0: cells stay alone.
        contexts: whether words for stuff stand in phrases; False: in the prompts, as all others.
        appearance: w, weight of the looks of stuff in logits, >= 0; 0: words alone decide. The default was chosen with
            ``lite:2026-11``, whose scale is 30.
        colours: c, weight of the colours of each class in the photo, >= 0; 0: each cell is judged without the others'.

    Raises:
        UsageError: no side, a side below 1, or a negative affinity or weight.

    Source: ours. Phrases of context: cf. Menon & Vondrick 2023; affinity of patches: cf. Lan et al. 2024 (ProxyCLIP);
    colour and place of stuff: cf. the potentials of Shotton et al. 2009 (TextonBoost), which are learnt; colours of a
    class in the photo: theirs.
    """

    sides: tuple[int, ...] = (224, 336, 448)
    affinity: float = 10.0
    contexts: bool = True
    appearance: float = 2.5
    colours: float = 1.0

    def __post_init__(self) -> None:
        check(self, at_least(0), "affinity", "appearance", "colours")
        if not self.sides or min(self.sides) < 1:
            raise UsageError(
                f"sides must be one or more numbers of pixels >= 1, got {self.sides!r}: give some, such as (224, 448)."
            )

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedStuffContext:
        """Embed the phrases and prompts.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        head = text_head(backbone, self.prompts(classes), run)
        looks = [self.looks(words) for words in classes.words or tuple((name,) for name in classes.names)]
        rows = [[float(k), *sum(look, ())] for k, some in enumerate(looks) for look in some if self.appearance]
        table = torch.tensor(rows).reshape(-1, 1 + 2 * len(PHOTO))
        return FittedStuffContext(
            classes, backbone, head, self.sides, self.affinity, self.appearance, table, self.colours
        )

    def looks(self, words: tuple[str, ...]) -> tuple[Look, ...]:
        """Return the looks of a class; none: it is a thing."""
        return looks_of(words)

    def prompts(self, classes: ClassNames) -> list[list[str]]:
        """Return K lists of prompts."""
        return in_context(classes) if self.contexts else classes.prompts()


@dataclass(frozen=True)
class FittedStuffContext(FittedSegmenter):
    """A text head and the settings of the method.

    Args:
        classes: K names.
        backbone: embeds the patches.
        head: (K, D) unit class vectors.
        sides, affinity, appearance, colours: see ``StuffContext``.
        looks: (J, 11): position of a class, and mean and standard deviation of the five features of a look of it.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    sides: tuple[int, ...]
    affinity: float
    appearance: float = 0.0
    looks: Tensor = field(default_factory=lambda: torch.zeros(0, 11))
    colours: float = 0.0

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: (h * w, K) logits on the grid of the largest size."""
        for i in range(len(images)):
            image = images[i]
            stride = self.backbone.dense().strides[-1]
            photos = [whole_cells(image, side, stride, LONG) for side in sorted(self.sides, reverse=True)]
            yield cells(self.maps(photos, run), (image.height, image.width))

    def maps(self, photos: list[Tensor], run: Run) -> Tensor:
        """Return (K, h, w) logits of one photo at several sizes, the largest first; each (3, H, W) in [0, 1]."""
        grids = [self.embedded(photo, run) for photo in photos]
        h, w = grids[0].shape[1:]
        parts = [logits(self.backbone, z.permute(1, 2, 0), self.head.to(z)).permute(2, 0, 1) for z in grids]
        mean = torch.stack([interpolate(p[None], (h, w), mode="bilinear")[0] for p in parts]).mean(0)
        if self.affinity:
            mean = blended(grids[0].flatten(1).T, mean.flatten(1).T, self.affinity).T.reshape(-1, h, w)
        features = cell_looks(photos[0], (h, w))
        if len(self.looks):
            mean = mean + self.appearance * self.seen(features)
        return self.coloured(mean, features)

    def coloured(self, scores: Tensor, features: Tensor) -> Tensor:
        """Return M' as (K, h, w), of M and f."""
        return photo_colours(scores, features[:3], self.colours)

    def seen(self, features: Tensor) -> Tensor:
        """Return R as (K, h, w), of f; photos without colour are judged without it."""
        odds = torch.zeros(len(self.head), *features.shape[1:])
        used = [0, 3, 4] if features[1:3].abs().max() < GREY else [0, 1, 2, 3, 4]
        for k in set(self.looks[:, 0].int().tolist()):
            of_class = self.looks[self.looks[:, 0] == k, 1:].reshape(-1, len(PHOTO), 2)
            score = log_odds(features[used], of_class[:, used], torch.tensor(PHOTO)[used])
            odds[k] = score.clamp(-BOUND, BOUND)
        return odds

    def embedded(self, pixels: Tensor, run: Run) -> Tensor:
        """Return (D, h, w) unit float32 embeddings, on the CPU, of (3, H, W) pixels in [0, 1]."""
        with inference(run):
            z = embed_patches(self.backbone, normalise(pixels[None], self.backbone.spec.pixels).to(run.device))
        return normalize(z.float(), dim=1)[0].cpu()
