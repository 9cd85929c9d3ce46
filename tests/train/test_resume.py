from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diptych.core import ParamGroup, UsageError
from diptych.train import checkpoint
from diptych.train.resume import OtherTraining, longer, reopened, settings
from diptych.train.schedule import Fit

FIT = Fit(0.1, 4, steps=3)
GROUPS = {"main": [ParamGroup(("w",))]}
WEIGHTS = {"w": torch.ones(2), "still": torch.ones(3)}


def written(out: Path) -> dict[str, object]:
    own = settings(FIT, 3, 1, GROUPS)
    state = {"settings": own, "frozen": checkpoint.sums({"still": WEIGHTS["still"]})}
    checkpoint.save(out / "checkpoints", "step-00000001-epoch-0000", {"module": {"w": WEIGHTS["w"]}}, state, 1)
    return own


def test_settings_are_what_changes_the_result() -> None:
    own = settings(FIT, 3, 1, GROUPS)
    assert settings(replace(FIT, keep=7, log_every=2, save_every=5, watch_every=0), 3, 1, GROUPS) == own
    assert settings(replace(FIT, lr=0.2), 3, 1, GROUPS) != own
    assert settings(FIT, 3, 2, GROUPS) != own
    timed = replace(FIT, steps=None, seconds=1.0)
    assert settings(timed, 3, 1, GROUPS) == settings(timed, 4, 1, GROUPS), "the pace is no setting"


def test_a_training_is_continued_by_the_same_settings_and_frozen_weights(tmp_path: Path) -> None:
    assert reopened(None, True, {}, WEIGHTS) is None
    assert reopened(tmp_path, False, {}, WEIGHTS) is None
    own = written(tmp_path)
    found = reopened(tmp_path, True, own, WEIGHTS)
    assert found is not None
    assert found[0]["module"]["w"].tolist() == [1.0, 1.0]
    assert found[1]["settings"] == own
    with pytest.raises(UsageError, match="has a training already"):
        reopened(tmp_path, False, own, WEIGHTS)
    with pytest.raises(OtherTraining, match=r"another fit, seed or groups \(seed 1, now 2\): give") as error:
        reopened(tmp_path, True, {**own, "seed": 2}, WEIGHTS)
    assert "checkpoints" not in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    with pytest.raises(UsageError, match="other frozen weights"):
        reopened(tmp_path, True, own, {**WEIGHTS, "still": torch.full((3,), 2.0)})


def test_a_longer_fit_in_the_same_unit_continues_a_shorter_one() -> None:
    def of(fit: Fit) -> dict[str, object]:
        return settings(fit, fit.steps or 8, 1, GROUPS)

    assert longer(of(FIT), of(replace(FIT, steps=4)))
    assert not longer(of(FIT), of(FIT))
    assert not longer(of(replace(FIT, steps=4)), of(FIT))
    assert not longer(of(FIT), of(replace(FIT, steps=4, lr=0.2)))
    assert not longer(of(FIT), of(replace(FIT, steps=None, epochs=9)))
