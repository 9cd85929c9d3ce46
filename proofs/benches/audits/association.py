"""Proof of the concept association bias: an encoder that learns colours which go with shapes, and one that does not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from diptych.core import AuditData, Backbone, ClassNames, DataError, Evidence, Finding, Kit, Run, Space, Subject
from diptych.core.train import everything
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.sprites import SpriteBank
from diptych.evaluation.arms import Arm, Floats, Statistic
from diptych.methods.audit.concept_association_bias import ConceptAssociationBias
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.metrics.closed_intervals import t_mean
from diptych.metrics.estimate import Interval
from diptych.train.recipe import train_space
from proofs.benches.training.scene_pairs import FURTHER, only_scenes
from proofs.scenes.associated import AssociatedScenes, captioned, labelled
from proofs.trial import Claim, Tabled, Trial, hash_of, over

USUAL = {"circle": "red", "square": "yellow", "triangle": "green", "star": "blue", "heart": "purple", "cross": "brown"}
BANK = SpriteBank(shapes=tuple(USUAL), colours=tuple(USUAL.values()))
TRAIN, TEST = 1000, 200
SHARES = {"associated": 0.9, "independent": 1 / len(USUAL)}
"""Encoder -> share of its training objects that have the usual colour of their shape."""
FIT = replace(FURTHER, steps=60, log_every=50)
"""Settings of both trainings, tried on scenes of another seed.

There heads on frozen towers did not learn the association, and whole towers did.
"""
STREAM = 93_000
AUDIT = ConceptAssociationBias(template="a {value} {object}")
COIN = "one half"


def _mean(values: Floats, _: int) -> Interval:
    return t_mean(values.mean(axis=1), possible=(0.0, 1.0))


def _gain(first: Floats, second: Floats, _: int, *, sides: int = 2) -> Interval:
    return t_mean((first - second).mean(axis=1), sides=sides, possible=(-1.0, 1.0))


OVER_SEEDS = Statistic(_mean, _gain, partial(_gain, sides=1))
"""(seeds, pairs) values: Student's interval over seeds, each of which has scenes and trainings of its own; pairs of one
seed share pictures.
"""


def open_association(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Train both encoders from one backbone, and audit them on scenes with the usual colours; seeds draw all scenes.

    Both learn from the same scenes and captions but for the colours, half of which the captions do not name: then a
    shape's name can bring its colour along. The backbone itself is audited too.

    Raises:
        DataError: an encoder does not name the colours of single objects.
    """
    only_scenes(name)
    table: dict[str, list[Floats]] = {}
    shares: dict[str, list[float]] = {}
    keys = []
    for seed in seeds:
        seeded = replace(run, seed=seed)
        test = labelled(AssociatedScenes(Scenes(SceneRecipe(BANK), TEST, STREAM + seed), USUAL, 1.0))
        keys.append(hash_of(test.items))
        data = AuditData.single(test, ClassNames(tuple(USUAL)))
        for word, space in {"before": backbone, **encoders(backbone, seeded)}.items():
            (finding,) = AUDIT.audit({word: Subject(Kit({"main": space}))}, data, seeded)
            table.setdefault(word, []).append(_units(finding))
            for key in ("p_true", "p_cab", "p_single"):
                shares.setdefault(f"{word}, {key}", []).append(float(finding.details[key]))
    n = min(len(v) for values in table.values() for v in values)
    values = {word: np.stack([v[:n] for v in each]) for word, each in table.items()}
    values[COIN] = np.full((len(seeds), n), 0.5)
    facts = {
        "data_hash": keys[0],
        "items": n,
        "composite": "generated scenes",
        "fit": FIT.as_dict(),
        "shares": {key: float(np.mean(each)) for key, each in shares.items()},
    }
    return Tabled(backbone, run, seeds, "cab_score", facts, values, statistic=OVER_SEEDS)


def encoders(backbone: Backbone, run: Run) -> dict[str, Space]:
    """Return both encoders, trained from one backbone with one seed."""
    quiet = replace(run, out=None, workers=0)
    scenes = Scenes(SceneRecipe(BANK, objects=(1, 2)), TRAIN, run.integer("training scenes") % 2**31)
    spaces: dict[str, Space] = {}
    for word, share in SHARES.items():
        rows = captioned(AssociatedScenes(scenes, USUAL, share))
        kit = Kit({"main": backbone})
        spaces[word] = train_space(CLIPLoss(), kit, Evidence(train=rows), FIT, quiet, learns=everything).space
    return spaces


def _units(finding: Finding) -> Floats:
    if finding.units is None:
        raise DataError(f"{finding.subject}: {finding.reason}")
    return finding.units


TRIAL = Trial(
    (Claim("independent"),),
    controls=(over(COIN, "independent", "colours that go with no shape"),),
    beside={"associated, over one half": Claim(COIN), "before, over one half": Claim(COIN)},
    arm=Arm("associated"),
    bench=open_association,
)
