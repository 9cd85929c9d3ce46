"""Pools that mix kinds of pictures from several data sets: whose labels of clusters name the kind of every picture?"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from diptych.core import Backbone, Kit, Run, Texts
from diptych.data.folders import ImageFiles
from diptych.data.images import SUFFIXES
from diptych.data.memory import InMemory
from diptych.data.named_sets import present
from diptych.evaluation.arms import CHANCE, Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.caption_pool import Captions
from diptych.features.embed import embed
from diptych.methods.curate.biomedica import BIOMEDICA
from proofs.trial import PlainBench, hash_of

KINDS: Mapping[str, tuple[str, str]] = {
    "photograph": ("flickr8k_small/images", "a photograph of people, animals or things"),
    "aerial": ("ucmerced21/train", "an aerial photograph of land"),
    "print": ("archiscribe_lines/lines", "a line of old printed text"),
    "fabric": ("textile_sim/train", "a close-up of woven fabric"),
    "metal": ("magnetic_tile/train", "the grey surface of a metal tile"),
}
"""Kind -> folder below that of DIPTYCH_DATA, and its name in words."""
EACH = 60
"""Pictures of each kind, evenly spaced in the order of their names."""
CLUSTERS, LOOKS = 10, 5
WORDS = "the backbone's words"
Change = Callable[[Sequence[tuple[int, str]], Run], Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class KindItem:
    """A picture in memory, named anew for each seed, so that seeds look at other pictures."""

    name: str
    picture: Image.Image = field(repr=False)

    def image(self) -> Image.Image:
        """Return the picture."""
        return self.picture

    def text(self) -> str:
        """Return a text; what it says does not matter."""
        return "a picture"


@dataclass
class KindBench(PlainBench):
    """Value of a picture: whether its label is its kind."""

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    pictures: Sequence[Image.Image]
    kinds: Sequence[str]
    facts: Mapping[str, Any]
    metric: str = "accuracy"

    def measure(self, arm: Arm) -> Measured:
        """Label every picture by votes on looks, by words, or by chance."""
        if arm.system in (CHANCE, WORDS):
            values = self._by_words() if arm.system == WORDS else np.full(len(self.kinds), 1 / len(KINDS))
            return over_seeds(lambda run: (values, {}), self.run, self.seeds, draws=False)
        return over_seeds(lambda run: self._by_votes(arm.spoil, run), self.run, self.seeds, draws=True)

    def _by_words(self) -> Floats:
        z = normalize(embed(self.backbone.image, InMemory(self.pictures), self.run), dim=-1)
        texts = Texts(tuple(words for _, words in KINDS.values()))
        head = normalize(embed(self.backbone.text, texts, self.run), dim=-1)
        nearest = (z @ head.T).argmax(dim=1).tolist()
        return np.array([float(list(KINDS)[k] == kind) for k, kind in zip(nearest, self.kinds, strict=True)])

    def _by_votes(self, change: Change | None, run: Run) -> tuple[Floats, Mapping[str, float]]:
        names = [f"{run.seed}/{i}" for i in range(len(self.pictures))]
        kind_of = dict(zip(names, self.kinds, strict=True))
        stream = Captions(tuple(map(KindItem, names, self.pictures)))
        kit, curator = Kit({"main": self.backbone}), BIOMEDICA(clusters=CLUSTERS, sample=len(names) // 2)
        plan = curator.plan(kit, stream, run)
        looks = plan.looks(LOOKS)
        votes = [(cluster, kind_of[name]) for cluster, name in looks]
        voted = change(votes, run) if change else votes
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "votes.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                rows = ((name, kind) for (_, name), (_, kind) in zip(looks, voted, strict=True))
                csv.writer(file).writerows([("filepath", "labels"), *rows])
            verdicts = list(replace(curator, votes=str(path)).apply(kit, plan, stream, run))
        right = [float(v.labels == (kind,)) for v, kind in zip(verdicts, self.kinds, strict=True)]
        return np.array(right), {"looked_at": len(looks) / len(names)}


def permuted_clusters(votes: Sequence[tuple[int, str]], run: Run) -> list[tuple[int, str]]:
    """Return votes where each cluster has those of another one."""
    words_of: dict[int, list[str]] = {}
    for cluster, kind in votes:
        words_of.setdefault(cluster, []).append(kind)
    order = np.random.default_rng(run.integer("permuted clusters")).permutation(list(words_of)).tolist()
    other = dict(zip(words_of, order, strict=True))
    seen = dict.fromkeys(words_of, 0)
    texts = []
    for cluster, _ in votes:
        theirs = words_of[other[cluster]]
        texts.append((cluster, theirs[seen[cluster] % len(theirs)]))
        seen[cluster] += 1
    return texts


def open_kinds(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> KindBench:
    """Open the same number of pictures of every kind."""
    pictures, kinds, every = [], [], []
    for kind, (folder, _) in KINDS.items():
        root, _, below = folder.partition("/")
        files = sorted(p for p in (Path(present(root)) / below).rglob("*") if p.suffix.lower() in SUFFIXES)
        samples = ImageFiles([str(files[i]) for i in np.linspace(0, len(files) - 1, EACH).astype(int)])
        every.append(samples)
        pictures += [samples[i].resize((256, 256), Image.Resampling.BICUBIC) for i in range(EACH)]
        kinds += [kind] * EACH
    facts = {"data_hash": hash_of(*every), "items": len(kinds), "kinds": list(KINDS)}
    facts |= {"clusters": CLUSTERS, "looks": LOOKS}
    with torch.no_grad():
        return KindBench(backbone, run, seeds, pictures, kinds, facts)
