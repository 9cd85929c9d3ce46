"""The loop of a training where a user gives few settings."""

from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.tasks.training.fits import embeddings_alone, fit_of, rate_for
from diptych.train.schedule import Schedule


def test_the_rate_follows_what_learns() -> None:
    assert (rate_for("all"), rate_for("image"), rate_for("heads"), rate_for("all", scratch=True)) == (
        1e-5, 1e-5, 3e-4, 5e-4,
    )  # fmt: skip
    with pytest.raises(UsageError, match="Heads on random towers"):
        rate_for("heads", scratch=True)


def test_steps_stand_in_place_of_epochs_and_say_when_to_measure() -> None:
    fit = fit_of(1e-4, 8, 5, 0.1, steps=200)
    assert (fit.epochs, fit.steps, fit.watch_every) == (None, 200, 20)
    assert fit_of(1e-4, 8, 5, 0.1, steps=3).watch_every == 1
    assert fit_of(1e-4, 8, 5, 0.1).watch_every is None
    assert fit_of(1e-4, 8, 5, 0.1, steps=200, watch_every=0).watch_every == 0


def test_other_settings_replace_the_usual_ones() -> None:
    usual, other = fit_of(1e-4, 8, 5, 0.0), fit_of(1e-4, 8, 5, 0.0, schedule=Schedule(warmup=1), clip=None)
    assert (usual.schedule.warmup, usual.clip, usual.save_every) == (20, 1.0, 50)
    assert (other.schedule.warmup, other.clip, other.save_every) == (1, None, 50)


def test_batches_are_one_for_losses_of_embeddings_alone() -> None:
    assert embeddings_alone(CLIPLoss())
    assert not embeddings_alone(CoCaLoss())
    assert fit_of(1e-4, 8, 5, 0.0, cached=True, accumulate=2).cached
    assert not fit_of(1e-4, 8, 5, 0.0, cached=True).cached
