from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import DataError, Kit, MissingHook, Run
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.methods.classify.glsim import GLSim
from diptych.nn.tuned_image import TunedImage
from diptych.nn.two_looks import GLSimNet, boxes
from diptych.train import parameters
from diptych.train.log import History
from diptych.train.loop import train
from diptych.train.schedule import Fit
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task
from tests.support.refused import refused
from tests.support.visual_backbone import VisualBackbone

QUICK = GLSim(epochs=2)


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


def test_a_tensor_that_is_missing_unknown_or_turned_is_named(run: Run) -> None:
    names, evidence, test = task(3)
    fitted = GLSim(freeze=True, epochs=0).fit(Kit({"main": VisualBackbone()}), names, evidence, run)
    for wrong, said in (
        ({n: t for n, t in fitted.learnt.items() if n != "head.bias"}, r"\(head\.bias missing\)"),
        ({**fitted.learnt, "hat": torch.ones(1)}, r"\(hat unknown\)"),
        ({**fitted.learnt, "head.weight": fitted.learnt["head.weight"].T}, r"\(head\.weight of shape"),
    ):
        with pytest.raises(DataError, match=said):
            replace(fitted, learnt=wrong).scores(test.items, run)


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
