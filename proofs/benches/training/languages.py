"""The proof of RS-M-CLIP: after pictures of one style were learnt with names in many languages, are those of another
style found by name?

Flags and symbols of the emoji table: Google's pictures train, Twitter's are searched. What counts are names in
languages of other scripts, which no English name resembles: a name that is the same in two languages would be found
without any translation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from diptych.core import Backbone, Column, Evidence, Kit, NotAvailable, Run, Samples, Table
from diptych.data.named_sets import present
from diptych.data.scenes.sprites import Picture, read_emoji
from diptych.evaluation.arms import CHANCE, Floats
from diptych.methods.pretrain.rs_m_clip import RSMCLIP
from diptych.metrics.retrieval import first_ranks
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from proofs.trial import Tabled

GROUPS = frozenset({"flags", "symbols"})
"""Kinds of emoji that ``tiny`` has not seen."""
THINGS = 64
"""How many of them, by the hash of their pictures: more take hours on one core."""
ENGLISH, SCRIPTS = "en", ("ru", "zh")
"""The language of the baseline, and those of other scripts that are taught with it and measured."""
ENGLISH_ALONE = "English names alone"
FIT = Fit(lr=1e-3, batch=32, steps=72, decay=0.1, schedule=Schedule(warmup=7), log_every=24)
"""Settings of all arms, fixed before any result was seen: a name is drawn twelve times; the rate is that at which
``tiny`` was trained.
"""
SMALL = RSMCLIP(crops=2, hidden=256, bottleneck=64, prototypes=512)
"""For a few hundred pictures of 64 pixels."""
_AT_ONCE = 128
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class OnWhite:
    """Sprites on a white ground.

    Args:
        pictures: N sprites.
    """

    pictures: tuple[Picture, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int, /) -> Image.Image:
        sprite = Image.fromarray(self.pictures[index].rgba)
        ground = Image.new("RGB", sprite.size, _WHITE)
        ground.paste(sprite, mask=sprite.getchannel("A"))
        return ground

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the sprite's pixels."""
        return hashlib.sha256(b"on white" + np.ascontiguousarray(self.pictures[index].rgba).tobytes()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the sprite's name."""
        return self.pictures[index].name


@dataclass(frozen=True)
class Named:
    """Two pictures of each thing, and its names.

    Args:
        learnt, test: N pictures each.
        names: language -> N names.
    """

    learnt: OnWhite
    test: OnWhite
    names: Mapping[str, tuple[str, ...]]

    def rows(self, languages: Sequence[str], order: Sequence[int] | None = None) -> Table[Any]:
        """Return the training rows with names in some languages; all but the English ones in another order."""
        places = range(len(self.learnt)) if order is None else order
        captions = [
            tuple(self.names[code][i if code == ENGLISH else j] for code in languages)
            for i, j in zip(range(len(places)), places, strict=True)
        ]
        return Table(self.learnt, {"captions": Column("captions", tuple(captions))})


def find_named(name: str) -> Named:
    """Open flags and symbols that have a name in every language that is taught.

    One whose name in another script holds Latin letters ("ATM") is left out.

    Raises:
        NotAvailable: the emoji table is not there, or has no such emoji.
    """
    table = present(name) / "emoji.parquet"
    learnt, test = (read_emoji(table, style, GROUPS) for style in ("google", "twitter"))
    languages = (ENGLISH, *SCRIPTS)
    known = [
        i
        for i, p in enumerate(learnt)
        if set(p.names) >= set(languages) and not any(_latin(p.names[s]) for s in SCRIPTS)
    ]
    if not known:
        raise NotAvailable(
            f"{table} has no flags and symbols with names in {', '.join(SCRIPTS)}: give the emoji table."
        )
    whole = OnWhite(learnt)
    kept = sorted(sorted(known, key=whole.key)[:THINGS])
    names = {code: tuple(learnt[i].names[code] for i in kept) for code in languages}
    return Named(OnWhite(tuple(learnt[i] for i in kept)), OnWhite(tuple(test[i] for i in kept)), names)


def _latin(text: str) -> bool:
    return any(c.isascii() and c.isalpha() for c in text)


def recalls(space: Backbone, pictures: Samples[Any], names: Mapping[str, Sequence[str]]) -> dict[str, Floats]:
    """Return language -> (N,) recall at 1 of each thing, mean of both directions; equal names are found together."""
    with torch.inference_mode():
        x = _unit(space.image, [pictures[i] for i in range(len(pictures))])
        out = {}
        for code, texts in names.items():
            scores = (x @ _unit(space.text, texts).T).double().numpy()
            right = np.array(texts)[:, None] == np.array(texts)[None]
            out[code] = np.mean([first_ranks(scores, right) == 1, first_ranks(scores.T, right) == 1], axis=0)
    return out


def _unit(encoder: Any, items: Sequence[Any]) -> torch.Tensor:
    parts = [encoder.encode(encoder.inputs(items[i : i + _AT_ONCE])) for i in range(0, len(items), _AT_ONCE)]
    return normalize(torch.cat(parts), dim=-1)


def open_named(
    name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, method: RSMCLIP = SMALL, fit: Fit = FIT
) -> Tabled:
    """Train on one style and ask for the other; the metric is recall at 1 over names in other scripts.

    The data set is the folder of the emoji table.
    """
    data = find_named(name)
    every = tuple(data.names)
    reached: dict[str, list[dict[str, Floats]]] = {}
    for seed in seeds:
        seeded = replace(run, seed=seed, workers=0, out=None)
        order = np.random.default_rng(seeded.integer("permuted names")).permutation(len(data.learnt)).tolist()
        arms = {
            "own": (method, data.rows(every)),
            ENGLISH_ALONE: (method, data.rows((ENGLISH,))),
            "permuted": (method, data.rows(every, order)),
            "no crops": (replace(method, weight=0.0), data.rows(every)),
        }
        for kind, (how, rows) in arms.items():
            result = train_space(how, Kit({"main": backbone}), Evidence(train=rows), fit, seeded)
            assert isinstance(result.space, Backbone)
            reached.setdefault(kind, []).append(recalls(result.space, data.test, data.names))
    table = {kind: over(rows, SCRIPTS) for kind, rows in reached.items()}
    in_english = {"own in English": "own", "English in English": ENGLISH_ALONE}
    table |= {kind: over(reached[source], (ENGLISH,)) for kind, source in in_english.items()}
    count = len(data.test)
    table[CHANCE] = np.full_like(table["own"], 1 / count)
    others = {kind: {code: float(np.mean([r[code] for r in rows])) for code in every} for kind, rows in reached.items()}
    keys = [samples.key(i) for samples in (data.learnt, data.test) for i in range(count)]
    words = [text for code in every for text in data.names[code]]
    facts = {
        "data_hash": hashlib.sha256("\0".join([*keys, *words]).encode()).hexdigest(),
        "items": count,
        "languages": list(every),
        "measured_in": list(SCRIPTS),
    }
    return Tabled(backbone, run, seeds, "recall_at_1", facts, table, others)


def over(rows: Sequence[Mapping[str, Floats]], languages: Sequence[str]) -> Floats:
    """Return (seeds, N): the mean over languages."""
    return np.stack([np.mean([r[code] for code in languages], axis=0) for r in rows])
