"""What every tower owes: the library's own vectors, exactly, and hooks that change nothing until they are used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.towers.edits import insert, keep_patches, patch_count, remove
from diptych.backbones.towers.kernels import (
    identity_attention,
    recording_attention,
    value_attention,
)
from diptych.core import State, Tower
from tests.support.towers import BUILDERS, IMAGES, PAD, TEXTS, Case, case, close, matrix

every = pytest.mark.parametrize("name", list(BUILDERS))


def vectors(c: Case, x: Any = None, **hooks: Any) -> Tensor:
    tower, edit = c.tower, hooks.get("edit")
    s = tower.blocks(tower.start(c.x if x is None else x, edit=edit), **hooks)
    out: Tensor = tower.project(tower.pooled(s))
    return out


@every
def test_parts_rebuild_the_library(name: str) -> None:
    c = case(name)
    with torch.no_grad():
        expected = c.forward(c.x)
        assert expected.std(0).max() > 1e-3  # the oracle tells inputs apart
        assert close(vectors(c), expected)
    assert isinstance(c.tower, Tower)


@every
def test_attend_and_rest_rebuild_each_block(name: str) -> None:
    c = case(name)
    tower = c.tower
    with torch.no_grad():
        s = tower.start(c.x)
        for i in range(tower.depth):
            after = tower.rest(s, i, tower.attend(s, i))
            assert close(after.h, c.block(i, s))
            assert after == replace(s, h=after.h)
            s = after


@every
@torch.no_grad()
def test_hooks_that_do_nothing_change_nothing(name: str) -> None:
    c = case(name)
    plain, seen, tapped = vectors(c), [], []

    def edit(stage: str, i: int, s: State) -> State:
        seen.append((stage, i))
        return s

    assert torch.equal(vectors(c, edit=edit), plain)
    rounds = [(stage, i) for i in range(c.tower.depth) for stage in ("before", "after")]
    assert seen == [("patches", 0), ("positioned", 0), ("ready", 0), *rounds]
    s = c.tower.blocks(c.tower.start(c.x), tap=lambda i, what, h: tapped.append((i, what, h)))
    assert [t[:2] for t in tapped] == [(i, what) for i in range(c.tower.depth) for what in ("mlp_in", "out")]
    assert torch.equal(tapped[-1][2], s.h)
    assert close(vectors(c, kernel=recording_attention({})), plain)
    halves = c.tower.blocks(c.tower.blocks(c.tower.start(c.x), 0, 1), 1)
    assert torch.equal(halves.h, s.h)


@every
@torch.no_grad()
def test_one_by_one_is_together(name: str) -> None:
    c = case(name)
    given = c.x.clone()
    assert close(torch.cat([vectors(c, row) for row in c.x.split(1)]), vectors(c))
    assert torch.equal(c.x, given)


@every
def test_gradients_reach_attention_probabilities(name: str) -> None:
    c = case(name)
    record: dict[int, Tensor] = {}
    out = vectors(c, kernel=recording_attention(record)).square().sum()
    grads = torch.autograd.grad(out, list(record.values()))
    assert len(record) == c.tower.depth
    for p, g in zip(record.values(), grads, strict=True):
        assert torch.allclose(p.sum(-1), torch.ones(()))
        assert g.isfinite().all()
        assert g.abs().amax((1, 2, 3)).min() > 0


@every
def test_grad_mode_is_the_callers(name: str) -> None:
    c = case(name)
    assert vectors(c).requires_grad
    with torch.no_grad():
        assert not vectors(c).requires_grad
        assert not torch.is_grad_enabled()


@every
@torch.no_grad()
def test_kernels_change_the_vector_and_keep_its_shape(name: str) -> None:
    c = case(name)
    plain = vectors(c)
    for kernel in (identity_attention, value_attention):
        out = vectors(c, kernel=kernel)
        assert out.shape == plain.shape
        assert out.isfinite().all()
        assert not close(out, plain, 1e-3)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("stage", ["patches", "before"])
@torch.no_grad()
def test_order_of_patches_does_not_matter(name: str, stage: str) -> None:
    """Positions, rotary ones too, travel with the patch: the kept numbers are honoured."""
    c = case(name)

    def shuffle(at: str, i: int, s: State) -> State:
        if at != stage or i != (1 if stage == "before" else 0):
            return s
        order = [
            torch.randperm(patch_count(s), generator=torch.Generator().manual_seed(row)) for row in range(len(s.h))
        ]
        return keep_patches(s, torch.stack(order))

    assert close(vectors(c, edit=shuffle), vectors(c), 2e-5)


@pytest.mark.parametrize("name", IMAGES)
@torch.no_grad()
def test_patches_may_be_dropped_and_prompts_come_and_go(name: str) -> None:
    c = case(name)
    prompts = torch.randn(2, c.tower.width, generator=torch.Generator().manual_seed(3))

    def edit(stage: str, i: int, s: State) -> State:
        if stage == "before" and i == 1:
            s = keep_patches(s, torch.tensor([[0, 2, 5, 7]]).expand(len(s.h), -1))
        if stage == "before":
            return insert(s, prompts, s.prefix)
        return remove(s, s.prefix - 2, 2) if stage == "after" else s

    s = c.tower.blocks(c.tower.start(c.x, edit=edit), edit=edit)
    start = c.tower.start(c.x)
    assert s.h.shape[1] == start.prefix + 4
    assert s.prefix == start.prefix
    assert s.kept is not None
    assert s.kept[0].tolist() == [0, 2, 5, 7]
    out = c.tower.project(c.tower.pooled(s))
    assert out.isfinite().all()
    assert not close(out, vectors(c), 1e-3)


@pytest.mark.parametrize("name", TEXTS)
def test_the_token_table_is_what_embeds(name: str) -> None:
    c = case(name)
    torch.testing.assert_close(c.tower.embed(c.x), torch.nn.functional.embedding(c.x, c.tower.token_table))


@pytest.mark.parametrize("name", IMAGES)
def test_the_patch_layer_makes_the_patches(name: str) -> None:
    c = case(name)
    grads = torch.autograd.grad(
        c.tower.start(c.x).h.square().sum(), list(c.tower.patch_layer.parameters()), allow_unused=True
    )
    assert all(g is not None and g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize("name", TEXTS)
def test_soft_prompts_equal_their_ids_and_take_gradients(name: str) -> None:
    c = case(name)
    soft = c.tower.embed(c.x).detach().requires_grad_()
    out = vectors(c, {"embeds": soft, "ids": c.x})
    assert torch.equal(out, vectors(c))
    (grad,) = torch.autograd.grad(out.square().sum(), soft)
    assert grad.abs().sum((1, 2)).min() > 0


@pytest.mark.parametrize("name", TEXTS)
@torch.no_grad()
def test_hidden_padding_does_not_change_a_vector(name: str) -> None:
    c = case(name)
    tower, plain = c.tower, vectors(c)
    if tower.padding is None and not tower.causal:
        assert not close(vectors(c, c.x[:1, :8]), plain[:1], 1e-3)  # this tower was trained to see its padding
        return
    if "CoCa" not in name:  # whose CLS stands after the padding, so that its position tells the length
        assert close(vectors(c, c.x[:1, :8]), plain[:1])
    assert close(vectors(c, {"ids": c.x, "mask": c.x != PAD}), plain)
    loud = {"ids": c.x, "embeds": torch.where((c.x == PAD)[..., None], 9.0, tower.embed(c.x))}
    assert close(vectors(c, loud), plain) == (
        name != "open_clip text, CoCa CLS"
    )  # whose released mask is one place off


@pytest.mark.parametrize("name", [n for n in TEXTS if "CoCa" not in n])
@torch.no_grad()
def test_tokens_after_the_text_are_unseen_where_causal_and_seen_where_not(name: str) -> None:
    c = case(name)
    extra = torch.randn(2, c.tower.width, generator=torch.Generator().manual_seed(4)) * 3

    def append(stage: str, i: int, s: State) -> State:
        return insert(s, extra, s.h.shape[1]) if (stage, i) == ("before", 1) else s

    assert close(vectors(c, edit=append), vectors(c)) == c.tower.causal


def test_the_matrix_in_the_docs_is_this_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "towers.md"
    assert page.read_text(encoding="utf-8") == matrix(), "run: python -m tests.support.towers"
