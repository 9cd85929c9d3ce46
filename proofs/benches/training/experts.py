"""The proof of CLIP-MoE: do experts that were trained within clusters see other features than the base model, and does
their mixture find pictures better than the base model?

Pictures are composed scenes with true captions. The mixture is made of the last two blocks of both towers. Its control
has equal experts, whose output is the base model's for any router.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from diptych.backbones.changes.experts import merged
from diptych.core import Backbone, Evidence, Kit, Run, Table, Trainee
from diptych.data.scenes.tables import scene_data
from diptych.evaluation.arms import Arm, Floats
from diptych.evaluation.boards.tune_parts import reached
from diptych.methods.pretrain.clip_moe import CLIPMoE, RouterTrainee, unit_pairs
from diptych.train.group_batches import Groups, clustered
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.scene_pairs import PAIRS, only_scenes
from proofs.trial import Claim, Tabled, Trial, each_seed, hash_of_words

SCENES = replace(PAIRS, sides=(0.14, 0.22), backgrounds=("noise",))
"""Things so small, on so restless a background, that ``tiny`` has something to learn."""
SIZES = {"train": 640, "test": 240}
MOE = CLIPMoE(experts=3, top=2, clusters=2, layers=2, router_rate=10.0)
"""Fewer experts and clusters than the paper's for a few hundred scenes; routers learn fast, for they have few steps."""
FIT = Fit(lr=3e-4, batch=32, steps=12, decay=0.1, schedule=Schedule(warmup=2), clip=1.0, log_every=12)
"""Settings of every stage. They and the scenes were chosen on other scenes and another seed."""
Pair: TypeAlias = tuple[Tensor, Tensor]
BASE, RANDOM = "before", "random batches"
SHUFFLED, EQUAL = "shuffled groups", "equal experts"


@dataclass(frozen=True)
class ShuffledGroups(CLIPMoE):
    """CLIP-MoE whose groups are those of other rows."""

    def groups(self, space: Backbone, table: Table[Any], before: Groups, run: Run, number: int) -> Groups:
        """Return the groups of a stage, permuted over the rows."""
        groups = super().groups(space, table, before, run, number)
        return np.random.default_rng(run.integer(f"permuted groups/{number}")).permutation(groups)


def other_features(one: Pair, other: Pair, run: Run) -> float:
    """Return 1 - NMI of three clusters of two models: 0 where they are equal, 1 where they are unrelated. Each is given
    by (N, D) unit embeddings of N images and their captions.

    It is the mean over ten starts of k-means, and over images and captions, for single clusterings differ much.
    """
    seeds = [run.integer(f"compared clusters/{start}") for start in range(10)]
    agree = [
        normalized_mutual_info_score(clustered(x, 3, seed), clustered(y, 3, seed))
        for x, y in zip(one, other, strict=True)
        for seed in seeds
    ]
    return 1 - float(np.mean(agree))


def open_experts(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    method: CLIPMoE = MOE,
    fit: Fit = FIT,
    sizes: Mapping[str, int] = SIZES,
) -> Tabled:
    """Train the experts and routers of all arms; the metric is recall at 1 of unseen scenes."""
    only_scenes(name)
    data = scene_data(SCENES, sizes)
    rows, test = data.split("train"), data.split("test")
    base = unit_pairs(backbone, test, run)

    def once(run: Run) -> dict[str, Floats]:
        local_run = replace(run, workers=0, out=None)

        def trained(trainee: Trainee, times: int = 1) -> Backbone:
            train(trainee, rows, replace(fit, steps=(fit.steps or 1) * times), local_run)
            space = trainee.trained()
            assert isinstance(space, Backbone)  # of a backbone
            return space

        def stages(how: CLIPMoE) -> Any:
            return how.stages(Kit({"main": backbone}), None, Evidence(train=rows), local_run)

        tuned = [trained(trainee) for trainee in stages(method)]
        first = {
            "own": tuned[0],
            RANDOM: trained(next(stages(replace(method, clusters=1)))),
            SHUFFLED: trained(next(stages(ShuffledGroups(**vars(method))))),
        }
        equal = merged([backbone] * method.experts, method.top, method.last, run.seed)
        spaces = {
            "own": tuned[-1],
            BASE: backbone,
            EQUAL: trained(RouterTrainee(method, equal, local_run)),
            "dense": trained(next(stages(replace(method, clusters=1))), method.experts),
        }
        singles = [reached(space, test, None, local_run)["recall_at_1"] for space in tuned[:-1]]
        recalls = {kind: reached(space, test, None, local_run)["recall_at_1"] for kind, space in spaces.items()}
        recalls["best expert"] = max(singles, key=lambda values: float(values.mean()))
        return recalls | {
            f"features of {kind}": np.array([other_features(unit_pairs(space, test, local_run), base, local_run)])
            for kind, space in first.items()
        }

    captions = [t for texts in rows.columns["captions"].values for t in texts]
    facts = {"data_hash": hash_of_words(test.items, captions), "items": len(test), "train": len(rows)}
    return Tabled(backbone, run, seeds, "value", facts, each_seed(once, run, seeds))


OTHER = Claim(RANDOM, arm=Arm("features of own"), base=Arm(f"features of {RANDOM}"), name="other features")
BEFORE = Claim(BASE)
CLIP_MOE = Trial(
    (replace(BEFORE, name="recall at 1"), OTHER),
    arm=Arm("own"),
    controls=(
        replace(BEFORE, arm=Arm(EQUAL), name=EQUAL),
        replace(OTHER, arm=Arm(f"features of {SHUFFLED}"), name=SHUFFLED),
    ),
    beside={"dense, as many steps": Arm("dense"), "the best single expert": Arm("best expert")},
    bench=open_experts,
)
