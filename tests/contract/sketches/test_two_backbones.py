"""DC-CLIP and tiny: a student with another grid and another tokenizer learns a teacher's vectors, pooled and dense."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.dense import dense_of
from diptych.backbones.towers.of import tower_of
from diptych.core.backbone import Dense
from tests.support.towers import case, resnet, spec


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def dense_pair(student: Dense, teacher: Dense, x: Tensor, bridge: nn.Module) -> tuple[Tensor, Tensor]:
    """Cells of the student's map, bridged, and of the teacher's map on the student's grid: both (B, n, C_teacher)."""
    own = student.maps(x)[-1]
    with torch.no_grad():
        wanted = F.interpolate(teacher.maps(x)[-1], own.shape[2:], mode="bilinear", align_corners=False)
    return bridge(own.flatten(2).transpose(1, 2)), wanted.flatten(2).transpose(1, 2)


def test_a_vit_learns_a_resnets_map_and_a_text_tower_another() -> None:
    net, teacher_net = copy.deepcopy(case("HF SigLIP image").module), resnet()
    text_net, teacher_text = copy.deepcopy(case("open_clip text, not causal").module), case("XLM-R mean")
    frozen = copy.deepcopy(teacher_net.state_dict())
    student, teacher = dense_of(net, spec("student")), dense_of(teacher_net, spec("teacher"))
    text = tower_of(text_net, "text", spec("student"))
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ids: Any = torch.randint(1, 50, (3, 12), generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bridge, up = nn.Linear(48, 256), nn.Linear(16, 48)
    with torch.no_grad():
        wanted = teacher_text.forward(teacher_text.x)  # other ids for the same sentences
    optimiser = torch.optim.Adam(
        [*net.parameters(), *bridge.parameters(), *text_net.parameters(), *up.parameters()], 1e-3
    )
    losses = []
    for _ in range(12):
        cells = distance(*dense_pair(student, teacher, x, bridge))
        words = distance(up(text.project(text.pooled(text.blocks(text.start(ids))))), wanted)
        optimiser.zero_grad()
        (cells + words).backward()
        optimiser.step()
        losses.append((cells.item(), words.item()))
    assert losses[-1][0] < 0.8 * losses[0][0]
    assert losses[-1][1] < 0.8 * losses[0][1]
    assert all(torch.equal(v, frozen[k]) for k, v in teacher_net.state_dict().items())
    assert all(p.grad is None for p in teacher_net.parameters())
