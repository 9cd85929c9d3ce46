from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from diptych.core import Run
from diptych.nn.dense.region_losses import box_loss, matched, region_contrast
from diptych.train.distributed import gather_ragged

TOGETHER = gather_ragged(Run().world)


def test_the_loss_against_a_loop_with_alike_texts_left_out() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    y[3] = y[1] * 2  # the same direction
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, y)]
    total = 0.0
    for a, b in (unit, unit[::-1]):
        for i in range(5):
            seen = [j for j in range(5) if j == i or unit[1][i] @ unit[1][j] <= 0.9]
            logits = np.array([3.0 * a[i] @ b[j] for j in seen])
            total += np.log(np.exp(logits).sum()) - 3.0 * a[i] @ b[i]
    found = region_contrast(torch.tensor(z), torch.tensor(y), torch.tensor(3.0), 0.9, TOGETHER)
    assert found.item() == pytest.approx(total / 10, rel=1e-6)


def some_boxes(count: int, seed: int) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corners.amin(1), corners.amax(1) + 0.01], dim=1)


def l1_and_giou(a, b) -> tuple[float, float]:
    def middle(c):
        return np.array([(c[0] + c[2]) / 2, (c[1] + c[3]) / 2, c[2] - c[0], c[3] - c[1]])

    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return float(np.abs(middle(a) - middle(b)).sum()), float(inter / union - (hull - union) / hull)


def test_matching_and_loss_against_all_assignments() -> None:
    shown, boxes = some_boxes(4, 0), some_boxes(3, 1)
    pairs = [[l1_and_giou(a, b) for b in boxes.double().numpy()] for a in shown.double().numpy()]
    costs = {
        p: sum(5 * pairs[q][k][0] - 2 * pairs[q][k][1] for k, q in enumerate(p)) for p in permutations(range(4), 3)
    }
    best = min(costs, key=costs.get)
    assert tuple(matched(shown, boxes).tolist()) == best
    expected = 1.5 / 3 * sum(pairs[q][k][0] + 1 - pairs[q][k][1] for k, q in enumerate(best))
    assert box_loss(shown[list(best)], boxes).item() == pytest.approx(expected, rel=1e-4)
    assert matched(shown, boxes[:0]).tolist() == []
