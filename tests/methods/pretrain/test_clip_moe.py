"""CLIP-MoE: its balance loss and groups against loops, what each stage trains, and the dense control."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.backbones.changes.experts import merged, mixtures
from diptych.core import DataError, Evidence, Kit, MissingEvidence, MissingHook, Run, Table
from diptych.features.frozen import Headed
from diptych.methods.pretrain.clip_moe import CLIPMoE, RouterTrainee, balance
from diptych.train.loop import train
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, rows, small, squares

METHOD = CLIPMoE(experts=3, clusters=2)
SHORT = replace(FIT, batch=4, steps=3)


def test_balance_against_a_loop_and_its_limits() -> None:
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    f = np.zeros((2, 4))
    for row in p:
        for r, e in enumerate(np.argsort(-row)[:2]):
            f[r, e] += 1 / len(p)
    by_hand = 4 * sum(f[r, e] * p[:, e].mean() for r in range(2) for e in range(4))
    assert balance(logits, 2).item() == pytest.approx(by_hand, rel=1e-5)
    assert balance(torch.zeros(8, 4), 2).item() == pytest.approx(2)
    assert balance(torch.tensor([[60.0, 1, 0, 0]] * 5), 2).item() == pytest.approx(4)


def test_a_stage_starts_from_the_base_and_moves_the_mlps_alone() -> None:
    space = small()
    stages = METHOD.stages(Kit({"main": space}), None, Evidence(train=squares(100)), RUN)
    base = space.module().state_dict()
    moved, groups = [], []
    for _ in range(2):
        expert = next(stages)
        assert all(torch.equal(t, base[n]) for n, t in expert.trained().module().state_dict().items())
        groups.append(expert.sampler(squares(100), RUN).groups)
        train(expert, squares(100), SHORT, RUN)
        after = expert.trained().module().state_dict()
        changed = {n for n, t in after.items() if not torch.equal(t, base[n])}
        assert changed
        assert all(".mlp." in n for n in changed)
        moved.append(after)
    assert np.array_equal(groups[1] // 4, groups[0])
    assert set(groups[0]) <= set(range(4))
    routers = next(stages)
    assert {n for g in routers.groups() for n in g.names} == {
        f"space.{n}" for n, _ in routers.trained().module().named_parameters() if n.endswith("mlp.router.weight")
    }
    state = routers.trained().module().state_dict()
    for e, theirs in enumerate([base, *moved]):
        key = "transformer.resblocks.1.mlp"
        assert torch.equal(state[f"{key}.experts.{e}.c_fc.weight"], theirs[f"{key}.c_fc.weight"])
    assert torch.equal(state["visual.proj"], base["visual.proj"])


def test_the_losses_of_the_routers() -> None:
    space = small()
    t = RouterTrainee(replace(METHOD, balance=0.5), merged([space, space, space], 2, METHOD.last, 1), RUN)
    batch = t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()])
    losses = t.losses(batch, "main", None)
    assert set(losses) == {"contrastive", "balance"}
    tokens: dict[str, list[torch.Tensor]] = {"image": [], "text": []}
    for tower, blocks in t.of_tower.items():
        for mixture in blocks:
            mixture.router.register_forward_hook(lambda m, x, y, tower=tower: tokens[tower].append(y))
    t.embed(batch)
    uneven = {tower: balance(torch.cat(logits), 2).item() for tower, logits in tokens.items()}
    assert losses["balance"].item() == pytest.approx(0.5 * (uneven["image"] + uneven["text"] / 2), rel=1e-5)
    losses["balance"].backward()
    assert all(m.router.weight.grad.abs().sum() > 0 for m in mixtures(t.module()))


def test_equal_experts_gain_nothing_however_long_routers_are_trained() -> None:
    space = small()
    t = RouterTrainee(METHOD, merged([space] * 3, 2, METHOD.last, 1), RUN)
    start = [m.router.weight.clone() for m in mixtures(t.module())]
    train(t, squares(), replace(FIT, lr=0.1, steps=10), RUN)
    assert not any(torch.equal(m.router.weight, w) for m, w in zip(mixtures(t.module()), start, strict=True))
    x = space.text.inputs(["a red square", "blue"])
    with torch.no_grad():
        torch.testing.assert_close(t.trained().text.encode(x), space.text.encode(x), atol=1e-5, rtol=1e-5)


def test_what_is_refused() -> None:
    refused(
        CLIPMoE, {"experts": 1}, {"top": 5}, {"clusters": 0}, {"layers": 0}, {"smoothing": 1.0}, {"balance": -1.0},
        {"router_rate": 0.0}, {"router_decay": -1.0},
    )  # fmt: skip
    kit = Kit({"main": small()})
    with pytest.raises(MissingEvidence, match="train split"):
        next(METHOD.stages(kit, None, Evidence(), RUN))
    with pytest.raises(DataError, match="a column 'caption'"):
        next(METHOD.stages(kit, None, Evidence(train=Table(squares().items)), RUN))
    with pytest.raises(MissingHook, match="heads alone"):
        next(METHOD.stages(Kit({"main": Headed(small())}), None, Evidence(train=squares()), RUN))
    with pytest.raises(DataError, match="fills no batch of 10"):
        train_space(CLIPMoE(), kit, Evidence(train=squares(15)), FIT, Run(workers=0))
