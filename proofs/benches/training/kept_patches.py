"""The proof of A-CLIP: does the half of a picture to which the CLS token attends say what its caption says?

It is asked twice. Of ``tiny`` as it is, half of whose patches pass the blocks by the rule of the system. And of fresh
projections on the frozen towers of ``tiny`` that learn from masked views by CLIP's loss alone (the paper's ablation
without self-supervision), when whole pictures are searched. Scenes are painted, so what a caption names lies in a few
patches; the captions name colours, so the views keep theirs.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.towers.edits import keep_patches
from diptych.core import Backbone, Clock, MissingHook, Run, Table
from diptych.evaluation.arms import Arm, Floats
from diptych.evaluation.boards.tune import Training
from diptych.evaluation.boards.tune_parts import recalls
from diptych.methods.pretrain.a_clip import ACLIP, AttentiveTrainee
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.nn.dense.attention_maps import cls_attention, kept_patches
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.scene_pairs import FURTHER, open_scene_pairs
from proofs.trial import Tabled, each_seed

FEW = replace(FURTHER, lr=3e-3, batch=24, steps=32, schedule=Schedule(warmup=4), log_every=32)
"""Settings of all trainings, chosen by the minutes that they take; one seed was tried before, on other scenes."""
TRAINS = "projections on frozen towers, on composed scenes"
DROP, BLOCK = 0.5, 2


class RandomTrainee(AttentiveTrainee):
    """Keeps patches at random, as masked CLIPs do."""

    looks = False

    def scores(self, attention: Tensor | None, boxes: Tensor, clock: Clock) -> Tensor:
        """Return random scores."""
        return torch.rand(2, len(boxes), *self.grid, generator=clock.generator).to(boxes)


class LeastTrainee(AttentiveTrainee):
    """Keeps the patches that are attended to least."""

    def scores(self, attention: Tensor | None, boxes: Tensor, clock: Clock) -> Tensor:
        """Return the scores of the system with the other sign."""
        return -super().scores(attention, boxes, clock)


class RandomMasks(ACLIP):
    """The control: the same two views and losses with random masks."""

    trainee = RandomTrainee


class LeastAttended(ACLIP):
    """The control that must fail: the other half of each picture."""

    trainee = LeastTrainee


SETTINGS: dict[str, Any] = {"recolour": False, "simclr": 0.0, "byol": 0.0, "hidden": 8, "out": 4, "result": "online"}
"""The masks alone. Heads of the other losses have no gradient, so they are small."""
PROJECTIONS = ("visual.proj", "text_projection", "logit_scale")


def fresh_projections(space: Any, run: Run) -> Backbone:
    """Return an open_clip model with its towers, new projections and a new scale.

    Raises:
        MissingHook: it has no such parameters.
    """
    module = copy.deepcopy(space.module())
    parameters = dict(module.named_parameters())
    if not parameters.keys() >= set(PROJECTIONS):
        raise MissingHook(f"{space.spec.name} lacks one of {', '.join(PROJECTIONS)}: use tiny or an openclip ViT.")
    g = run.generator("projections")
    with torch.no_grad():
        for name in PROJECTIONS[:2]:
            p = parameters[name]
            p.copy_(torch.randn(p.shape, generator=g) * p.shape[0] ** -0.5)
        parameters["logit_scale"].fill_(math.log(1 / 0.07))
    fresh = space.rebuild(module, space.spec)
    assert isinstance(fresh, Backbone)
    return fresh


ARMS = {"attentive": ACLIP, "random": RandomMasks, "least": LeastAttended}


def of_halves(backbone: Backbone, table: Table[Any], run: Run) -> dict[str, Floats]:
    """Return arm -> (N,) recall at 1 of pictures of which half of the patches pass the blocks."""
    tower: Any = backbone.tower("image")
    captions = [texts[0] for texts in table.columns["captions"].values]
    with torch.inference_mode():
        x: Any = backbone.image.inputs([table.items[i] for i in range(len(table))])
        y = normalize(backbone.text.encode(backbone.text.inputs(captions)), dim=-1)
        attention, pooled = cls_attention(tower, x)
        drawn = torch.rand(attention.shape, generator=run.generator("random halves"))
        scores = {"attentive": attention, "random": drawn, "least": -attention}
        vectors = {"whole": pooled}
        for name, of_patches in scores.items():
            keep = kept_patches(of_patches, DROP, BLOCK)
            s = tower.start(x, edit=lambda stage, i, s, k=keep: keep_patches(s, k) if stage == "positioned" else s)
            vectors[name] = tower.pooled(tower.blocks(s))
        owner = np.arange(len(table))
        return {n: recalls(normalize(tower.project(h), dim=-1), y, owner)["recall_at_1"] for n, h in vectors.items()}


def open_kept(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, fit: Fit = FEW) -> Tabled:
    """Measure all arms on scenes; the metric is recall at 1, the mean of both directions.

    The backbone is an open_clip model, whose image tower has a CLS token.
    """
    bench = open_scene_pairs(name, backbone, run, seeds, fit=fit, trains=TRAINS)
    halves = each_seed(partial(of_halves, backbone, bench.held_out), run, seeds)
    methods: dict[str, Any] = {arm: kind(**SETTINGS) for arm, kind in ARMS.items()} | {"clip-loss": CLIPLoss()}
    reached: dict[str, Floats] = {f"{arm}, untrained": values for arm, values in halves.items()}
    for arm, method in methods.items():
        how = Training(method, start=fresh_projections, learns=PROJECTIONS.__contains__)
        reached[arm] = np.asarray(bench.measure(Arm(how)).part("recall_at_1").values, dtype=np.float64)
    return Tabled(backbone, run, seeds, "recall_at_1", dict(bench.facts), reached)
