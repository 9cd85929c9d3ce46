from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, Clock, Evidence, Kit, MissingEvidence, Row
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.vr_lwf import VRLwF, distilled
from tests.support.refused import refused
from tests.support.tuning_work import CLASSES, SHORT, labelled, run, state
from tests.train.test_pair import RUN, small, squares


def test_distillation_against_a_loop_and_its_floor() -> None:
    g = torch.Generator().manual_seed(0)
    old, new = torch.randn(3, 4, generator=g).double(), torch.randn(3, 4, generator=g).double()
    p, q = (np.exp(t.numpy() / 2) / np.exp(t.numpy() / 2).sum(1, keepdims=True) for t in (old, new))
    assert distilled(old, new, 2.0).item() == pytest.approx(4 * (p * np.log(p / q)).sum(1).mean(), rel=1e-10)
    assert distilled(old, old, 2.0).item() == 0.0
    new.requires_grad_()
    (own,) = torch.autograd.grad(distilled(old, new, 2.0), new)
    (cross,) = torch.autograd.grad(-4 * ((old / 2).softmax(-1) * (new / 2).log_softmax(-1)).sum(-1).mean(), new)
    torch.testing.assert_close(own, cross)  # cross-entropy has the same gradient


@pytest.mark.parametrize("mixed", [False, True])
def test_the_losses_against_numpy_also_in_mixed_precision(mixed: bool) -> None:
    method = VRLwF(size=7, length=3, temperature=1.5, weight=0.5)
    (t,) = method.stages(Kit({"main": small()}), CLASSES, Evidence(train=labelled()), RUN)
    with torch.no_grad():
        t.space.module().visual.proj.mul_(torch.rand(12, generator=torch.Generator().manual_seed(0)))
    cells = [Row(labelled().items[i], i, str(i), {"label": i % 5}) for i in range(6)]
    batch = t.collate([t.views(row, RUN.generator("x")) for row in cells])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        losses = t.losses(batch, "main", Clock(0, 1, 0, RUN.generator("x")))
        vectors = (
            small().image.encode(batch["image"]),
            t.space.image.encode(batch["image"]),
            t.space.text.encode(t.prompts),
        )
    old, new, head = (unit(v.float().double().numpy()) for v in vectors)
    u, s = t.sentences.double().numpy(), small().scale()[0].item()
    log_p = log_softmax(s * new @ head.T)
    target = 0.8 * np.eye(5)[np.arange(6) % 5] + 0.2 / 5
    assert losses["task"].item() == pytest.approx(-(target * log_p).sum(1).mean(), rel=1e-4)
    for name, a, b in (("images", old @ u.T, new @ u.T), ("texts", u @ old.T, u @ new.T)):
        p, q = log_softmax(s * a / 1.5), log_softmax(s * b / 1.5)
        expected = 0.5 * 1.5**2 * (np.exp(p) * (p - q)).sum(1).mean()
        assert losses[name].item() == pytest.approx(expected, rel=1e-3), name


def test_two_processes_have_the_losses_of_one() -> None:
    """The softmax of L_txt is over the images of all processes."""
    method, seen = VRLwF(size=7, length=3), list[torch.Tensor]()
    (t,) = method.stages(Kit({"main": small()}), CLASSES, Evidence(train=labelled()), RUN)
    with torch.no_grad():
        t.space.module().visual.proj.mul_(torch.rand(12, generator=torch.Generator().manual_seed(0)))
    cells = [Row(labelled().items[i], i, str(i), {"label": i % 5}) for i in range(6)]
    embed = t.embed

    def losses(rows: slice, gather) -> dict[str, torch.Tensor]:
        t.embed = lambda batch: replace(embed(batch), gather=gather)  # type: ignore[method-assign]
        batch = t.collate([t.views(row, RUN.generator("x")) for row in cells[rows]])
        with torch.no_grad():
            return dict(t.losses(batch, "main", Clock(0, 1, 0, RUN.generator("x"))))

    def noted(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x

    halves = slice(0, 3), slice(3, 6)
    whole = losses(slice(None), lambda x: x)
    for rows in halves:
        losses(rows, noted)  # seen: old and new logits of the first process, then of the second
    shares = []
    for rows in halves:
        together = iter([torch.cat(seen[::2]), torch.cat(seen[1::2])])
        shares.append(losses(rows, lambda x, together=together: next(together)))
    for name in ("task", "images", "texts"):
        torch.testing.assert_close((shares[0][name] + shares[1][name]) / 2, whole[name], rtol=1e-4, atol=1e-6)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def test_one_sentence_without_the_text_term_binds_nothing() -> None:
    plain = state(run(Full(smoothing=0.2), fit=SHORT).space)
    bound = state(run(VRLwF(size=1, over_texts=False), fit=SHORT).space)
    assert all(torch.equal(plain[n], bound[n]) for n in plain)


@pytest.mark.parametrize("method", [VRLwF(size=50), VRLwF(vocabulary="classes")])
def test_vr_lwf_keeps_similarities_that_plain_fine_tuning_loses(method: VRLwF) -> None:
    space, items = small(), labelled().items
    others = ["a dog on the grass", "two cups", "snow", "a wooden chair"]

    def similar(b: Backbone) -> torch.Tensor:
        with torch.no_grad():
            x = normalize(b.image.encode(b.image.inputs([items[i] for i in range(20)])), dim=-1)
            return x @ normalize(space.text.encode(space.text.inputs(others)), dim=-1).T

    before = similar(space)
    moved = {
        m.card.slug: (similar(run(m).space) - before).abs().mean()
        for m in (Full(smoothing=0.2), replace(method, weight=20.0))
    }
    assert moved["vr-lwf"] < 0.8 * moved["full"]


def test_vocabulary_of_classes_needs_names() -> None:
    with pytest.raises(MissingEvidence, match="needs class names"):
        run(VRLwF(vocabulary="classes"), classes=None, table=squares(), fit=SHORT)
    refused(VRLwF, {"size": 0}, {"weight": -1.0}, {"smoothing": 1.0})
