"""The proof of rewarded captioners: how captions of scenes are read, and the path on few scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import Run
from diptych.data.scenes.compose import Scenes
from diptych.methods.caption.clip_reward import ClipReward
from proofs.benches import scene_captions as sc
from proofs.caption import TRIALS
from tests.support.colours import ColourBackbone

SMALL = ClipReward(tokens="pooled", lm_width=8, layers=1, limit=6, epochs=1, rewarded=1, batch=4, reward_batch=4)


def test_what_a_caption_states_and_how_near_it_is() -> None:
    shapes = sc.TWO.bank.shapes
    assert sc.stated("A red circle, a circle and a star blue.", shapes) == {"circle", "red circle", "star"}
    assert sc.stated("", shapes) == frozenset()
    scene = Scenes(sc.TWO, 1)[0]
    assert sc.stated(sc.terse(scene)[-1], shapes) == sc.truth(scene)
    assert len(sc.terse(scene)) == 4
    scores = sc.f1([frozenset("ab"), frozenset("c"), frozenset()], [frozenset("ab"), frozenset("bc"), frozenset("d")])
    assert scores == pytest.approx(np.array([[1, 0.5, 0], [0, 2 / 3, 0], [0, 0, 0]]))
    assert sc.first_chance(scores) == pytest.approx([1, 1, 1 / 3])  # who says nothing finds at random


def test_the_control_sees_another_picture() -> None:
    z = torch.arange(7.0)[:, None]
    moved = sc.OtherPicture().seen_by_reward(z, Run(seed=3))
    assert sorted(moved[:, 0].tolist()) == z[:, 0].tolist()
    assert not (moved == z).any()


def test_every_arm_of_the_trial_is_measured() -> None:
    arms = {"clip-reward": SMALL, "no grammar": replace(SMALL, grammar=0.0), "other picture": SMALL}
    sizes = {"train": 12, "test": 6}
    bench = sc.open_scene_captions("scenes", ColourBackbone(), Run(), (1, 2), arms=arms, sizes=sizes)
    assert bench.table["likelihood"].shape == (2, 6)
    verdict = TRIALS["clip-reward"].judge("clip-reward", "scenes", bench)
    assert [c["name"] for c in verdict["claims"]] == ["states more of the truth", "finds its scene", "repeats less"]
    assert len(verdict["controls"]) == 1
    assert verdict["judge"] == "scene truth"
