"""An image tower that looks twice: at the whole image, and at the part that its patches choose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.nn.tuned_image import TunedImage
from diptych.nn.two_looks import GLSimNet, boxes, first_look, zoomed
from tests.support.towers import BUILDERS
from tests.support.visual_backbone import SIDE, VisualBackbone


def pixels(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("pick", ["most", "least"])
def test_boxes_equal_a_loop(pick: str, inclusive: bool) -> None:
    similarity = torch.rand(7, 20, generator=torch.Generator().manual_seed(1))
    found = boxes(similarity, (4, 5), 3, pick, inclusive=inclusive)  # type: ignore[arg-type]
    for row, box in zip(similarity.tolist(), found.tolist(), strict=True):
        order = sorted(range(20), key=lambda i: row[i], reverse=pick == "most")[:3]
        expected = []
        for places in ([i // 5 for i in order], [i % 5 for i in order]):
            low, high = min(places), max(places)
            expected += [low, high + 1 if inclusive else max(high, low + 1)]
        assert box == expected


def test_the_end_is_exclusive_of_the_last_patch_unless_the_box_had_no_size() -> None:
    similarity = torch.zeros(1, 16)
    similarity[0, [0, 10]] = 1.0  # rows 0 and 2, columns 0 and 2
    assert boxes(similarity, (4, 4), 2).tolist() == [[0, 2, 0, 2]]
    assert boxes(similarity, (4, 4), 2, inclusive=True).tolist() == [[0, 3, 0, 3]]
    similarity[0, 10] = 0.0
    assert boxes(similarity, (4, 4), 1).tolist() == [[0, 1, 0, 1]]


def test_more_patches_than_there_are_span_the_whole_image() -> None:
    assert boxes(torch.rand(2, 6), (2, 3), 99, inclusive=True).tolist() == [[0, 2, 0, 3]] * 2


def test_zoom_equals_grid_sampling_and_a_whole_box_changes_nothing() -> None:
    x = pixels(1)
    torch.testing.assert_close(zoomed(x, torch.tensor([[0, 4, 0, 4]]), (4, 4)), x)
    cut = zoomed(x, torch.tensor([[1, 3, 0, 2]]), (4, 4))
    rows, columns = torch.linspace(4, 11, SIDE), torch.linspace(0, 7, SIDE)
    grid = torch.stack([columns.expand(SIDE, -1), rows[:, None].expand(-1, SIDE)], dim=2) / (SIDE - 1) * 2 - 1
    torch.testing.assert_close(cut, F.grid_sample(x, grid[None], align_corners=True), rtol=1e-4, atol=1e-4)


def test_tokens_are_those_after_the_last_norm() -> None:
    """The first token, normed, is the summary; open_clip's own pooled output is its projection."""
    backbone = VisualBackbone()
    tower, x = backbone.tower("image"), pixels()
    g, patches, grid = first_look(tower, x)
    visual = backbone.module().image  # type: ignore[union-attr]
    assert grid == (4, 4)
    torch.testing.assert_close(g @ visual.proj, visual(x), rtol=1e-4, atol=1e-5)
    visual.output_tokens = True
    torch.testing.assert_close(patches, visual(x)[1], rtol=1e-4, atol=1e-5)


def test_the_net_equals_its_parts() -> None:
    backbone, x = VisualBackbone(), pixels()
    torch.manual_seed(0)
    net = GLSimNet(TunedImage(backbone), 24, 3, 2, "most", False).eval()
    torch.nn.init.normal_(net.head.weight)
    visual = backbone.module().image  # type: ignore[union-attr]
    visual.output_tokens, visual.proj = True, None
    expected = []
    with torch.no_grad():
        for image in x:
            g, tokens = visual(image[None])
            similarity = (g[0] * tokens[0]).sum(1) / g[0].norm() / tokens[0].norm(dim=1)
            rows, columns = zip(*[divmod(int(i), 4) for i in similarity.argsort(descending=True)[:2]], strict=True)
            top, left = min(rows), min(columns)
            bottom, right = max(max(rows), top + 1), max(max(columns), left + 1)
            cut = image[None, :, 4 * top : 4 * bottom, 4 * left : 4 * right]
            again, _ = visual(F.interpolate(cut, (SIDE, SIDE), mode="bilinear", align_corners=True))
            h = torch.stack([g, again], dim=1)
            b = net.block
            n = b.norm1(h)
            q, k, v = F.linear(n, b.self_attn.in_proj_weight, b.self_attn.in_proj_bias).chunk(3, dim=2)
            h = h + b.self_attn.out_proj((q @ k.transpose(1, 2) / 24**0.5).softmax(2) @ v)
            h = h + b.linear2(F.gelu(b.linear1(b.norm2(h))))
            expected.append(net.head(net.norm(h)[:, 0]))
        torch.testing.assert_close(net(x), torch.cat(expected), rtol=1e-4, atol=1e-4)


class Bare(nn.Module):
    """A tower that tunes, without a backbone round it."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.space = SimpleNamespace(tower=lambda modality: tower)


@pytest.mark.parametrize("name", ["timm ViT, mean, fc_norm", "timm ViT, SigLIP pool"])
def test_a_tower_without_a_cls_token_is_summed_up_by_its_own_pooling(name: str) -> None:
    """Pitfall: the released mode without CLS compares B x D with B x N x D; and a first patch must not pass for the
    summary.
    """
    case = BUILDERS[name](name)
    trunk: Any = case.module
    assert trunk.cls_token is None
    torch.manual_seed(0)
    net = GLSimNet(Bare(case.tower), 48, 3, 2, "most", False).eval()  # type: ignore[arg-type]
    nn.init.normal_(net.head.weight)
    with torch.no_grad():
        tokens = trunk.forward_features(case.x)
        g = trunk.forward_head(tokens, pre_logits=True)
        found, patches, grid = first_look(case.tower, case.x)
        assert grid == (4, 4)
        torch.testing.assert_close(found, g, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(patches, trunk.fc_norm(tokens), rtol=1e-4, atol=1e-5)
        similarity = torch.stack(
            [torch.stack([F.cosine_similarity(a, b, dim=0) for b in own]) for a, own in zip(g, patches, strict=True)]
        )
        again = trunk.forward_head(
            trunk.forward_features(zoomed(case.x, boxes(similarity, grid, 2), grid)), pre_logits=True
        )
        expected = net.head(net.norm(net.block(torch.stack([g, again], dim=1))[:, 0]))
        torch.testing.assert_close(net(case.x), expected, rtol=1e-4, atol=1e-4)


def test_shuffled_tokens_choose_other_boxes() -> None:
    """What must fail in the proof: a choice among permuted patches is a choice of places at random."""
    backbone, x = VisualBackbone(), pixels(8)
    with torch.no_grad():
        g, patches, grid = first_look(backbone.tower("image"), x)
        similarity = F.cosine_similarity(g[:, None], patches, dim=2)
        order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert (boxes(similarity, grid, 3) != boxes(similarity[:, order], grid, 3)).any()
