from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from diptych.backbones.mask_models.region_facts import RING, SHAPE, grown, neighbours, region_facts, shape_facts, steps


def masks(count: int = 6, size: tuple[int, int] = (7, 9)) -> torch.Tensor:
    out = torch.from_numpy(np.random.default_rng(0).random((count, *size)) < 0.4).float()
    out[0], out[0, 2:4, 3:6] = 0, 1
    return out


def test_facts_are_those_of_a_loop() -> None:
    m = masks()
    g = torch.Generator().manual_seed(0)
    cells, spaces = torch.randn(7, 9, 5, generator=g), [torch.randn(7, 9, d, generator=g) for d in (2, 3)]
    facts = region_facts(m, cells, spaces)
    assert facts.shape == (6, 2 * 5 + SHAPE + 4 * 2)
    for row, mask in zip(facts, m.bool().numpy(), strict=True):
        near = ndimage.binary_dilation(mask, np.ones((2 * RING + 1,) * 2)) & ~mask
        mean, ring = cells[mask].mean(0), cells[near].mean(0) if near.any() else torch.zeros(5)
        assert torch.allclose(row[:5], mean, atol=1e-5)
        assert torch.allclose(row[5:10], mean - ring, atol=1e-5)
        for n, z in enumerate(spaces):
            inside, outside = z[mask], z[near] if near.any() else torch.zeros(1, z.shape[2])
            variance = z.flatten(0, 1).var(0, unbiased=False).sum()
            spread = ((inside - inside.mean(0)) ** 2).sum(1).mean() / variance
            contrast = ((inside.mean(0) - outside.mean(0)) ** 2).sum() / variance
            pairs = [((y, x), (y, x + 1)) for y in range(7) for x in range(8)]
            pairs += [((y, x), (y + 1, x)) for y in range(6) for x in range(9)]
            length = [float((z[a] - z[b]).norm()) for a, b in pairs]
            kind = np.array([int(mask[a]) + int(mask[b]) for a, b in pairs])
            across, within = (
                np.sum(np.array(length)[kind == k]) / max(1, (kind == k).sum()) / np.mean(length) for k in (1, 2)
            )
            found = row[10 + SHAPE + 4 * n : 14 + SHAPE + 4 * n]
            assert found.tolist() == pytest.approx([float(spread), float(contrast), across, within], abs=1e-4)


def test_the_shape_of_a_box_is_known() -> None:
    facts = shape_facts(masks()[:1])[0]
    assert facts[0] == pytest.approx((6 / 63) ** 0.5)
    assert facts[2:6].tolist() == pytest.approx([3 / 9, 2 / 7, 4.5 / 9, 3 / 7])
    assert facts[7] == pytest.approx(1)  # it fills its box
    assert facts[8] == pytest.approx(10 / (4 * 6**0.5))
    assert facts[9:].abs().max() == 0  # and touches no side
    whole = shape_facts(torch.ones(1, 7, 9))[0]
    assert whole[9:14].tolist() == [1, 1, 1, 1, 1]


def test_growth_and_pairs() -> None:
    m = masks()
    wide = np.stack([ndimage.binary_dilation(one, np.ones((1, 5))) for one in m.bool().numpy()])
    assert (grown(m, 2).bool().numpy() == wide).all()
    across, inside = neighbours(m)
    assert across.shape == inside.shape == (6, len(steps(torch.zeros(7, 9, 2))))
    assert not (across * inside).any()
