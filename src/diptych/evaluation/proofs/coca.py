"""The proof of the captioning loss: are the captions of an unseen photo likelier given that photo than given
another?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from diptych.core.backbone import Backbone
from diptych.core.data import Table
from diptych.core.run import Run
from diptych.evaluation.proofs.classify import CHANCE
from diptych.evaluation.proofs.own import with_interval
from diptych.evaluation.proofs.pairs import FRESH, WIDTH, Arm, PairBench, shuffled_captions
from diptych.features.frozen import HeadSpace
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.metrics.interval import one_sided_lower
from diptych.nn.text.small_lm import SmallLM
from diptych.train.captioning import PAD, WordIds, next_logits
from diptych.train.recipe import DECODER, WORDS
from diptych.train.schedule import Fit

Floats = NDArray[np.float64]
WRITING = replace(FRESH, batch=64)
OTHERS = 4
"""Photos that each held-out photo is compared with."""


def decoder(rows: Table[Any], run: Run) -> Mapping[str, Any]:
    """Return a small decoder and its vocabulary, the words that occur twice in the training captions."""
    words = WordIds.of([c for own in rows.columns["captions"].values for c in own])
    with run.seeded("decoder"):
        return {
            WORDS: words,
            DECODER: SmallLM(len(words), width=128, depth=2, heads=4, context=words.context, memory=WIDTH),
        }


@dataclass(frozen=True)
class CoCaTrial:
    """Trains heads and decoder; the metric is the share of (caption, other photo) in which the caption's own photo
    explains it better.

    Args:
        fit: settings of both trainings.
    """

    fit: Fit = WRITING
    metric: str = "own_photo"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return hash, items, claim and control of one data set; see ``OwnTrial``."""
        bench = PairBench(name, backbone, run, seeds)
        seed = run.integer("bootstrap")
        arm = Arm(CoCaLoss(pad=PAD), self.fit, kit=decoder)
        own, spoiled = own_photo(bench, arm), own_photo(bench, replace(arm, rows=shuffled_captions))
        chance = np.full_like(own[0], 0.5)
        gain, control = (one_sided_lower(hits, chance, seed) for hits in (own[0], spoiled[0]))
        about = {"over": CHANCE, "variant": None, "shots": 0}
        return {
            "data_hash": bench.hash,
            "split": "val",
            "items": len(bench.test),
            "train": len(bench.train),
            "claims": [
                {
                    **about,
                    "gain": gain.value,
                    "gain_lower95": gain.low,
                    "method": {
                        **with_interval(self.metric, own[0], seed),
                        "nats_gained_per_caption": float(own[1].mean()),
                    },
                    "baseline": with_interval(self.metric, chance, seed),
                    "shown": gain.low > 0,
                }
            ],
            "controls": [
                {
                    **about,
                    "gain": control.value,
                    "gain_lower95": control.low,
                    "control": {
                        **with_interval(self.metric, spoiled[0], seed),
                        "nats_gained_per_caption": float(spoiled[1].mean()),
                    },
                    "failed": control.low <= 0,
                }
            ],
            "beside": [],
        }


def own_photo(bench: PairBench, arm: Arm) -> tuple[Floats, Floats]:
    """Return (seeds, N) how often a photo's captions are likelier given it than given another, and by how many nats a
    caption.
    """
    hits, nats = [], []
    captions = [tuple(c) for c in bench.test.columns["captions"].values]
    for made in bench.trained(arm):
        assert isinstance(made.space, HeadSpace)
        decoder, words = made.parts["decoder"], _words(bench, arm)
        pixels = made.space.image.inputs([bench.test.items[i] for i in range(len(bench.test))])
        with torch.inference_mode():
            images = made.space.image.encode(pixels)
            rows = [_losses(decoder, words, own, images, i) for i, own in enumerate(captions)]
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


def _words(bench: PairBench, arm: Arm) -> WordIds:
    assert arm.kit is not None
    found: WordIds = arm.kit(bench.train, bench.run)[WORDS]  # a shuffle moves captions, so the words are the same
    return found
