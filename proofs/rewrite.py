"""Proof of rewriters of prompts: composed scenes with a short and a long caption each.

The short caption names colour and shape; the long one adds texture, size and background, which the short one leaves
open. Pictures and prompts of the test are the same for all seeds; a fifth of the combinations of colour and shape is
held out of the training, and half of the prompts name one of those.

What is measured, for a prompt: "kept", the share of its rewrites that name its colour and its shape; "distinct_2", the
share of different pairs of words among its rewrites. For a picture: "error", the denoiser's error told its short
caption, negated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from diptych.backbones.diffusion.load import SMALL_SCENES, load_diffusion
from diptych.core import (
    Ask,
    Backbone,
    Column,
    Condition,
    Evidence,
    Kit,
    NotAvailable,
    Run,
    Table,
    TextDiffusion,
    Writer,
)
from diptych.data.memory import InMemory
from diptych.data.scenes.compose import Scene, SceneRecipe, hold_out, scene
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Arm
from diptych.methods.rewrite.uf_fgtg import UFFGTG
from diptych.metrics.caption import distinct
from diptych.nn.diffusion.noise_error import drawn_noise, noise_error
from diptych.nn.style_space import square_of
from proofs.trial import Claim, Tabled, Trial, hash_of_words

HELD_OUT = hold_out(SMALL_SCENES.bank, 0.2, 0)
TAUGHT = replace(SMALL_SCENES, held_out=HELD_OUT)
SEED, DRAWS = 1_000_003, 8
"""Of the test pictures, and noisy copies of each."""
METRIC = "value"


def short(shown: Scene) -> str:
    """Return "a red circle" of a scene of one object."""
    thing = shown.objects[0]
    return article(f"{thing.colour} {thing.noun}")


def table(recipe: SceneRecipe, seed: int, count: int) -> Table[Any]:
    """Return scenes with a short and a long caption each."""
    scenes = [scene(recipe, seed, number) for number in range(count)]
    captions = [(short(s), s.captions["long"]) for s in scenes]
    return Table(InMemory([s.image for s in scenes]), {"captions": Column("captions", captions)})


def permuted(data: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the long captions of other pictures."""
    rows = data.columns["captions"].values
    order = np.random.default_rng(run.integer("permuted")).permutation(len(rows))
    captions = [(pair[0], rows[j][1]) for pair, j in zip(rows, order, strict=True)]
    return Table(data.items, {"captions": Column("captions", captions)})


def prompts(count: int) -> tuple[tuple[str, str], ...]:
    """Return (colour, shape) of prompts, half of them held out of the training where there are enough."""
    rng = np.random.default_rng(SEED)
    known, unseen = sorted(set(TAUGHT.pairs())), sorted(HELD_OUT)
    few = min(count // 2, len(unseen))
    chosen = [unseen[i] for i in rng.permutation(len(unseen))[:few]]
    return tuple(chosen + [known[i] for i in rng.permutation(len(known))[: count - few]])


def written(writer: Writer, pairs: Sequence[tuple[str, str]], choices: int) -> list[list[str]]:
    """Return the rewrites of prompts."""
    replies = writer.write([Ask(about=article(" ".join(pair)), n=choices) for pair in pairs])
    return [[t.value for t in texts] for texts in replies]


def kept(rewrites: Sequence[Sequence[str]], pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Return the share of each prompt's rewrites that name a colour and a shape."""
    return [
        float(np.mean([pair[0] in text.split() and pair[1] in text.split() for text in texts])) if texts else 0.0
        for texts, pair in zip(rewrites, pairs, strict=True)
    ]


@torch.no_grad()
def errors(diffusion: TextDiffusion, data: Table[Any], condition: Condition) -> list[float]:
    """Return the denoiser's error on each picture, told a condition, over the same noise for all conditions."""
    z = diffusion.to_latent(torch.stack([square_of(data.items[i], diffusion.size) for i in range(len(data))]))
    g, out = Run().generator("rewrite errors"), torch.zeros(len(z))
    for _ in range(DRAWS):
        t, noise = drawn_noise(diffusion, len(z), g)
        out += noise_error(diffusion, z, condition, t, noise) / DRAWS
    return out.tolist()


def open_scenes(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    train: int = 384,
    items: int = 20,
    **less: Any,
) -> Tabled:
    """Rewrite prompts of scenes; there are as many prompts as pictures of the test."""
    if name != "scenes":
        raise NotAvailable(f"{name} has no short and long captions of pictures: this proof takes scenes.")
    method = UFFGTG(**{**UFFGTG.card.variants["small"], **less})
    diffusion, pairs = load_diffusion("small", backbone), prompts(items)
    test = table(SMALL_SCENES, SEED, items)
    shorts, longs = (tuple(row[k] for row in test.columns["captions"].values) for k in (0, 1))
    rows: dict[str, list[list[float]]] = {}
    rewritten: list[float] = []
    with run.track("rewriters", 3 * len(seeds)) as bar:
        for seed in seeds:
            seeded = replace(run, seed=seed, progress=Run().progress)
            data = table(TAUGHT, seed, train)
            kit, text_alone = Kit({"main": backbone, "diffusion": diffusion}), replace(method, image=0.0)
            full = method.fit(kit, Evidence(train=data), seeded)
            alone = text_alone.fit(kit, Evidence(train=data), seeded)
            spoilt = text_alone.fit(kit, Evidence(train=permuted(data, seeded)), seeded)
            rewrites = written(full, pairs, method.choices)
            plain = written(replace(full, method=replace(method, diversity=0.0)), pairs, method.choices)
            control = written(spoilt, pairs, method.choices)
            others = [pairs[i - 1] for i in range(len(pairs))]
            best = [texts[0].value for texts in full.write([Ask(about=text) for text in shorts])]
            rewritten.append(float(np.mean(errors(diffusion, test, diffusion.encode_text(best)))))
            values = {
                "kept": kept(rewrites, pairs),
                "kept, permuted": kept(control, pairs),
                "kept, of another": kept(control, others),
                "distinct_2, groups": [distinct(texts, 2) for texts in rewrites],
                "distinct_2, no groups": [distinct(texts, 2) for texts in plain],
                "error, trained": [-e for e in errors(diffusion, test, full.condition(shorts))],
                "error, words alone": [-e for e in errors(diffusion, test, alone.condition(shorts))],
            }
            for arm, numbers in values.items():
                rows.setdefault(arm, []).append(numbers)
            bar.advance(3)
    facts = {
        "data_hash": hash_of_words(test.items, [*longs, *(" ".join(pair) for pair in pairs)]),
        "items": items,
        "train_items": train,
        "measured_seeds": list(seeds),
        "what": "composed scenes of one object, 32 pixels; not photographs",
        "error_told": {
            "short": float(np.mean(errors(diffusion, test, diffusion.encode_text(shorts)))),
            "long": float(np.mean(errors(diffusion, test, diffusion.encode_text(longs)))),
            "rewritten": float(np.mean(rewritten)),
        },
        "example": {"prompt": article(" ".join(pairs[0])), "rewrites": rewrites[0]},
    }
    return Tabled(backbone, run, seeds, METRIC, facts, {arm: np.array(v) for arm, v in rows.items()})


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "uf-fgtg": Trial(
            (
                Claim("kept, permuted", arm=Arm("kept"), name="kept"),
                Claim("kept, of another", arm=Arm("kept"), name="kept"),
                Claim("distinct_2, no groups", arm=Arm("distinct_2, groups"), name="distinct_2"),
                Claim("error, words alone", arm=Arm("error, trained"), name="denoising error"),
            ),
            variant="small",
            controls=(Claim("kept, of another", arm=Arm("kept, permuted"), name="permuted"),),
            bench=open_scenes,
        )
    }
)
