from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.core.errors import MissingHook
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.methods.classify.glsim import GLSim, GLSimNet, boxes, first_look, zoomed
from diptych.nn.tuned_image import TunedImage
from diptych.train import parameters
from diptych.train.log import History
from diptych.train.loop import train
from diptych.train.schedule import Fit
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused
from tests.support.towers import BUILDERS
from tests.support.visual_backbone import SIDE, VisualBackbone

QUICK = GLSim(epochs=2)


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


def test_without_training_all_classes_are_alike(run: Run) -> None:
    names, evidence, test = task(3)
    fitted = replace(QUICK, epochs=0).fit(Kit({"main": VisualBackbone()}), names, evidence, run)
    assert torch.equal(fitted.scores(test.items, run).values, torch.zeros(len(test), 3))


def test_frozen_trains_aggregator_and_head_only(run: Run) -> None:
    names, evidence, _ = task(2, shots=2)
    kit = Kit({"main": VisualBackbone()})
    frozen = replace(QUICK, freeze=True).fit(kit, names, evidence, run)
    whole = QUICK.fit(kit, names, evidence, run)
    assert all(name.startswith(("block.", "norm.", "head.")) for name in frozen.learnt)
    assert any("resblocks" in name for name in whole.learnt)
    assert not any("text" in name for name in whole.learnt), "the text tower is not part of it"


def test_what_no_look_reaches_is_not_learnt(run: Run) -> None:
    names, evidence, _ = task(2, shots=2)
    whole = QUICK.fit(Kit({"main": VisualBackbone()}), names, evidence, run)
    assert not [name for name in whole.learnt if name.endswith("visual.proj")], "looks end before the projection"


def test_logits_of_other_values_settings_and_backbones_have_other_fingerprints(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, evidence, test = task(2, shots=2)
    kit, seen = Kit({"main": VisualBackbone()}), []

    def named(encoder: Any, items: Any, run: Run) -> torch.Tensor:
        seen.append(encoder.fingerprint)
        return torch.zeros(len(items), 2)

    fitted = QUICK.fit(kit, names, evidence, run)
    other = QUICK.fit(kit, names, evidence, replace(run, seed=7))
    assert list(fitted.learnt) == list(other.learnt)
    monkeypatch.setattr("diptych.methods.classify.glsim.embed", named)
    for one in (fitted, fitted, other, replace(fitted, method=replace(QUICK, pick="least"))):
        one.scores(test.items, run)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_stored_looks_give_the_logits_of_pixels(run: Run) -> None:
    """A frozen tower is asked once a view; the network on its looks equals the network on pixels."""
    names, evidence, test = task(3, shots=2)
    backbone = VisualBackbone()
    fitted = GLSim(epochs=3, freeze=True, rate=0.1).fit(Kit({"main": backbone}), names, evidence, run)
    net = GLSimNet(TunedImage(backbone), 24, 3, 8, "most", False)
    net.load_state_dict(dict(fitted.learnt), strict=False)
    x = backbone.image.inputs([test.items[i] for i in range(len(test))])
    with torch.no_grad():
        torch.testing.assert_close(fitted.scores(test.items, run).values, net.eval()(x), rtol=1e-4, atol=1e-5)
    assert fitted.scores(test.items, run).values.abs().max() > 0


def test_it_learns_colours(run: Run) -> None:
    names, evidence, test = task(2, shots=4)
    fitted = GLSim(epochs=15, freeze=True, rate=0.03).fit(Kit({"main": VisualBackbone()}), names, evidence, run)
    assert (fitted.scores(test.items, run).predicted().numpy() == test.labels()).mean() > 0.8


def test_training_equals_a_plain_loop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All shots are one batch with one view: SGD with momentum on smoothed labels, clipped, written out."""
    one = replace(TIP_VIEWS, draws=1)
    monkeypatch.setattr("diptych.methods.classify.glsim.TIP_VIEWS", one)
    names, evidence, _ = task(3)
    assert evidence.train is not None
    backbone, method = VisualBackbone(), GLSim(freeze=True, epochs=4, rate=5.0, batch=999, smoothing=0.2)
    got = method.fit(Kit({"main": backbone}), names, evidence, run).learnt
    net = GLSimNet(None, 24, 3, 8, "most", False)
    net.load_state_dict(dict(replace(method, epochs=0).fit(Kit({"main": backbone}), names, evidence, run).learnt))
    looks = embed(method._looks(backbone), evidence.train.items, run, views=one)[:, 0]
    y, parameters_ = torch.tensor(evidence.train.labels()), dict(net.named_parameters())
    velocity = {name: torch.zeros_like(p) for name, p in parameters_.items()}
    norms = []
    for step in range(4):
        target = 0.8 * torch.eye(3)[y] + 0.2 / 3
        loss = -(target * net(looks).log_softmax(dim=1)).sum(dim=1).mean()
        grads = torch.autograd.grad(loss, list(parameters_.values()))
        norms.append(float(torch.stack([g.norm() for g in grads]).norm()))
        floor = 1e-5 / 5.0
        rate = 5.0 * (floor + (1 - floor) * (1 + np.cos(np.pi * step / 4)) / 2)
        with torch.no_grad():
            for (name, p), grad in zip(parameters_.items(), grads, strict=True):
                velocity[name] = 0.9 * velocity[name] + grad / max(1.0, norms[-1])
                p -= rate * velocity[name]
    assert max(norms) > 1, "some step must be clipped"
    for name, p in parameters_.items():
        torch.testing.assert_close(got[name], p.detach(), rtol=1e-3, atol=1e-5)


def test_the_last_epoch_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitfall: the released code trains on val too, and keeps the epoch that is best on test."""
    names, evidence, _ = task(2, shots=2)
    last: list[dict[str, torch.Tensor]] = []

    def watched(trainee: Any, data: Any, fit: Fit, run: Run, **options: Any) -> History:
        assert (options.get("val"), fit.patience, fit.ema) == (None, None, None), (
            "nothing is judged between epochs, or averaged"
        )
        history = train(trainee, data, fit, run, **options)
        assert (history.position.epoch, history.position.step) == (5, 5), "all epochs are passed"
        last.append({n: p.detach().clone() for n, p in trainee.module().named_parameters()})
        return history

    monkeypatch.setattr(parameters, "train", watched)
    method, kit = replace(QUICK, epochs=5, rate=0.3), Kit({"main": VisualBackbone()})
    others = (evidence, replace(evidence, val=None), replace(evidence, val=table([1, 0] * 3, 7)))
    fits = [method.fit(kit, names, e, run).learnt for e in others]
    for own, end in zip(fits, last, strict=True):
        assert all(torch.equal(value, end[name]) and torch.equal(value, fits[0][name]) for name, value in own.items())


def test_eight_patches_by_default() -> None:
    """Pitfalls: the released class alone defaults to 2 patches, and the paper's box leaves out its last row and
    column.
    """
    assert (GLSim().top, GLSim().inclusive) == (8, False)
    assert len(np.unique(boxes(torch.rand(50, 64), (8, 8), GLSim().top).numpy(), axis=0)) > 1


def test_bad_input(run: Run) -> None:
    names, evidence, _ = task(2)
    refused(GLSim, {"top": 0}, {"batch": 0}, {"epochs": -1}, {"rate": 0.0}, {"smoothing": 1.0}, {"pick": "centre"})
    with pytest.raises(MissingHook, match="small has no image tower"):
        GLSim().fit(Kit({"main": SmallBackbone()}), names, evidence, run)
