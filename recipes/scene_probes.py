"""What a backbone sees in composed scenes: colours, shapes, counts, relations, and which attribute belongs to which
object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch.nn.functional import normalize

from diptych.core import Backbone
from diptych.data.scenes.captions import NUMBERS, short_caption
from diptych.data.scenes.compose import RELATIONS, Scene, SceneRecipe, hold_out, scene
from diptych.data.scenes.sprites import SpriteBank
from diptych.data.words.sentences import article
from diptych.metrics.closed_intervals import wilson

HELD_OUT_SHARE = 0.25
"""Share of the colour x shape pairs that ``tiny`` never saw: ``hold_out(SpriteBank(), HELD_OUT_SHARE, seed=0)``."""


def judge(backbone: Backbone, seed: int = 1_000_003, items: int = 1000) -> dict[str, dict[str, float]]:
    """Probe a backbone on scenes that training never drew.

    Args:
        backbone: any; its text tower reads the questions.
        seed: of the test scenes, apart from every training seed.
        items: scenes a probe (default 1,000; counts take six tenths of them).

    Returns:
        Probe -> {"accuracy", "low", "high" (95 % Wilson interval), "chance", "items"}, all fractions but the count.
    """
    bank = SpriteBank()
    held = hold_out(bank, HELD_OUT_SHARE, seed=0)
    every = bank.combinations()
    pairs = [f"a photo of {article(f'{c} {s}')}." for c, s in every]
    out = {}
    for name, recipe in {
        "seen pairs": SceneRecipe(bank, held_out=held),
        "unseen pairs": SceneRecipe(bank, only=held),
    }.items():
        scenes = [scene(recipe, seed, i) for i in range(items)]
        right = [every.index((s.objects[0].colour or "", s.objects[0].noun)) for s in scenes]
        out[name] = _probe(backbone, scenes, [pairs] * items, right)
    scenes = [scene(SceneRecipe(bank), seed + 1, i) for i in range(items)]
    colours, shapes = bank.colours, bank.shapes
    by_colour = [[f"a photo of {article(f'{c} {s.objects[0].noun}')}." for c in colours] for s in scenes]
    out["colour"] = _probe(backbone, scenes, by_colour, [colours.index(s.objects[0].colour or "") for s in scenes])
    by_shape = [[f"a photo of {article(f'{s.objects[0].colour} {n}')}." for n in shapes] for s in scenes]
    out["shape"] = _probe(backbone, scenes, by_shape, [shapes.index(s.objects[0].noun) for s in scenes])
    alike = [
        scene(SceneRecipe(bank, objects=(n,), same=1.0), seed + 2, i) for i, n in enumerate([2, 3, 4] * (items // 5))
    ]
    by_count = [[replace_count(s, n) for n in (2, 3, 4)] for s in alike]
    out["count"] = _probe(backbone, alike, by_count, [len(s.objects) - 2 for s in alike])
    two = _distinct_pairs(SceneRecipe(bank, objects=(2,)), seed + 3, items)
    by_relation = [[s.captions["short"].replace(s.relation or "", r) for r in RELATIONS] for s in two]
    out["relation"] = _probe(backbone, two, by_relation, [RELATIONS.index(s.relation or "") for s in two])
    swapped = [[s.captions["short"], _swapped(s)] for s in two]
    out["binding"] = _probe(backbone, two, swapped, [0] * len(two))
    out["two objects, image to text R@1"] = _probe(
        backbone, two, [[s.captions["short"] for s in two]] * len(two), list(range(len(two)))
    )
    return out


def replace_count(s: Scene, number: int) -> str:
    """Return the caption of alike objects with another number."""
    return " ".join([NUMBERS[number], *s.captions["short"].split(" ")[1:]])


def _swapped(s: Scene) -> str:
    """Return the caption with the two objects' colours exchanged: the same words, bound wrongly."""
    first, second = s.objects
    return short_caption([replace(first, colour=second.colour), replace(second, colour=first.colour)], s.relation)


def _distinct_pairs(recipe: SceneRecipe, seed: int, count: int) -> list[Scene]:
    seen: dict[str, Scene] = {}
    number = 0
    while len(seen) < count:
        s = scene(recipe, seed, number)
        if s.relation and s.objects[0].colour != s.objects[1].colour:
            seen.setdefault(s.captions["short"], s)
        number += 1
    return list(seen.values())


@torch.inference_mode()
def _probe(
    backbone: Backbone, scenes: Sequence[Scene], questions: Sequence[Sequence[str]], right: Sequence[int]
) -> dict[str, float]:
    texts = sorted({q for row in questions for q in row})
    place = {t: i for i, t in enumerate(texts)}
    words = torch.cat(
        [
            normalize(backbone.text.encode(backbone.text.inputs(texts[i : i + 256])), dim=-1)
            for i in range(0, len(texts), 256)
        ]
    )
    pictures = [Image.fromarray(s.image) for s in scenes]
    views = [backbone.image.encode(backbone.image.inputs(pictures[i : i + 128])) for i in range(0, len(pictures), 128)]
    scores = normalize(torch.cat(views), dim=-1) @ words.T
    hits = sum(int(scores[i, [place[q] for q in row]].argmax()) == right[i] for i, row in enumerate(questions))
    low, high = wilson(hits, len(scenes))
    return {
        "accuracy": hits / len(scenes),
        "low": low,
        "high": high,
        "chance": 1 / len(questions[0]),
        "items": len(scenes),
    }
