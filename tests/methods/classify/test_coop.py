from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from diptych.core import ClassNames, Kit, MissingHook, Run, UsageError
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import logits
from diptych.methods.classify.coop import CoOp, FittedCoOp, epochs_for
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.nn.prompts.soft import encode_prompts, slots, word_vectors
from diptych.train.schedule import Schedule
from tests.support.backbone import SmallBackbone
from tests.support.deep_backbone import DeepBackbone
from tests.support.pictures import task
from tests.support.refused import refused


@pytest.fixture
def deep() -> Kit:
    return Kit({"main": DeepBackbone()})


def fitted(method: CoOp, kit: Kit, run: Run, classes: int = 3) -> FittedCoOp:
    names, evidence, _ = task(classes)
    return method.fit(kit, names, evidence, run)


@pytest.mark.parametrize("more", [{}, {"specific": True}])
def test_zero_steps_from_words_are_zero_shot(deep: Kit, run: Run, more: dict[str, bool]) -> None:
    names, evidence, test = task()
    names = ClassNames(names.names, ("a photo of a {}.",))
    ours = CoOp(words="a photo of a", epochs=0, **more).fit(deep, names, evidence, run).scores(test.items, run)
    plain = ZeroShot().fit(deep, names, evidence, run).scores(test.items, run)
    torch.testing.assert_close(ours.values, plain.values, rtol=1e-4, atol=1e-4)


def test_each_class_starts_from_a_context_of_its_own(deep: Kit, run: Run) -> None:
    """Standard normal draws times 0.02, K times as many."""
    names, evidence, _ = task()
    context = CoOp(length=5, specific=True, epochs=0).fit(deep, names, evidence, run).prompt["context"]
    assert context.shape[:2] == (3, 5)
    assert not any(torch.equal(context[a], context[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert 0.015 < float(context.std()) < 0.025


@pytest.mark.parametrize("specific", [False, True])
def test_training_equals_a_plain_loop(deep: Kit, run: Run, specific: bool) -> None:
    """One batch of all shots per step and one view: SGD with momentum and weight decay, written out."""
    names, evidence, _ = task()
    backbone = deep.need(DeepBackbone)
    method = CoOp(words="a photo", views=1, epochs=5, rate=0.1, batch=64, specific=specific)
    got = method.fit(deep, names, evidence, run).prompt["context"]
    assert evidence.train is not None
    views = embed(backbone.image, evidence.train.items, run, views=replace(TIP_VIEWS, draws=1))[:, 0]
    z, y = normalize(views, dim=1), torch.tensor(evidence.train.labels())
    where = slots(backbone, names.names, 2)
    context = word_vectors(backbone, "a photo").expand(*((3,) if specific else ()), -1, -1).clone()
    velocity = torch.zeros_like(context)
    for step in range(5):
        context.requires_grad_()
        loss = cross_entropy(
            logits(backbone, z, normalize(encode_prompts(backbone.tower("text"), where, context), dim=1)), y
        )
        (grad,) = torch.autograd.grad(loss, context)
        velocity = 0.9 * velocity + grad + 5e-4 * context.detach()
        context = context.detach() - 0.1 * Schedule(warmup=1).factor(step, 5) * velocity
    torch.testing.assert_close(got, context, rtol=1e-4, atol=1e-5)


def test_training_fits_the_shots_and_moves_the_context_alone(deep: Kit, run: Run) -> None:
    _, evidence, _ = task()
    assert evidence.train is not None
    before = fitted(CoOp(length=4, epochs=0), deep, run)
    after = fitted(CoOp(length=4, epochs=60, rate=0.05), deep, run)
    y = torch.tensor(evidence.train.labels())
    losses = [cross_entropy(f.scores(evidence.train.items, run).values, y) for f in (before, after)]
    assert losses[1] < 0.8 * losses[0]
    assert set(after.prompt) == {"context"}
    assert not torch.equal(after.prompt["context"], before.prompt["context"])
    assert all(p.grad is None and p.requires_grad for p in deep.need(DeepBackbone).module().parameters())


def test_cocoop_shifts_the_context_by_the_image(deep: Kit, run: Run) -> None:
    _, _, test = task()
    made = fitted(CoOp(words="a photo of a", conditional=True, epochs=2, rate=0.05, batch=4), deep, run)
    values, backbone = made.scores(test.items, run).values, deep.need(DeepBackbone)
    where = slots(backbone, made.classes.names, 4)
    w, b, w2, b2 = (made.prompt[f"net.{n}"] for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
    assert w.shape == (1, 16)
    z = normalize(embed(backbone.image, test.items, run), dim=1)
    with torch.no_grad():
        for i in range(len(z)):
            shift = w2 @ torch.relu(w @ z[i] + b) + b2
            head = normalize(encode_prompts(backbone.tower("text"), where, made.prompt["context"] + shift), dim=1)
            torch.testing.assert_close(values[i], logits(backbone, z[i : i + 1], head)[0], rtol=1e-4, atol=1e-4)


def test_fewer_shots_than_a_batch_still_train(deep: Kit, run: Run) -> None:
    start, end = (fitted(CoOp(length=2, epochs=e, batch=1000), deep, run).prompt["context"] for e in (0, 1))
    assert not torch.equal(start, end)


def test_the_length_of_the_training_follows_the_shots() -> None:
    assert [epochs_for(s) for s in (1, 2, 4, 8, 16)] == [50, 100, 100, 200, 200]


@pytest.mark.parametrize("wrong", [{"length": 0}, {"batch": 0}, {"epochs": -1}, {"position": "back"}, {"views": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    refused(CoOp, wrong)


def test_cocoop_has_one_context() -> None:
    with pytest.raises(UsageError, match="either"):
        CoOp(conditional=True, specific=True)


def test_a_backbone_without_text_tower_is_refused_first(run: Run) -> None:
    with pytest.raises(MissingHook, match="small"):
        fitted(CoOp(), Kit({"main": SmallBackbone()}), run)
