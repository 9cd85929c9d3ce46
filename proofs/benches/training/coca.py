"""The proof of the captioning loss: are captions of an unseen photo likelier given it than given another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from diptych.core import Backbone, Run, Table
from diptych.evaluation.arms import CHANCE, Floats
from diptych.evaluation.boards.tune import Training, TuneBench
from diptych.features.frozen import HeadSpace
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.nn.text.small_lm import SmallLM
from diptych.train.captioning import PAD, WordIds, next_logits
from diptych.train.recipe import DECODER, WORDS
from diptych.train.schedule import Fit
from proofs.benches.training.pairs import FRESH, WIDTH, NewHeads, open_pairs, shuffled_captions
from proofs.trial import Tabled

WRITING = replace(FRESH, batch=64)
OTHERS = 4
"""Photos that each held-out photo is compared with."""


def decoder(space: Backbone, rows: Table[Any], run: Run) -> Mapping[str, Any]:
    """Return a small decoder and its vocabulary, the words that occur twice in the training captions."""
    words = WordIds.of([c for texts in rows.columns["captions"].values for c in texts])
    with run.seeded("decoder"):
        return {
            WORDS: words,
            DECODER: SmallLM(len(words), width=128, depth=2, heads=4, context=words.context, memory=WIDTH),
        }


def open_captioning(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, fit: Fit = WRITING) -> Tabled:
    """Train heads and decoder; the metric is the share of (caption, other photo) that the own photo explains better."""
    bench = open_pairs(name, backbone, run, seeds)
    how = Training(CoCaLoss(pad=PAD), fit, kit=decoder, start=NewHeads())
    reached = {"own": own_photo(bench, how), "shuffled": own_photo(bench, replace(how, rows=shuffled_captions))}
    others = {kind: {"nats_gained_per_caption": float(nats.mean())} for kind, (_, nats) in reached.items()}
    values = {kind: hits for kind, (hits, _) in reached.items()}
    facts = {k: v for k, v in bench.facts.items() if k != "trains"}
    chance = {CHANCE: np.full_like(values["own"], 0.5)}
    return Tabled(backbone, run, seeds, "own_photo", facts, {**values, **chance}, others)


def own_photo(bench: TuneBench, how: Training) -> tuple[Floats, Floats]:
    """Return (seeds, N) how often a photo's captions are likelier given it than another, and the nats a caption."""
    hits, nats = [], []
    captions = [tuple(c) for c in bench.held_out.columns["captions"].values]
    for seed in bench.seeds:
        trained = bench.trained(how, replace(bench.run, seed=seed))
        assert isinstance(trained.space, HeadSpace)
        decoder, words = trained.parts["decoder"], _words(bench, how)
        pixels = trained.space.image.inputs([bench.held_out.items[i] for i in range(len(bench.held_out))])
        with torch.inference_mode():
            images = trained.space.image.encode(pixels)
            rows = [_losses(decoder, words, texts, images, i) for i, texts in enumerate(captions)]
        gap = torch.stack([r[1:].mean(1) - r[0].mean() for r in rows]).numpy()
        hits.append(np.array([float((r[1:] > r[:1]).double().mean()) for r in rows]))
        nats.append(gap.mean(1).astype(np.float64))
    return np.stack(hits), np.stack(nats)


def _losses(decoder: Any, words: WordIds, captions: Sequence[str], images: torch.Tensor, i: int) -> torch.Tensor:
    """Return (1 + OTHERS, captions) nats of each caption given photo i, and given the photos after it."""
    seen = images[[(i + d * (len(images) // (OTHERS + 1))) % len(images) for d in range(OTHERS + 1)]]
    ids = words.ids(captions).repeat(len(seen), 1)
    logits = next_logits(decoder, ids, seen.repeat_interleave(len(captions), 0))
    loss = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], ignore_index=PAD, reduction="none").sum(1)
    return loss.reshape(len(seen), len(captions))


def _words(bench: TuneBench, how: Training) -> WordIds:
    assert how.kit is not None
    words: WordIds = how.kit(bench.space, bench.train, bench.run)[WORDS]  # a shuffle moves captions, and changes none
    return words
