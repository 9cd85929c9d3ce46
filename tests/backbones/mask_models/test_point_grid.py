from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from diptych.backbones.mask_models.point_grid import PointGrid
from diptych.core import Prompted, Prompts, Seen


class Squares:
    """Answers a point with the square of the quarter it lies in, and two readings that are not sure."""

    fingerprint = "squares"

    def see(self, image: Any, /) -> Seen:
        return Seen((torch.zeros(1),), (16, 16), (1.0, 1.0))

    def ask(self, seen: Seen, prompts: Prompts, /, *, several: bool = False) -> Prompted:
        assert prompts.points is not None
        logits = torch.full((len(prompts), 3, 16, 16), -9.0)
        for p, (x, y) in enumerate(prompts.points[:, 0].tolist()):
            top, left = 8 * (y >= 8), 8 * (x >= 8)
            logits[p, :, top : top + 8, left : left + 8] = 9.0
        logits[:, 1] = 0.5  # everything, but not at a logit of 1
        return Prompted(logits, torch.tensor([[0.95, 0.99, 0.2]]).expand(len(prompts), -1))


def test_a_grid_of_points_finds_each_thing_once() -> None:
    proposals = PointGrid(Squares(), points=4).propose(Image.new("RGB", (16, 16)))
    assert len(proposals) == 4
    assert torch.equal(proposals.masks.sum(0), torch.ones(16, 16))
    assert len(PointGrid(Squares(), points=2, iou=0.999).propose(Image.new("RGB", (16, 16)))) == 0
    assert PointGrid(Squares()).fingerprint != PointGrid(Squares(), iou=0.5).fingerprint
