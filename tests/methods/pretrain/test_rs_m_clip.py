from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch

from diptych.core import Clock, Evidence, Kit, MissingHook, Row
from diptych.core.train import everything
from diptych.methods.pretrain.rs_m_clip import RSMCLIP, _pooled, _SelfDistilled
from diptych.nn.prototypes import self_distillation
from diptych.train.loop import train
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, accuracy, small, squares

TINY = RSMCLIP(crops=1, small=0.5, hidden=8, bottleneck=4, prototypes=6, momentum=0.9)
ROWS = Evidence(train=squares())


class Uncentred(_SelfDistilled):
    """The control that collapses: nothing keeps one prototype from taking every image."""

    def _move_centre(self) -> None:
        pass


def trainee(method: RSMCLIP = TINY) -> _SelfDistilled:
    (only,) = method.stages(Kit({"main": small()}), None, ROWS, RUN)
    assert isinstance(only, _SelfDistilled)
    return only


def test_one_step_moves_centre_and_teacher_after_the_loss() -> None:
    t = trainee()
    before = {n: p.clone() for n, p in t.teacher.network.named_parameters()}
    train(t, squares(), replace(FIT, steps=1), RUN)
    torch.testing.assert_close(t._centre(), 0.1 * t.scores.mean(0))
    for name, p in t.teacher.network.named_parameters():
        torch.testing.assert_close(p, 0.9 * before[name] + 0.1 * dict(t.student.named_parameters())[name])
    assert not any(n.startswith("teacher.") for g in t.groups() for n in g.names)
    assert t.sides == (32, 16)


def test_without_centring_the_centre_stays() -> None:
    t = Uncentred(TINY, small(), RUN, everything)
    train(t, squares(), replace(FIT, steps=1), RUN)
    assert not t._centre().any()


def test_the_two_logged_parts_sum_up_to_the_loss_and_the_entropy_teaches_nothing() -> None:
    t, g = trainee(replace(TINY, weight=3.0)), torch.Generator().manual_seed(0)
    rows = [t.views(Row(squares().items[i], i, "", {"captions": ("a square",)}), g) for i in range(4)]
    batch = t.collate(rows)
    losses = t.losses(batch, "main", Clock(0, 1, 0, g))
    names = ("crop-0", "crop-1", "crop-2")
    with torch.no_grad():
        students = [t._module["head"](_pooled(t.space, batch[n])) for n in names]
        teachers = [t.teacher.network.get_submodule("head")(_pooled(t.teacher_space, batch[n])) for n in names[:2]]
        whole = 3 * self_distillation(students, teachers, t._centre(), 0.04, 0.1)
    torch.testing.assert_close(losses["distilled"] + losses["entropy"], whole, rtol=1e-4, atol=1e-5)
    assert losses["distilled"].requires_grad
    assert not losses["entropy"].requires_grad


def test_without_centring_the_teacher_collapses() -> None:
    """One prototype takes every image, which the log shows and a warning says; centred, it does not."""
    ends, used = {}, {}
    for centring, kind in ((True, _SelfDistilled), (False, Uncentred)):
        says = contextlib.nullcontext() if centring else pytest.warns(UserWarning, match=r"use 1\.\d of 6 prototypes")
        with says:
            records = train(kind(TINY, small(), RUN, everything), squares(), FIT, RUN).records
        ends[centring] = sum(r["main/entropy"] for r in records[-5:]) / 5
        used[centring] = records[-1]["prototypes_used"]
    assert ends[False] < 0.02
    assert ends[True] > 0.4
    assert used[False] < 1.1 < 2 < used[True]


def test_it_learns_and_gives_the_space_back() -> None:
    trained = train_space(TINY, Kit({"main": small()}), ROWS, FIT, RUN)
    assert accuracy(trained.space) > 0.9
    assert trained.parts == {}
    assert list(trained.space.module().state_dict()) == list(small().module().state_dict())


def test_resumes_to_the_same_bits(tmp_path) -> None:
    fit = replace(FIT, steps=6, batch=20)
    whole = train_space(TINY, Kit({"main": small()}), ROWS, fit, RUN)
    run, t = replace(RUN, out=tmp_path), trainee()
    losses = t.losses
    t.losses = lambda b, p, c: 1 / 0 if c.step == 4 else losses(b, p, c)  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(t, squares(), fit, run)
    again = train_space(TINY, Kit({"main": small()}), ROWS, fit, run, resume=True)
    assert again.space.fingerprint == whole.space.fingerprint


def test_what_cannot_work_is_refused() -> None:
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook):
        next(TINY.stages(Kit({"main": SmallBackbone()}), None, ROWS, RUN))
    refused(RSMCLIP, {"teacher_temperature": 0.0}, {"weight": -1.0}, {"hidden": 0})
