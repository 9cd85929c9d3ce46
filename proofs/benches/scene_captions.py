"""The bench of captioners that are rewarded: composed scenes of two things, judged by the truth that the painter knows.

Annotators are constructed, and say different amounts: of the four captions of a scene, two name one thing by its shape
alone, one names a thing with its colour, and one names both with their colours. A captioner that writes as most of them
do leaves out what tells scenes apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core import Backbone, Evidence, Kit, Run
from diptych.data.scenes.captions import phrase
from diptych.data.scenes.compose import Scene, SceneRecipe
from diptych.data.scenes.sprites import COLOURS
from diptych.data.scenes.tables import scene_data
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Floats
from diptych.methods.caption.clip_reward import ClipReward, grammar_head
from diptych.metrics.caption import cider_d, distinct, repetition, tokens
from diptych.nn.text.vocabulary import Vocabulary
from proofs.trial import Tabled

NAMED = ("red", "yellow", "green", "blue", "pink"), ("circle", "square", "triangle", "star", "heart")
TWO = SceneRecipe(objects=(2,), only=frozenset(product(*NAMED)))
"""Two things of 25 kinds a scene."""
SIZES = {"train": 800, "val": 200, "test": 200}
SETTINGS = {**ClipReward.card.variants["small"], "epochs": 25, "limit": 10, "rewarded": 40, "reward_batch": 24}
"""Fixed on the split val, and then shortened; no scene of test was used."""


class OtherPicture(ClipReward):
    """The control: the reward compares captions with the picture of another scene."""

    def seen_by_reward(self, z: Tensor, run: Run) -> Tensor:
        """Return the embeddings moved on among the images, along one random circle, so that none keeps its own."""
        order = torch.randperm(len(z), generator=run.generator("other picture"))
        moved = torch.empty_like(z)
        moved[order] = z[order.roll(1)]
        return moved


ARMS: Mapping[str, ClipReward] = {
    "clip-reward": ClipReward(**SETTINGS),
    "no grammar": ClipReward(**{**SETTINGS, "grammar": 0.0}),
    "other picture": OtherPicture(**SETTINGS),
}


def terse(scene: Scene) -> tuple[str, ...]:
    """Return the four captions of a scene of two things."""
    one, two = scene.objects[:2]
    both = f"{article(phrase(one))} and {article(phrase(two))}"
    return (article(one.noun), article(two.noun), article(phrase(one)), both)


def stated(caption: str, shapes: Sequence[str]) -> frozenset[str]:
    """Return what a caption states of its things: each shape, and each colour right before a shape with it.

    Example:
        >>> sorted(stated("A red circle and a star.", ("circle", "star")))
        ['circle', 'red circle', 'star']
    """
    words = tokens(caption)
    facts = {word for word in words if word in shapes}
    return frozenset(facts | {f"{c} {s}" for c, s in pairwise(words) if c in COLOURS and s in shapes})


def truth(scene: Scene) -> frozenset[str]:
    """Return all that a caption can state of a scene."""
    return frozenset(word for o in scene.objects for word in (o.noun, f"{o.colour} {o.noun}"))


def f1(stating: Sequence[frozenset[str]], true: Sequence[frozenset[str]]) -> Floats:
    """Return (N, M) how far each of N captions states each of M scenes: 2 |A and B| / (|A| + |B|)."""
    return np.array([[2 * len(a & b) / max(1, len(a) + len(b)) for b in true] for a in stating])


def first_chance(scores: Floats) -> Floats:
    """Return (N,) the chance that a caption's own scene comes first by the (N, N) scores; ties share it."""
    best = scores >= scores.max(axis=1, keepdims=True)
    chances: Floats = np.diag(best) / best.sum(axis=1)
    return chances


def open_scene_captions(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    arms: Mapping[str, ClipReward] = ARMS,
    sizes: Mapping[str, int] = SIZES,
    split: str = "test",
) -> Tabled:
    """Train one captioner of likelihood a seed, and go on from it with each reward.

    The metric of a caption is the F1 of what it states of its scene. The backbone is the captioner's eyes, and the
    reward. All arms start from the likelihood of the first.
    """
    data = scene_data(TWO, sizes, caption=terse)
    table, held_out = data.split("train"), data.split(split)
    scenes: Any = held_out.items
    true, shapes = [truth(scene) for scene in scenes.scenes], TWO.bank.shapes
    references = [[terse(scene)[-1]] for scene in scenes.scenes]
    values: dict[str, list[Floats]] = {}
    others: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        seeded = replace(run, seed=seed)
        first = next(iter(arms.values())).likely(Kit.of(backbone), Evidence(train=table), seeded)
        grammar = grammar_head(backbone, table, Vocabulary(first.words), seeded)
        for arm, method in {"likelihood": None, **arms}.items():
            fitted = first if method is None else method.rewarded_from(first, table, seeded, grammar)
            captions = [written[0].value if written else "" for written in fitted.caption(held_out.items, seeded)]
            scores = f1([stated(c, shapes) for c in captions], true)
            values.setdefault(arm, []).append(np.diag(scores))
            values.setdefault(f"{arm}, found", []).append(first_chance(scores))
            values.setdefault(f"{arm}, unrepeated", []).append(1 - repetition(captions, n=2))
            others.setdefault(arm, []).append(
                {
                    "found": float(first_chance(scores).mean()),
                    "repetition2": float(repetition(captions, n=2).mean()),
                    "distinct2": distinct(captions),
                    "words": float(np.mean([len(tokens(c)) for c in captions])),
                    "cider_d": float(cider_d(captions, references).mean()),
                    "grammar_accuracy": fitted.grammar_accuracy or 0.0,
                }
            )
    means = {arm: {k: float(np.mean([o[k] for o in rows])) for k in rows[0]} for arm, rows in others.items()}
    facts = {
        "data_hash": data.hash,
        "split": split,
        "items": len(held_out),
        "train": len(table),
        "judge": "scene truth",
    }
    return Tabled(
        backbone, run, seeds, "stated_f1", facts, {arm: np.stack(rows) for arm, rows in values.items()}, means
    )
