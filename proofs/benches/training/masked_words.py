"""The proof of LightCLIP: are masked words likelier given their own picture than given another, and do matched words
and patches tell a caption's own picture from others better than after CLIP's loss?

Scenes are painted, so their captions are true. Pictures and captions that are measured were not trained on. The image
tower and the table of token embeddings are frozen in all arms, so that a step takes a third of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from diptych.core import Backbone, Evidence, Kit, Run, Table
from diptych.core.train import everything
from diptych.evaluation.arms import CHANCE, Floats
from diptych.evaluation.boards.tune import Training, TuneBench
from diptych.evaluation.boards.tune_parts import reached
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.lightclip import LightCLIP, LightTrainee
from diptych.nn.assignment import matched
from diptych.nn.text.masked_words import mask_words
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.pairs import shuffled_captions
from proofs.benches.training.scene_pairs import FURTHER, open_scene_pairs
from proofs.trial import Tabled, each_seed

FEW = replace(FURTHER, lr=2e-3, batch=32, steps=32, schedule=Schedule(warmup=4), log_every=32)
"""Settings of all trainings, chosen by the minutes that they take; one seed was tried before, on other scenes."""
TRAINS = "the text tower beside a frozen image tower, on composed scenes"
OTHERS = 4
"""Pictures that each caption's own one is compared with by masked words."""
AMONG = 40
"""Pictures among which each caption's own one must be the first by matched tokens."""
FIRST, R1 = f"first_of_{AMONG}", "recall_at_1"
"""Parts: captions whose own picture is that first one, and recall at 1 of the embeddings."""


def words_learn(name: str) -> bool:
    """Return whether a parameter of an open_clip model is outside its image tower and its table of tokens."""
    return not name.startswith(("visual.", "token_embedding."))


def likelier(picture: torch.Tensor, others: torch.Tensor) -> Floats:
    """Return (N,) shares of the others that are less than that of the own picture; equal ones count half.

    Args:
        picture: (N,).
        others: (N, K).
    """
    less = (others < picture[:, None]).double() + (others == picture[:, None]).double() / 2
    return less.mean(1).numpy()


@torch.inference_mode()
def own_picture(trainee: LightTrainee, table: Table[Any], run: Run) -> Mapping[str, Floats]:
    """Return "words", "tokens" and "exact" of N captions, (N,) each.

    - "words": the share of other pictures, given which the masked words are less likely than given their own.
    - "tokens": 1 where the own picture is the first of ``AMONG`` by matched words and patches, else 0.
    - "exact": the same with one word per patch.
    """
    trainee.module().eval()
    views = [{"image": table.items[i], "text": c[0]} for i, c in enumerate(table.columns["captions"].values)]
    batch = trainee.collate(views)
    e = trainee.embed(batch)
    words = trainee.words(e)
    masked = mask_words(e.targets["ids/text"], words, trainee.recipe.masked, run.generator("masked words"))
    (patches, units), seen = trainee.units(e), trainee.patches(e.tokens["image"])
    row, count = masked.predicted.nonzero()[:, 0], len(views)
    nats = []
    for d in range(OTHERS + 1):
        order = (torch.arange(count) + d * (count // (OTHERS + 1))) % count
        nats.append(torch.zeros(count).index_add(0, row, trainee.word_losses(batch, masked, seen[order])))
    out = {"words": likelier(-nats[0], -torch.stack(nats[1:], dim=1))}
    for name, capacity in (("tokens", trainee.recipe.capacity), ("exact", 1)):
        matches = matched(units, words, patches, capacity)
        others = [matched(units, words, patches[order], capacity) for order in _neighbours(count)]
        out[name] = (matches > torch.stack(others).amax(0)).double().numpy()
    return out


def _neighbours(count: int) -> list[torch.Tensor]:
    """Return for each of ``AMONG`` - 1 shifts the (N,) number of another picture in the block of each picture."""
    size = min(AMONG, count)
    i = torch.arange(count)
    start = i // size * size
    sizes = (count - start).clamp(max=size)
    return [start + (i - start + d) % sizes for d in range(1, int(sizes.min()))]


def trained(bench: TuneBench, method: LightCLIP, rows: Table[Any], seed: int) -> LightTrainee:
    """Return the trainee of a system, after training from the backbone of a bench."""
    run = replace(bench.run, seed=seed, out=None, workers=0)
    (trainee,) = method.stages(Kit({"main": bench.space}), None, Evidence(train=rows), run, words_learn)
    assert isinstance(trainee, LightTrainee)
    train(trainee, rows, bench.fit, run)
    return trainee


def open_words(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, fit: Fit = FEW) -> Tabled:
    """Train and measure all arms on scenes; the metric is how often masked words are likelier given the own picture
    than given another, and the parts are ``FIRST`` and ``R1``.
    """
    bench, method = open_scene_pairs(name, backbone, run, seeds, fit=fit, trains=TRAINS), LightCLIP()

    def once(seeded: Run) -> dict[tuple[str, str], Floats]:
        table: dict[tuple[str, str], Floats] = {}
        clip = bench.trained(Training(CLIPLoss(), learns=words_learn), seeded).space
        assert isinstance(clip, Backbone)  # the kind of space that went in
        arms = {
            "own": trained(bench, method, bench.train, seeded.seed),
            "shuffled": trained(bench, method, shuffled_captions(bench.train, seeded), seeded.seed),
            "clip-loss": LightTrainee(method, clip, seeded, everything),
            "before": LightTrainee(method, backbone, seeded, everything),
        }
        for arm, trainee in arms.items():
            values = own_picture(trainee, bench.held_out, seeded)
            recall = reached(trainee.trained(), bench.held_out, None, seeded)[R1]  # type: ignore[arg-type]
            exact = f"{arm}, exact"  # of words, which are matched in no way, as of the arm
            table |= {(arm, ""): values["words"], (arm, FIRST): values["tokens"], (arm, R1): recall}
            table |= {(exact, ""): values["words"], (exact, FIRST): values["exact"]}
        return table

    reached_of = each_seed(once, run, seeds)
    table = {arm: values for (arm, part), values in reached_of.items() if not part}
    parts = {arm: {p: v for (a, p), v in reached_of.items() if a == arm and p} for arm in table}
    table[CHANCE] = np.full_like(table["own"], 0.5)
    return Tabled(backbone, run, seeds, "own_picture", dict(bench.facts), table, parts=parts)
