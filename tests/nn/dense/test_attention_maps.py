from __future__ import annotations

import math

import pytest
import torch

from diptych.backbones.towers.kernels import recording_attention
from diptych.nn.dense.attention_maps import carried, cls_attention, kept_patches
from tests.support.towers import case

CLS = ["open_clip CLIP image", "timm ViT, registers, qk-norm, LayerScale", "timm EVA-02, RoPE, SwiGLU", "HF CLIP image"]


@pytest.mark.parametrize("name", CLS)
def test_attention_is_the_first_row_of_all_blocks_and_heads(name: str) -> None:
    c = case(name)
    record: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        s = c.tower.blocks(c.tower.start(c.x), kernel=recording_attention(record))
        attention, pooled = cls_attention(c.tower, c.x)
    by_hand = torch.stack([a[:, :, 0, s.prefix :].mean(1) for a in record.values()]).mean(0)
    torch.testing.assert_close(attention.flatten(1), by_hand)
    torch.testing.assert_close(pooled, c.tower.pooled(s), rtol=1e-4, atol=1e-5)
    assert attention.shape == (3, 4, 4)
    assert {id(p) for p in c.tower.patch_layer.parameters()} <= {id(p) for p in c.module.parameters()}
    assert sum(p.numel() for p in c.tower.patch_layer.parameters()) >= c.tower.width * 3 * 8 * 8


def test_a_crop_reads_the_map_at_the_middle_of_its_cells() -> None:
    """On a plane, interpolation is exact, whatever the box."""
    rows, columns = torch.meshgrid(torch.arange(6.0) + 0.5, torch.arange(8.0) + 0.5, indexing="ij")
    plane = (2 * rows + 3 * columns)[None].repeat(2, 1, 1)
    boxes = torch.tensor([[0.25, 0.5, 0.75, 0.8], [0.1, 0.15, 0.9, 0.85]])
    found = carried(plane, boxes, (3, 4))
    for b, (left, top, right, bottom) in enumerate(boxes.tolist()):
        for i in range(3):
            for j in range(4):
                y, x = 6 * (top + (bottom - top) * (i + 0.5) / 3), 8 * (left + (right - left) * (j + 0.5) / 4)
                assert found[b, i, j].item() == pytest.approx(2 * y + 3 * x, rel=1e-5)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)
    torch.testing.assert_close(carried(plane, whole, (6, 8)), plane)


@pytest.mark.parametrize(
    ("grid", "block", "drop"), [((14, 14), 2, 0.5), ((4, 6), 2, 0.3), ((7, 7), 1, 0.5), ((4, 4), 2, 0.9)]
)
def test_blocks_that_stay_are_the_best_ones(grid: tuple[int, int], block: int, drop: float) -> None:
    scores = torch.rand(3, *grid, generator=torch.Generator().manual_seed(0))
    keep = kept_patches(scores, drop, block)
    n = grid[0] // block * (grid[1] // block)
    for row, chosen in zip(scores, keep.tolist(), strict=True):
        blocks = {
            (i, j): float(row[i * block : (i + 1) * block, j * block : (j + 1) * block].mean())
            for i in range(grid[0] // block)
            for j in range(grid[1] // block)
        }
        best = sorted(blocks, key=lambda b: -blocks[b])[: math.floor(n * (1 - drop)) + 1]
        by_hand = {
            (i * block + y) * grid[1] + j * block + x for i, j in best for y in range(block) for x in range(block)
        }
        assert chosen == sorted(by_hand)


def test_nothing_dropped_keeps_all_and_a_half_keeps_the_papers_hundred() -> None:
    assert kept_patches(torch.zeros(2, 4, 4), 0.0, 2).tolist() == [list(range(16))] * 2
    assert kept_patches(torch.rand(1, 14, 14), 0.5, 2).shape == (1, 100)
