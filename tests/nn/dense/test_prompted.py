from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import Prompted, Prompts, Seen, UsageError
from diptych.nn.dense.prompted import Refinement, parts, prompts_of, refined

RULE = Refinement(coarse=0.4, least=3)


class Boxes:
    """Draws the box of each prompt, and says that it is sure of it."""

    fingerprint = "boxes"

    def __init__(self, iou: float = 0.9) -> None:
        self.iou, self.asked = iou, list[Prompts]()

    def see(self, image: Any, /) -> Seen:
        return Seen((torch.zeros(1),), (image.height, image.width), (1.0, 1.0))

    def ask(self, seen: Seen, prompts: Prompts, /, *, several: bool = False) -> Prompted:
        assert prompts.boxes is not None
        self.asked.append(prompts)
        logits = torch.full((len(prompts), 1, *seen.size), -20.0)
        for n, (x0, y0, x1, y1) in enumerate(prompts.boxes.round().int().tolist()):
            logits[n, :, y0:y1, x0:x1] = 20.0
        return Prompted(logits, torch.full((len(prompts), 1), self.iou))


def flooded(labels: np.ndarray) -> set[tuple[int, frozenset[tuple[int, int]]]]:
    """Connected parts by a flood from each pixel, corners included."""
    left, found = {(y, x) for y, x in np.ndindex(labels.shape) if labels[y, x] >= 0}, set()
    while left:
        start = left.pop()
        part, waiting = {start}, deque([start])
        while waiting:
            y, x = waiting.popleft()
            for b in [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if b in left and labels[b] == labels[start]:
                    left.remove(b)
                    part.add(b)
                    waiting.append(b)
        found.add((int(labels[start]), frozenset(part)))
    return found


def probabilities(seed: int) -> torch.Tensor:
    return (torch.randn(3, 9, 11, generator=torch.Generator().manual_seed(seed)) * 2).softmax(0)


@pytest.mark.parametrize("seed", range(3))
def test_parts_are_those_of_a_flood(seed: int) -> None:
    p = probabilities(seed)
    labels = np.where(p.amax(0).numpy() >= 0.4, p.argmax(0).numpy(), -1)
    expected = {(k, part) for k, part in flooded(labels) if len(part) >= 3}
    got = parts(p, RULE)
    assert {(g.label, frozenset(map(tuple, g.mask.nonzero().tolist()))) for g in got} == expected
    sizes = [int(g.mask.sum()) for g in got]
    assert sizes == sorted(sizes, reverse=True)
    assert len(parts(p, replace(RULE, most=1))) == 1


def test_prompts_are_box_surest_pixel_and_rough_mask() -> None:
    p = torch.full((2, 4, 6), 0.3)
    p[1, 1:3, 2:5], p[1, 2, 3] = 0.6, 0.9
    p[0] = 1 - p[1] - 0.2
    (part,) = [q for q in parts(p, RULE) if q.label == 1]
    asked = prompts_of(p, [part], RULE, (2.0, 3.0))
    assert asked.boxes is not None
    assert asked.points is not None
    assert asked.masks is not None
    assert asked.boxes.tolist() == [[6.0, 2.0, 15.0, 6.0]]
    assert asked.points.tolist() == [[[10.5, 5.0]]]
    expected = torch.where(p[1] > 0.4, p[1] * 0.005, torch.zeros(()))
    torch.testing.assert_close(asked.masks[0], expected)


def test_accepted_masks_replace_their_parts_and_the_rest_stays() -> None:
    p = torch.full((2, 6, 6), 0.25)
    p[0], p[1, 1:4, 1:4] = 0.45, 0.55
    p[1, 2, 2] = 0.2  # a hole, which the box closes
    image = Image.new("RGB", (6, 6))
    got = refined(image, p, Boxes(), replace(RULE, coarse=0.5))
    assert (got[:, 1:4, 1:4].argmax(0) == 1).all()
    outside = torch.ones(6, 6, dtype=torch.bool)
    outside[1:4, 1:4] = False
    assert torch.equal(got[:, outside], p[:, outside])
    torch.testing.assert_close(got[1, 1, 1], torch.tensor(0.55))
    assert got[0, 2, 2] == 0


def test_rejected_masks_compete_with_their_coarse_probabilities() -> None:
    p = torch.full((2, 6, 6), 0.3)
    p[1, 1:4, 1:4] = 0.6
    got = refined(Image.new("RGB", (6, 6)), p, Boxes(iou=0.8), replace(RULE, coarse=0.5))
    assert torch.equal(got[1], p[1])
    assert torch.equal(got.argmax(0), p.argmax(0))


def test_an_unsure_map_is_not_asked_about() -> None:
    masks, p = Boxes(), torch.full((2, 6, 6), 0.3)
    assert refined(Image.new("RGB", (6, 6)), p, masks, RULE) is p
    assert not masks.asked


@pytest.mark.parametrize("wrong", [{"coarse": 1.5}, {"iou": -0.1}, {"least": 0}, {"most": 0}])
def test_numbers_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Refinement(**wrong)
