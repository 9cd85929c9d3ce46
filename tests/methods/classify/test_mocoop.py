from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.core import ClassNames, Evidence, Kit, MissingHook, Run, UsageError
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.methods.classify.mocoop import GROUPS, MoCoOp
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.nn.prompts.mixture import gate, gate_target, mixed_logits, soft_prompt_starts, soft_vectors, text_loss
from diptych.nn.prompts.soft import encode_prompts, slots
from diptych.train.step import Step
from tests.support.backbone import SmallBackbone
from tests.support.deep_backbone import DeepBackbone
from tests.support.pictures import task
from tests.support.refused import refused
from tests.support.visual_backbone import VisualBackbone

TWO = (("a photo of a {}.",), ("a pixelated photo of a {}.", "a bad photo of a {}."))
QUICK = MoCoOp(TWO, norms=False, epochs=2)


def unit(*size: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*size, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_gate_keeps_two_experts() -> None:
    r = torch.tensor([[1.0, 3.0, 2.0, -9.0]])
    e = torch.tensor([3.0, 2.0]).softmax(0)
    torch.testing.assert_close(gate(r), torch.tensor([[0.0, e[0], e[1], 0.0]]))


def test_losses_equal_loops() -> None:
    z, soft, hard, y = unit(5, 8), unit(3, 4, 8, seed=1), unit(3, 4, 8, seed=2), torch.tensor([0, 1, 2, 3, 0])
    total = 0.0
    for g in range(3):
        for c in range(4):
            similar = torch.stack([soft[g, c] @ hard[g, e] for e in range(4)])
            total -= float(similar.log_softmax(0)[c]) / 12
    assert float(text_loss(soft, hard)) == pytest.approx(total, rel=1e-5)
    target = gate_target(z, hard, y)
    for i in range(5):
        u = torch.stack([z[i] @ hard[g, y[i]] for g in range(3)])
        u[u.argsort(descending=True)[:2]] += 10
        torch.testing.assert_close(target[i], u.softmax(0))
        assert target[i].topk(2).values.min() > 0.2
    pi = gate(unit(5, 3, seed=3))
    expected = torch.stack(
        [20 * torch.stack([sum(pi[i, g] * soft[g, k] for g in range(3)) @ z[i] for k in range(4)]) for i in range(5)]
    )
    torch.testing.assert_close(mixed_logits(SmallBackbone(), z, soft, pi), expected, rtol=1e-4, atol=1e-4)


def test_the_gates_target_takes_no_gradient() -> None:
    """Pitfall: with trainable norms, the image tower learns to please the target."""
    z = unit(4, 8).requires_grad_()
    assert not gate_target(z, unit(3, 2, 8), torch.tensor([0, 1, 0, 1])).requires_grad


def test_without_training_each_expert_is_its_first_template(run: Run) -> None:
    names, evidence, test = task(3)
    kit = Kit({"main": DeepBackbone()})
    fitted = replace(QUICK, epochs=0).fit(kit, names, evidence, run)
    plain = [ZeroShot((group[0],)).fit(kit, names, Evidence(), run).scores(test.items, run).values for group in TWO]
    z = F.normalize(kit.parts["main"].image.encode(kit.parts["main"].image.inputs(list(test.items))).detach(), dim=-1)
    pi = fitted.routed(z)
    expected = pi[:, :1] * plain[0] + pi[:, 1:] * plain[1]
    torch.testing.assert_close(fitted.scores(test.items, run).values, expected, rtol=1e-3, atol=1e-3)


def test_the_text_loss_holds_the_prompts_near_their_templates(run: Run) -> None:
    """Without it they name their own class worse among the templates of their group."""
    names, evidence, _ = task(3)
    backbone = DeepBackbone()
    hard = torch.stack(
        [text_head(backbone, [[t.replace("{}", n) for t in group] for n in names], run) for group in TWO]
    )
    loss = {}
    for weight in (0.0, 50.0):
        fitted = replace(QUICK, epochs=15, text=weight).fit(Kit({"main": backbone}), names, evidence, run)
        contexts = [fitted.mixture["contexts.0"], fitted.mixture["contexts.1"]]
        where = [slots(backbone, names.names, len(c)) for c in contexts]
        with torch.no_grad():
            loss[weight] = float(text_loss(soft_vectors(backbone, where, contexts, fitted.mixture["shift"]), hard))
    assert loss[50.0] < loss[0.0]


def test_virtual_classes_join_the_text_loss_only(run: Run) -> None:
    names, evidence, test = task(2)
    kit = Kit({"main": DeepBackbone()})
    plain = QUICK.fit(kit, names, evidence, run)
    more = QUICK.fit(kit, names, replace(evidence, other_classes=ClassNames(("tea cup", "red fox"))), run)
    same = QUICK.fit(kit, names, replace(evidence, other_classes=ClassNames(("red fox",))), run)
    assert more.scores(test.items, run).values.shape == (len(test), 2)
    assert not torch.equal(plain.mixture["contexts.0"], more.mixture["contexts.0"])
    assert torch.equal(plain.mixture["contexts.0"], same.mixture["contexts.0"]), "a base class is no virtual one"


def test_other_names_go_into_the_same_prompts(run: Run) -> None:
    names, evidence, test = task(3)
    fitted = QUICK.fit(Kit({"main": DeepBackbone()}), names, evidence, run)
    moved = fitted.for_classes(ClassNames((names.names[2], "sea horse")))
    assert moved.classes.names == (names.names[2], "sea horse")
    torch.testing.assert_close(
        moved.scores(test.items, run).values[:, 0], fitted.scores(test.items, run).values[:, 2], rtol=1e-4, atol=1e-4
    )


def test_the_shift_has_the_joint_width(run: Run) -> None:
    """Pitfall: the released shift has the width of the text tower, here 24 of 16."""
    names, evidence, _ = task(2)
    backbone = DeepBackbone()
    fitted = QUICK.fit(Kit({"main": backbone}), names, evidence, run)
    assert fitted.mixture["shift"].shape == (backbone.image.dim,)
    assert backbone.tower("text").width != backbone.image.dim


def test_norms_of_the_blocks_learn_and_nothing_else_of_the_tower(run: Run) -> None:
    names, evidence, test = task(2, shots=2)
    kit = Kit({"main": VisualBackbone()})
    fitted = MoCoOp(TWO, epochs=2).fit(kit, names, evidence, run)
    assert {n.split(".")[-2] for n in fitted.norms} == {"ln_1", "ln_2"}
    own = {f"twin.{n}": t for n, t in kit.parts["main"].module().named_parameters()}
    assert any(not torch.equal(own[n], t) for n, t in fitted.norms.items())
    assert fitted.scores(test.items, run).values.shape == (len(test), 2)
    frozen = QUICK.fit(kit, names, evidence, run)
    assert frozen.norms == {}


def test_reasons_are_the_two_experts_and_add_up_to_the_logit(run: Run) -> None:
    names, evidence, test = task(3)
    fitted = MoCoOp(norms=False, epochs=1).fit(Kit({"main": DeepBackbone()}), names, evidence, run)
    best = fitted.scores(test.items, run).values.amax(dim=1)
    for reasons, value in zip(fitted.explain(test.items, run), best.tolist(), strict=True):
        assert len(reasons) == 2
        assert {r.text for r in reasons} <= {g[0] for g in GROUPS}
        assert sum(r.weight for r in reasons) == pytest.approx(value, abs=1e-3)


def test_training_equals_a_plain_loop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All shots are one batch with one view: SGD with momentum and decay on the sum of the losses, written out."""
    one = replace(TIP_VIEWS, draws=1)
    monkeypatch.setattr("diptych.methods.classify.mocoop.TIP_VIEWS", one)
    names, evidence, _ = task(3)
    assert evidence.train is not None
    backbone = DeepBackbone()
    got = replace(QUICK, epochs=4, batch=999).fit(Kit({"main": backbone}), names, evidence, run).mixture
    p = dict(replace(QUICK, epochs=0).fit(Kit({"main": backbone}), names, evidence, run).mixture)
    z = F.normalize(embed(backbone.image, evidence.train.items, run, views=one)[:, 0], dim=1)
    y = torch.tensor(evidence.train.labels())
    hard = torch.stack(
        [text_head(backbone, [[t.replace("{}", n) for t in group] for n in names], run) for group in TWO]
    )
    where = [slots(backbone, names.names, len(p[f"contexts.{g}"])) for g in range(2)]
    velocity = {name: torch.zeros_like(v) for name, v in p.items()}
    for step in range(4):
        p = {name: v.detach().requires_grad_() for name, v in p.items()}
        tower = backbone.tower("text")
        soft = torch.stack(
            [F.normalize(encode_prompts(tower, w, p[f"contexts.{g}"]) + p["shift"], dim=1) for g, w in enumerate(where)]
        )
        r = z @ p["router.weight"].T + p["router.bias"]
        scores = 20 * torch.einsum("bg,gkd,bd->bk", r.softmax(dim=1), soft, z)  # both of two groups are chosen
        target = (10 + torch.stack([(z * hard[g, y]).sum(dim=1) for g in range(2)], dim=1)).softmax(dim=1)
        texts = torch.stack([F.cross_entropy(soft[g] @ hard[g].T, torch.arange(3)) for g in range(2)]).mean()
        gates = -(target * r.log_softmax(dim=1)).sum(dim=1).mean()
        grads = torch.autograd.grad(F.cross_entropy(scores, y) + 5 * texts + gates, list(p.values()))
        norm = float(torch.stack([g.norm() for g in grads]).norm())
        rate = 0.032 * (1 + np.cos(np.pi * step / 4)) / 2
        for (name, value), grad in zip(p.items(), grads, strict=True):
            velocity[name] = 0.9 * velocity[name] + grad / max(1.0, norm) + 5e-4 * value.detach()
            p[name] = value.detach() - rate * velocity[name]
    for name, value in p.items():
        torch.testing.assert_close(got[name], value, rtol=1e-3, atol=1e-5)


def test_norms_learn_at_a_tenth_of_the_rate(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: dict[str, float] = {}

    class Watched(Step):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            rates.update({name: g.lr for g in self.groups() for name in g.names})

    monkeypatch.setattr("diptych.methods.classify.mocoop.Step", Watched)
    names, evidence, _ = task(2, shots=1)
    MoCoOp(TWO, epochs=1).fit(Kit({"main": VisualBackbone()}), names, evidence, run)
    assert {name.startswith("tuned.") for name in rates} == {True, False}
    assert all(rate == (0.1 if name.startswith("tuned.") else 1.0) for name, rate in rates.items())


def test_bad_input(run: Run) -> None:
    names, evidence, _ = task(2)
    refused(MoCoOp, {"text": -1.0}, {"gating": -1.0}, {"epochs": -1}, {"rate": 0.0}, {"batch": 0})
    for groups in (
        (("a photo of a {}.",),),
        (("a {} in a photo.",), ("a {}.",)),
        ((), ("a {}.",)),
        (("{}.",), ("a {}.",)),
    ):
        with pytest.raises(UsageError, match=r"groups? of templates|A group must start with a template"):
            MoCoOp(groups)
    with pytest.raises(MissingHook, match="small"):
        QUICK.fit(Kit({"main": SmallBackbone()}), names, evidence, run)
    with pytest.raises(MissingHook, match="deep has no image tower"):
        MoCoOp().fit(Kit({"main": DeepBackbone()}), names, evidence, run)
    assert soft_prompt_starts(GROUPS)[2] == "a low resolution photo of a"
