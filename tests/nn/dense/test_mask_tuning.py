from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.backbones.dense import ConvDense
from diptych.core import Backbone, ClassNames, MissingHook, Run
from diptych.nn.dense.mask_classes import inside_cells, pooled_embeddings
from diptych.nn.dense.mask_queries import MaskLayout
from diptych.nn.dense.mask_training import words_of
from diptych.nn.dense.mask_tuning import TunedMasks, compensation, mask_aware_loss, scaled_iou
from tests.support.backbone import SmallBackbone
from tests.support.small_clip import small_clip

LAYOUT = MaskLayout(queries=3, encoder=1, decoder=1, points=16)
NAMES = ClassNames(("cat", "seat"), ("a {}.",), words=(("cat",), ("sofa", "red barn")))


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "convnext", "convnext")


def tuned(backbone: Backbone) -> TunedMasks:
    with Run().seeded("test"):
        return TunedMasks(backbone, LAYOUT, width=8, heads=2)


def test_the_tower_is_all_before_the_projection(conv: Backbone) -> None:
    net = tuned(conv)
    assert isinstance(conv.dense(), ConvDense)
    tower = net.tower()
    assert tower
    assert all(name.startswith("copy.visual.trunk.") for name in tower)
    assert not any("head" in name for name in tower)
    assert all(name.split(".")[0] in ("queries", "transfer") for name in net.heads())
    assert net.space.module() is net.copy
    assert net.copy is not conv.module()


@torch.no_grad()
def test_untrained_it_is_the_frozen_classifier_with_the_best_word(conv: Backbone) -> None:
    net, words = tuned(conv), words_of(conv, NAMES, Run())
    g = torch.Generator().manual_seed(0)
    x, masks = torch.randn(2, 3, 64, 96, generator=g), torch.randn(2, 3, 16, 24, generator=g)
    masks[1, 2] = -1.0
    last = conv.dense().maps(x)[-1]
    p, held = net.probabilities(net.space.dense().maps(x)[-1], masks, words)
    u = pooled_embeddings(conv.dense(), last, inside_cells(masks, (2, 3)))
    raw = conv.scale()[0] * (u @ words.vectors.T)
    expected = torch.stack([raw[..., 0], raw[..., 1:].amax(-1)], dim=-1).softmax(-1)
    torch.testing.assert_close(p, expected, atol=1e-4, rtol=1e-3)
    inside = F.interpolate(masks, (2, 3), mode="bilinear", align_corners=False) > 0
    assert held.tolist() == inside.flatten(2).any(-1).tolist()
    assert not held[1, 2]


def test_a_backbone_without_maps_is_named() -> None:
    with pytest.raises(MissingHook, match="small"):
        TunedMasks(SmallBackbone(), LAYOUT, 8, 2)


def test_scaled_ious_by_loops() -> None:
    rng = np.random.default_rng(0)
    masks, segment = rng.random((5, 4, 6)), (rng.random((4, 6)) > 0.5).astype(float)
    iou = np.array([(m * segment).sum() / (m.sum() + segment.sum() - (m * segment).sum()) for m in masks])
    expected = (iou - iou.min()) / (iou.max() - iou.min())
    np.testing.assert_allclose(scaled_iou(torch.from_numpy(masks), torch.from_numpy(segment)), expected, atol=1e-5)
    same = torch.full((3, 2, 2), 0.5)
    assert scaled_iou(same, torch.ones(2, 2)).tolist() == [0.0, 0.0, 0.0]


def test_the_loss_is_zero_where_probabilities_follow_ious() -> None:
    u = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    assert float(mask_aware_loss(u, u)) == 0.0
    assert float(mask_aware_loss(u + 0.2, u)) == pytest.approx(0.02, abs=1e-5)  # half the square below 1


def test_compensation_by_loops_and_alike_for_high_and_wide_maps() -> None:
    m = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    x = m[0].numpy().clip(0)
    expected = []
    for grid in (1, 2, 4):
        k = 4 // grid
        pooled = x.reshape(2, grid, k, grid, k).mean((2, 4))
        expected += [pooled.sum(1).ravel(), pooled.sum(2).ravel()]
    np.testing.assert_allclose(compensation(m)[0].numpy(), np.concatenate(expected), rtol=1e-5)
    wide = torch.randn(1, 2, 4, 8)
    assert compensation(wide).shape == compensation(wide.mT).shape
    assert compensation(torch.ones(1, 2, 1, 1)).shape == (1, 12)  # a map of one cell
