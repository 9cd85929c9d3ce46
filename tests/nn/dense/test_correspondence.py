from __future__ import annotations

import torch

from diptych.nn.dense.correspondence import chance, mirrored_recall


def test_maps_that_know_the_place_are_right_and_constant_or_foreign_ones_are_at_chance() -> None:
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(4, 16, 5, 6, generator=g)
    assert mirrored_recall(maps, maps.flip(-1), 0).tolist() == [1.0] * 4
    many = torch.randn(60, 16, 5, 6, generator=g)
    found = float(mirrored_recall(many, torch.randn(60, 16, 5, 6, generator=g)).mean())
    assert abs(found - chance(5, 6)) < 0.02


def test_recall_against_loops() -> None:
    g = torch.Generator().manual_seed(1)
    maps, other = torch.randn(1, 3, 3, 4, generator=g), torch.randn(1, 3, 3, 4, generator=g)
    right = 0
    for i in range(3):
        for j in range(4):
            cosines = {
                (u, 3 - v): float(torch.cosine_similarity(maps[0, :, i, j], other[0, :, u, v], dim=0))
                for u in range(3)
                for v in range(4)
            }
            u, v = max(cosines, key=lambda place: cosines[place])
            right += abs(u - i) <= 1 and abs(v - j) <= 1
    assert abs(float(mirrored_recall(maps, other)) - right / 12) < 1e-9


def test_chance_by_counting() -> None:
    assert chance(1, 1) == 1.0
    assert chance(2, 2, 0) == 0.25
    assert chance(1, 3) == (2 + 3 + 2) / 9
