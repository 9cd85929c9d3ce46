"""A-CLIP: its limit is CLIP's loss, its slow copy follows, and what it keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.towers.edits import keep_patches
from diptych.core import Clock, Evidence, Kit, MissingHook, UsageError
from diptych.methods.pretrain.a_clip import ACLIP, AttentiveTrainee
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.nn.dense.attention_maps import carried, cls_attention, kept_patches
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, accuracy, rows, small, squares

TINY = ACLIP(block=1, hidden=8, out=4, momentum=0.5)
PLAIN = replace(TINY, drop=0.0, scale=(1.0, 1.0), recolour=False, simclr=0.0, byol=0.0, freeze_patches=False)
ROWS = Evidence(train=squares())
CLOCK = Clock(0, 1, 0, torch.Generator())


def trainee(method: ACLIP = TINY) -> AttentiveTrainee:
    (only,) = method.stages(Kit({"main": small()}), None, ROWS, RUN)
    assert isinstance(only, AttentiveTrainee)
    return only


def batch_of(t: PairTrainee, seed: int = 0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()])


def test_without_masks_and_self_supervision_it_is_clips_loss() -> None:
    """In value and gradient, on pictures of the input's size, where the whole picture is both views."""
    ours, theirs = trainee(PLAIN), PairTrainee(small(), CLIPLoss(), RUN)
    one, two = ours.losses(batch_of(ours), "main", CLOCK), theirs.losses(batch_of(theirs), "main", CLOCK)
    assert set(one) == {"view-0", "view-1"}
    torch.testing.assert_close(one["view-0"] + one["view-1"], two["contrastive"], rtol=1e-6, atol=1e-6)
    sum(one.values()).backward()
    two["contrastive"].backward()
    of_theirs = dict(theirs.module()["space"].named_parameters())
    for name, p in ours.module()["space"].named_parameters():
        torch.testing.assert_close(p.grad, of_theirs[name].grad, rtol=1e-4, atol=1e-6, msg=name)


def test_it_trains_as_clips_loss_does_in_that_limit() -> None:
    fit = replace(FIT, steps=3)
    ours = train_space(replace(PLAIN, result="online"), Kit({"main": small()}), ROWS, fit, RUN).space
    theirs = train_space(CLIPLoss(), Kit({"main": small()}), ROWS, fit, RUN).space
    after = theirs.module().state_dict()
    for name, t in ours.module().state_dict().items():
        torch.testing.assert_close(t, after[name], rtol=1e-3, atol=2e-5, msg=name)


def test_the_terms_against_the_paper_step_by_step() -> None:
    t = trainee(replace(TINY, drop=0.5))
    batch = batch_of(t)
    losses = t.losses(batch, "main", CLOCK)
    tower, total = t.space.tower("image"), {}
    with torch.no_grad():
        attention, pooled = cls_attention(t.slow_tower, batch["slow"])
        target = normalize(t.teacher.network.get_submodule("projector")(pooled), dim=-1)
        text = normalize(t.space.text.encode(batch["text"]), dim=-1)
        h = []
        for v in range(2):
            keep = kept_patches(carried(attention, batch["boxes"][:, v], (2, 2)), 0.5, 1)
            assert keep.shape == (10, 3)
            s = tower.start(
                batch["crops"][:, v], edit=lambda g, i, s, k=keep: keep_patches(s, k) if g == "positioned" else s
            )
            assert s.h.shape[1] == 4
            h.append(tower.pooled(tower.blocks(s)))
            x = normalize(tower.project(h[v]), dim=-1)
            k = t.space.scale()[0] * x @ text.T
            both = [torch.diagonal(m.log_softmax(1)).mean() for m in (k, k.T)]
            total[f"view-{v}"] = -sum(both) / 4
        z = normalize(t.view_heads.simclr(torch.cat(h)), dim=-1).double().numpy()
        alike = np.exp(z @ z.T / 0.1) * (1 - np.eye(20))
        pairs = [alike[i, (i + 10) % 20] / alike[i].sum() for i in range(20)]  # the other view of the same picture
        total["simclr"] = torch.tensor(-np.log(pairs).mean())
        q = normalize(t.view_heads.predictor(t.view_heads.projector(torch.cat(h))), dim=-1)
        total["byol"] = 2 * (2 - 2 * (q * target.repeat(2, 1)).sum(1)).mean()
    for name, value in total.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    assert t.seen == 4


def test_the_slow_copy_follows_and_shares_what_the_authors_share() -> None:
    t = trainee()
    before = {n: p.clone() for n, p in t.teacher.network.named_parameters()}
    train(t, squares(), replace(FIT, steps=1), RUN)
    online = dict(t.student.named_parameters())
    for name, p in t.teacher.network.named_parameters():
        shared = any(part in name for part in ("space.token_embedding", "space.positional", "ln_final", "logit_scale"))
        expected = online[name] if shared else 0.9 * online[name] + 0.1 * before[name]  # m = (1 + 0) / (10 + 0)
        torch.testing.assert_close(p, expected, msg=name)


def test_the_momentum_starts_small_and_ends_at_one() -> None:
    t, steps = trainee(replace(TINY, momentum=0.996)), 91_000
    early = [t.momentum(step, steps) for step in (0, 90, 2238)]
    assert early == pytest.approx([1 / 10, 91 / 100, 2239 / 2248])
    for step in (2240, 50_000, 90_999, steps):
        assert t.momentum(step, steps) == pytest.approx(1 - 0.004 * (1 + math.cos(math.pi * step / steps)) / 2)
    assert t.momentum(steps, steps) == 1


def test_the_patch_embedding_stays_and_the_slow_copy_takes_no_gradient() -> None:
    t = trainee()
    trained = {n for g in t.groups() for n in g.names}
    assert "space.visual.conv1.weight" not in trained
    assert not any(n.startswith("teacher.") for n in trained)
    assert "space.visual.conv1.weight" in {
        n for g in trainee(replace(TINY, freeze_patches=False)).groups() for n in g.names
    }


def test_it_learns_and_gives_the_slow_copy_or_the_online_one() -> None:
    method = replace(TINY, recolour=False, momentum=0.996)
    trained = train_space(method, Kit({"main": small()}), ROWS, replace(FIT, steps=40), RUN)
    assert accuracy(trained.space) > 0.9
    assert trained.parts == {}
    assert list(trained.space.module().state_dict()) == list(small().module().state_dict())
    short = replace(FIT, steps=2)
    both = [
        train_space(replace(TINY, result=r), Kit({"main": small()}), ROWS, short, RUN).space for r in ("slow", "online")
    ]
    assert both[0].fingerprint != both[1].fingerprint


def test_the_efficient_form_gives_the_slow_copy_half_the_side() -> None:
    t = trainee(replace(TINY, **ACLIP.card.variants["efficient"]))
    batch = batch_of(t)
    assert batch["slow"].shape[-1] == 16
    assert all(torch.isfinite(v) for v in t.losses(batch, "main", CLOCK).values())


def test_resumes_to_the_same_bits(tmp_path) -> None:
    fit = replace(FIT, steps=6, batch=20)
    whole = train_space(TINY, Kit({"main": small()}), ROWS, fit, RUN)
    run, t = replace(RUN, out=tmp_path), trainee()
    losses = t.losses
    t.losses = lambda b, p, c: 1 / 0 if c.step == 4 else losses(b, p, c)  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(t, squares(), fit, run)
    again = train_space(TINY, Kit({"main": small()}), ROWS, fit, run, resume=True)
    assert again.space.fingerprint == whole.space.fingerprint


def test_what_cannot_work_is_refused() -> None:
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook):
        next(TINY.stages(Kit({"main": SmallBackbone()}), None, ROWS, RUN))
    with pytest.raises(UsageError, match="block must divide the grid of 2 x 2 patches, got 3"):
        trainee(replace(TINY, block=3))
    refused(ACLIP, {"drop": 1.0}, {"scale": (0.0, 1.0)}, {"temperature": 0.0}, {"simclr": -1.0}, {"block": 0})
    refused(ACLIP, {"momentum": 1.1}, {"result": "both"}, {"slow_side": 0.0}, {"hidden": 0})
