from __future__ import annotations

import numpy as np
import torch
from scipy.stats import norm

from diptych.nn.dense.photo_colours import photo_colours


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(3, 5, 4, generator=g), 40 * torch.rand(3, 5, 4, generator=g)


def test_equals_its_formula_with_the_densities_of_scipy() -> None:
    scores, colours = drawn()
    m, f = scores.double().numpy().reshape(3, -1), colours.double().numpy().reshape(3, -1)
    c = np.zeros_like(m)
    for _ in range(2):
        p = np.exp(m + 0.8 * c)
        p /= p.sum(0)
        for k in range(3):
            mean = np.average(f, axis=1, weights=p[k])
            deviation = np.sqrt(np.average((f - mean[:, None]) ** 2, axis=1, weights=p[k]) + 25)
            c[k] = np.log(p[k].sum()) / 2 + norm(mean[:, None], deviation[:, None]).logpdf(f).sum(0)
        c = np.clip(c - c.max(0), -6, None)
    ours = photo_colours(scores, colours, 0.8).numpy().reshape(3, -1)
    np.testing.assert_allclose(ours, m + 0.8 * c, atol=1e-3)


def test_no_weight_leaves_the_scores_and_one_class_has_all() -> None:
    scores, colours = drawn(1)
    torch.testing.assert_close(photo_colours(scores, colours, 0.0), scores)
    torch.testing.assert_close(photo_colours(scores[:1], colours, 5.0), scores[:1])


def test_cells_of_one_colour_are_told_by_how_many_each_class_has() -> None:
    scores = torch.tensor([[2.0] * 9 + [-0.2], [-2.0] * 9 + [0.2]])[:, :, None]
    same = torch.full((3, 10, 1), 50.0)
    assert photo_colours(scores, same, 1.0).argmax(0).sum() == 0
    other = same.clone()
    other[:, 9] = 10.0  # a cell that looks like no other keeps its class
    assert photo_colours(scores, other, 1.0).argmax(0).flatten().tolist() == [0] * 9 + [1]


def test_classes_that_no_cell_has_stay_finite() -> None:
    scores = torch.tensor([300.0, -300.0])[:, None, None].expand(2, 4, 4)
    assert torch.isfinite(photo_colours(scores, torch.rand(3, 4, 4), 0.7)).all()
