"""RS-M-CLIP, DINO: small crops predict what an averaged copy of the tower sees in large ones; CLIP's loss beside it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from diptych.core.backbone import Space
from diptych.core.run import Run
from diptych.core.train import Clock, ParamGroup, Row
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.nn.teacher import Teacher, cosine_momentum
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from tests.train.test_pair import FIT, RUN, small, squares

SIDES = (32, 32, 16, 16, 16)  # two global and three local crops; 16 is the patch


def distillation(students: Sequence[Tensor], teachers: Sequence[Tensor], centre: Tensor) -> Tensor:
    """Mean over (g, v != g) of the cross-entropy of student view v to the centred, sharpened teacher view g."""
    terms = [
        -(((t - centre) / 0.04).softmax(-1) * (s / 0.1).log_softmax(-1)).sum(-1).mean()
        for g, t in enumerate(teachers)
        for v, s in enumerate(students)
        if v != g
    ]
    return torch.stack(terms).mean()


class MultiCrop(PairTrainee):
    def __init__(self, space: Space, run: Run, prototypes: int = 8) -> None:
        super().__init__(space, CLIPLoss(), run)
        with run.seeded("prototypes"):
            self._module["head"] = nn.Linear(space.spec.dim, prototypes)
        self.teacher = Teacher(nn.ModuleDict({"space": self.space.module(), "head": self._module["head"]}))
        self._module["teacher"] = self.teacher
        self._module.register_buffer("centre", torch.zeros(prototypes))
        self.teacher_space = space.rebuild(self.teacher.network["space"], space.spec)  # type: ignore[index, arg-type]
        self.seen = torch.zeros(prototypes)

    def groups(self) -> list[ParamGroup]:
        own = [n for n, _ in self._module.named_parameters() if not n.startswith("teacher.")]
        return [ParamGroup(tuple(own))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        crops = []
        for side in SIDES:
            left, top = (int(torch.randint(33 - side, (), generator=g)) for _ in range(2))
            crops.append(row.item.crop((left, top, left + side, top + side)).resize((32, 32)))
        return {**super().views(row, g), "crops": crops}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        pixels = [self.space.encoders["image"].inputs([v["crops"][i] for v in views]) for i in range(len(SIDES))]
        small_ones = [nn.functional.interpolate(p, size=side) for p, side in zip(pixels, SIDES, strict=True)]
        return {**super().collate(views), "crops": dict(enumerate(small_ones))}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        students = [self._module["head"](vectors(self.space, x)) for x in batch["crops"].values()]
        with torch.no_grad():
            teachers = [self.teacher.network["head"](vectors(self.teacher_space, batch["crops"][i])) for i in (0, 1)]  # type: ignore[index]
        self.seen = torch.cat(teachers).mean(0)
        return {**super().losses(batch, phase, clock), "distil": distillation(students, teachers, self._module.centre)}  # type: ignore[arg-type]

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        super().after(what, clock)
        if what == "step":
            self._module.centre.lerp_(self.seen, 0.1)  # type: ignore[operator]  # after the loss, as in DINO
            student = nn.ModuleDict({"space": self.space.module(), "head": self._module["head"]})
            self.teacher.follow(student, cosine_momentum(0.9, clock.step, clock.steps))


def vectors(space: Space, pixels: Tensor) -> Tensor:
    tower = space.tower("image")  # its positions stretch to crops of any size
    return tower.project(tower.pooled(tower.blocks(tower.start(pixels))))


def test_teacher_centre_and_losses() -> None:
    trainee = MultiCrop(small(), RUN)
    start = copy.deepcopy(trainee.teacher.network["head"].weight)  # type: ignore[index, union-attr]
    students: list[Tensor] = []
    after = trainee.after

    def watched(what: Literal["step", "epoch"], clock: Clock) -> None:
        if what == "step":
            students.append(trainee.module()["head"].weight.detach().clone())  # type: ignore[index]
        after(what, clock)

    trainee.after = watched  # type: ignore[method-assign]
    done = train(trainee, squares(), replace(FIT, steps=4), RUN)
    for step, weight in enumerate(students):
        m = cosine_momentum(0.9, step, 4)
        start = m * start + (1 - m) * weight
    torch.testing.assert_close(trainee.teacher.network["head"].weight, start)  # type: ignore[index, union-attr]
    assert trainee.module().centre.abs().sum() > 0  # type: ignore[operator, union-attr]
    assert {"main/contrastive", "main/distil"} <= set(done.records[0])
    assert not trainee.teacher.training


def test_resumes_with_teacher_and_centre(tmp_path) -> None:
    fit, run = replace(FIT, steps=6, batch=20), replace(RUN, out=tmp_path)
    whole, cut = MultiCrop(small(), RUN), MultiCrop(small(), run)
    train(whole, squares(), fit, RUN)
    losses = cut.losses
    cut.losses = lambda b, p, c: 1 / 0 if c.step == 4 else losses(b, p, c)  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(cut, squares(), fit, run)
    again = MultiCrop(small(), run)
    train(again, squares(), fit, run, resume=True)
    assert all(torch.equal(t, again.module().state_dict()[n]) for n, t in whole.module().state_dict().items())


def test_distillation_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    s, t, c = torch.randn(3, 4, 5, generator=g), torch.randn(2, 4, 5, generator=g), torch.randn(5, generator=g)
    total, count = 0.0, 0
    for i in range(2):
        for v in range(3):
            if v != i:
                p, q = torch.softmax((t[i] - c) / 0.04, -1), torch.log_softmax(s[v] / 0.1, -1)
                total, count = total - sum(float(p[b] @ q[b]) for b in range(4)) / 4, count + 1
    assert distillation(s, t, c).item() == pytest.approx(total / count, rel=1e-5)
