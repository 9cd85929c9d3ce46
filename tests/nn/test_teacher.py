from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.nn.teacher import Teacher, cosine_momentum, follow


def test_follows_by_the_formula() -> None:
    student = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    teacher = Teacher(student)
    start = {n: t.clone() for n, t in student.state_dict().items()}
    student(torch.randn(5, 3))  # moves the buffers
    with torch.no_grad():
        student[0].weight.add_(1.0)
    teacher.follow(student, 0.75)
    for name, t in teacher.network.state_dict().items():
        s = student.state_dict()[name]
        expected = 0.75 * start[name] + 0.25 * s if t.is_floating_point() else s
        torch.testing.assert_close(t, expected)


@pytest.mark.parametrize(("momentum", "like"), [(1.0, 0), (0.0, 1)])
def test_limits_are_standing_still_and_copying(momentum, like) -> None:
    t, s = torch.zeros(3), torch.ones(3)
    follow([t], [s], momentum)
    assert torch.equal(t, torch.full((3,), float(like)))


def test_momentum_rises_to_one_along_a_cosine() -> None:
    assert [cosine_momentum(0.9, s, 10) for s in (0, 5, 10)] == pytest.approx([0.9, 0.95, 1.0])


def test_stays_in_eval_mode_without_gradient() -> None:
    student = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    whole = nn.ModuleDict({"student": student, "teacher": Teacher(student)})
    whole.train()
    x = torch.randn(4, 3, requires_grad=True)
    out = whole["teacher"](x)
    assert not out.requires_grad
    assert torch.equal(out, whole["teacher"](x))
    assert not any(p.requires_grad for p in whole["teacher"].parameters())
    assert student.training


def test_copied_tensors_are_the_students_at_once() -> None:
    student = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    teacher = Teacher(student, copied=lambda name: name.startswith("0."))
    before = teacher.network[1].weight.clone()
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    teacher.follow(student, 0.75)
    assert torch.equal(teacher.network[0].weight, student[0].weight)
    torch.testing.assert_close(teacher.network[1].weight, before + 0.25)


def test_a_mask_of_infinities_stays_as_it_is() -> None:
    student = nn.Linear(2, 2)
    student.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))
    teacher = Teacher(student)
    teacher.follow(student, 0.5)
    assert torch.equal(teacher.network.mask, student.mask)


def test_another_shape_of_student_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        follow([torch.zeros(2)], [], 0.5)
