"""The proof of SyCoCa: do attentive masks hide what a caption names, and is it painted better from its own caption than
from another?

Scenes of one object are painted, so the box of what a caption names is known. After a few steps, the quarter of each
picture that holds most of the box is hidden and painted from the words. The image tower and the table of token
embeddings are frozen in all arms, so that a step takes half the time; text tower, captioner and painter learn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone, Clock, Embedded, Evidence, Kit, Run, Table
from diptych.data.scenes.compose import SceneRecipe
from diptych.evaluation.arms import CHANCE, Floats
from diptych.evaluation.boards.tune import TuneBench
from diptych.methods.pretrain.sycoca import SyCoCa, SymmetricTrainee, largest
from diptych.nn.text.small_lm import SmallLM
from diptych.train.captioning import WordIds
from diptych.train.loop import train
from diptych.train.recipe import DECODER, WORDS
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.masked_words import likelier, words_learn
from proofs.benches.training.pairs import shuffled_captions
from proofs.benches.training.scene_pairs import FURTHER, open_scene_pairs
from proofs.trial import Tabled, each_seed

FEW = replace(FURTHER, lr=3e-3, batch=16, steps=60, schedule=Schedule(warmup=6), log_every=60)
"""Settings of all trainings, chosen by the minutes that they take, after pilot runs on other scenes that were not kept.
"""
ONE = SceneRecipe(objects=(1,))
"""Scenes of one object."""
TRAINS = "the text tower, decoder and painter beside a frozen image tower, on composed scenes"
OTHERS = 4
"""Captions that each picture's own one is compared with."""
COVERED = "hidden_objects"
"""Part: the share of what is in boxes that is hidden."""
SMALL: dict[str, Any] = {"hidden": 0.25, "paint_width": 128, "paint_depth": 2}
"""A painter for pictures of 64 pixels, of a quarter of the patches (from the paper's sweep)."""


class RandomTrainee(SymmetricTrainee):
    """Hides patches at random."""

    def scores(self, e: Embedded, clock: Clock) -> Tensor:
        """Return random scores."""
        scores = super().scores(e, clock)
        return torch.rand(scores.shape, generator=clock.generator).to(scores)


class RandomMasks(SyCoCa):
    """The control: the same losses with random masks."""

    trainee = RandomTrainee


def boxed(table: Table[Any], grid: tuple[int, int]) -> Tensor:
    """Return (N, P), the share of each patch of N scenes that lies in a box.

    Args:
        table: scenes with "boxes", all of one size.
        grid: (h, w) of the patches.
    """
    width, height = table.items[0].size
    inside = torch.zeros(len(table), 1, height, width)
    for i, boxes in enumerate(table.columns["boxes"].values):
        for left, top, right, bottom in np.asarray(boxes.corners).round().astype(int).tolist():
            inside[i, 0, top:bottom, left:right] = 1
    return F.adaptive_avg_pool2d(inside, grid).flatten(1)


@torch.inference_mode()
def painted(trainee: SymmetricTrainee, table: Table[Any], run: Run) -> dict[str, Floats]:
    """Return "covered" and "guided" of N scenes, (N,) each.

    - "covered": the share of what is in boxes that the hidden patches would cover.
    - "guided": the share of other captions, from which the patches with most of the boxes are painted worse than from
      the own caption.
    """
    trainee.module().eval()
    batch = trainee.collate(
        [{"image": table.items[i], "text": c[0]} for i, c in enumerate(table.columns["captions"].values)]
    )
    e = trainee.embed(batch)
    text, grid = e.tokens["text"], e.tokens["image"].grid
    assert grid is not None  # an image has a grid
    truth = boxed(table, grid)
    scores = trainee.scores(e, Clock(0, 1, 0, run.generator("scores")))
    share = trainee.recipe.hidden
    covered = (truth * largest(scores, share)).sum(1) / truth.sum(1).clamp(min=1e-6)
    hidden, count, errors = largest(truth, share), len(table), []
    around = trainee.tokens_around(batch["image"], hidden)
    for d in range(OTHERS + 1):
        order = (torch.arange(count) + d * (count // (OTHERS + 1))) % count
        assert text.valid is not None  # given ids
        words = replace(text, h=text.h[order], valid=text.valid[order])
        errors.append(trainee.errors(batch["image"], hidden, around, words))
    return {"covered": covered.double().numpy(), "guided": likelier(-errors[0], -torch.stack(errors[1:], dim=1))}


def trained(bench: TuneBench, method: SyCoCa, rows: Table[Any], seed: int) -> SymmetricTrainee:
    """Return the trainee of a system, after training from the backbone of a bench."""
    run = replace(bench.run, seed=seed, out=None, workers=0)
    words = WordIds.of([c for texts in rows.columns["captions"].values for c in texts])
    with run.seeded("decoder"):
        decoder = SmallLM(len(words), width=64, depth=1, heads=2, context=words.context, memory=bench.space.spec.dim)
    kit = Kit({"main": bench.space, DECODER: decoder, WORDS: words})
    (trainee,) = method.stages(kit, None, Evidence(train=rows), run, words_learn)
    assert isinstance(trainee, SymmetricTrainee)
    train(trainee, rows, bench.fit, run)
    return trainee


def open_painted(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, fit: Fit = FEW) -> Tabled:
    """Train and measure all arms on scenes; the metric is the share of other captions that a picture's own one beats,
    and the part is ``COVERED``.
    """
    bench = open_scene_pairs(name, backbone, run, seeds, recipe=ONE, fit=fit, trains=TRAINS)

    def once(seeded: Run) -> dict[str, Floats]:
        arms: dict[str, tuple[SyCoCa, Table[Any]]] = {
            "own": (SyCoCa(**SMALL), bench.train),
            "random": (RandomMasks(**SMALL), bench.train),
            "shuffled": (SyCoCa(**SMALL), shuffled_captions(bench.train, seeded)),
        }
        spaces = {arm: trained(bench, method, rows, seeded.seed) for arm, (method, rows) in arms.items()}
        return {arm: np.stack([*painted(trainee, bench.held_out, seeded).values()]) for arm, trainee in spaces.items()}

    reached = each_seed(once, run, seeds)
    table = {arm: values[:, 1] for arm, values in reached.items()}
    table[CHANCE] = np.full_like(table["own"], 0.5)
    parts = {arm: {COVERED: values[:, 0]} for arm, values in reached.items()}
    return Tabled(backbone, run, seeds, "own_caption", dict(bench.facts), table, parts=parts)
