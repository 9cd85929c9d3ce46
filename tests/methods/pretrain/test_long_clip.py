"""Long-CLIP: its two terms against NumPy, what stays, and what it refuses."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Column, Evidence, Kit, MissingHook, Table
from diptych.features.frozen import Headed
from diptych.methods.pretrain.long_clip import LongCLIP, first_sentence, principal
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, rows, small, squares

METHOD = LongCLIP(kept=10, ratio=3, components=2)
FILLER = "This is a picture like many others, and what it shows comes last. " * 8


def trainee(method: LongCLIP = METHOD):
    (only,) = method.stages(Kit({"main": small()}), None, Evidence(train=squares()), RUN)
    return only


def batch(t):
    return t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()])


def cross_entropy(logits: np.ndarray, smoothing: float) -> float:
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.eye(len(logits)) * (1 - smoothing) + smoothing / len(logits)
    return float(-(target * log_p).sum(1).mean())


def test_the_terms_against_numpy() -> None:
    t = trainee(replace(METHOD, weight=0.5, smoothing=0.2))
    e = t.embed(batch(t))
    x, long, short = (normalize(e.vectors[m], dim=-1).detach().double().numpy() for m in ("image", "long", "short"))
    centred = x - x.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    v = vectors[:, np.argsort(values)[::-1][:2]]
    coarse = centred @ v @ v.T + x.mean(0)
    s = t.trained().scale()[0].item()
    losses = t.losses(batch(t), "main", None)
    for name, weight, a, b in (("long", 1.0, x, long), ("short", 0.5, coarse, short)):
        both = [cross_entropy(s * p @ q.T, 0.2) for p, q in ((a, b), (b, a))]
        assert losses[name].item() == pytest.approx(weight * np.mean(both), rel=1e-3)


def test_short_texts_keep_their_vectors_until_trained_and_kept_rows_always() -> None:
    space, t = small(), trainee()
    assert torch.equal(
        t.trained().text.encode(t.trained().text.inputs(["red"])), space.text.encode(space.text.inputs(["red"]))
    )
    made = train_space(METHOD, Kit({"main": space}), Evidence(train=squares()), replace(FIT, steps=3), RUN).space
    before, after = space.module().positional_embedding, made.module().positional_embedding
    assert torch.equal(after[:10], before[:10])
    assert len(after) == made.spec.context == 10 + (len(before) - 10) * 3
    assert not torch.allclose(after[10], before[10])


def test_words_after_the_old_context_are_learnt() -> None:
    table = squares()
    captions = [(FILLER + own[1],) for own in table.columns["captions"].values]
    long = Table(table.items, {"captions": Column("captions", captions)})
    method, fit = replace(METHOD, weight=0.0), replace(FIT, steps=100)  # all first sentences are alike
    made = train_space(method, Kit({"main": small()}), Evidence(train=long), fit, RUN).space
    with torch.no_grad():
        x = made.image.encode(made.image.inputs([table.items[i] for i in range(5)]))
        y = made.text.encode(made.text.inputs([c for (c,) in captions[:5]]))
    assert (normalize(x, dim=-1) @ normalize(y, dim=-1).T).argmax(1).tolist() == list(range(5))


def test_principal_components_have_limits_and_gradients() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(principal(x, 5), x)
    torch.testing.assert_close(principal(x, 0), x.mean(0).expand_as(x))
    assert torch.autograd.gradcheck(lambda y: principal(y, 2), (x,))


def test_gradients_of_equal_rows_and_values_are_finite_and_otherwise_those_of_an_svd() -> None:
    g = torch.Generator().manual_seed(0)

    def gradient(x: torch.Tensor, components: int, by=principal) -> torch.Tensor:
        x = x.clone().requires_grad_()
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
        return torch.autograd.grad((by(x, components) * weights).sum(), x)[0]

    def by_svd(x: torch.Tensor, components: int) -> torch.Tensor:
        centred = x - x.mean(0)
        v = torch.linalg.svd(centred, full_matrices=False).Vh[:components]
        return centred @ v.T @ v + x.mean(0)

    for size, components in (((40, 12), 5), ((12, 40), 5), ((9, 30), 7)):
        x = torch.randn(size, generator=g, dtype=torch.float64)
        torch.testing.assert_close(principal(x, components), by_svd(x, components))
        torch.testing.assert_close(gradient(x, components), gradient(x, components, by_svd))
    twins = torch.randn(4, 16, generator=g).repeat(2, 1)
    flat = torch.cat([torch.randn(8, 3, generator=g), torch.zeros(8, 13)], 1)
    for x in (twins, flat, torch.ones(6, 16), torch.randn(1, 16, generator=g)):
        for components in (0, 2, 5, 32):
            assert gradient(x, components).abs().max() < 10, components
    assert principal(torch.full((6, 4), torch.nan), 2).isnan().all()
    assert torch.equal(gradient(twins, 32), torch.randn(8, 16, generator=torch.Generator().manual_seed(1)))


def test_small_batches_are_warned_about_once() -> None:
    t = trainee(replace(METHOD, components=9))
    with pytest.warns(UserWarning, match="A batch of 10 images has no more than 9"):
        t.losses(batch(t), "main", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t.losses(batch(t), "main", None)


def test_first_sentences() -> None:
    assert first_sentence("One. Two. Three.") == "One."
    assert first_sentence("one 1.5 m tall") == "one 1.5 m tall"
    assert first_sentence("a\nb. c") == "a b."


def test_what_is_refused() -> None:
    refused(LongCLIP, {"kept": -1}, {"ratio": 0}, {"components": -1}, {"weight": -0.1}, {"smoothing": 1.0})
    heads = Headed(small())
    with pytest.raises(MissingHook):
        next(METHOD.stages(Kit({"main": replace_module(heads)}), None, Evidence(), RUN))


def replace_module(space):
    class Vectors(type(space)):
        def module(self):
            return torch.nn.Identity()

    return Vectors(space.whole)
