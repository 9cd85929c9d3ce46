"""Full fine-tuning, WiSE-FT, LoRA and VR-LwF on coloured squares, from one random CLIP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.train.test_pair import COLOURS, FIT, RUN, accuracy, small, squares
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Evidence, Table
from diptych.core.errors import DataError, MissingEvidence, MissingHook, UsageError
from diptych.core.kit import Kit
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.lora import LoRA, targets
from diptych.methods.finetune.vr_lwf import VRLwF, distilled, random_sentences
from diptych.methods.finetune.wise_ft import WiseFT, interpolated
from diptych.train.recipe import train_space

CLASSES = ClassNames(tuple(COLOURS), ("a {} square",))
SHORT = replace(FIT, steps=8)


def labelled(rows: int = 40) -> Table:
    table = squares(rows)
    return Table(table.items, {"label": Column("label", np.arange(rows) % 5)})


def run(method, space=None, *, fit=FIT, classes=CLASSES, table=None, kit=None, learns=lambda n: True):
    evidence = Evidence(train=labelled() if table is None else table)
    return train_space(method, Kit({"main": space or small(), **(kit or {})}), evidence, fit, RUN, classes=classes, learns=learns)


def state(space: Backbone) -> dict[str, torch.Tensor]:
    return space.module().state_dict()


def test_full_learns_labels_and_captions() -> None:
    assert accuracy(run(Full()).space) > 0.9
    assert accuracy(run(Full(), classes=None, table=squares()).space) > 0.9


def test_the_scale_is_left_alone() -> None:
    made = run(Full(), fit=SHORT)
    assert torch.equal(state(made.space)["logit_scale"], state(small())["logit_scale"])


def test_a_row_without_label_is_named() -> None:
    with pytest.raises(DataError, match=r"Row \d+ has no label among the 5 classes"):
        run(Full(), table=squares(), fit=SHORT)


def test_wise_ft_lies_between() -> None:
    ends = {a: state(run(WiseFT(alpha=a), fit=SHORT).space) for a in (0.0, 0.5, 1.0)}
    plain, start = state(run(Full(), fit=SHORT).space), state(small())
    for n, t in start.items():
        assert torch.equal(ends[0.0][n], t)
        assert torch.equal(ends[1.0][n], plain[n])
        torch.testing.assert_close(ends[0.5][n], (t + plain[n]) / 2)
    assert interpolated({"n": torch.tensor(3)}, {"n": torch.tensor(5)}, 0.5) == {"n": torch.tensor(5)}
    with pytest.raises(UsageError, match="not at 2"):
        WiseFT(alpha=2)


def test_lora_changes_weights_by_a_low_rank_and_gives_the_model_back() -> None:
    pytest.importorskip("peft")
    made = run(LoRA(rank=2), fit=SHORT)
    start, end = state(small()), state(made.space)
    assert list(start) == list(end)
    changed = {n for n in start if not torch.equal(start[n], end[n])}
    assert changed
    for n in changed:
        assert torch.linalg.matrix_rank((end[n] - start[n]).double(), rtol=1e-3) <= 2, n
    with pytest.raises(MissingHook, match="no linear layer"):
        run(LoRA(), learns=lambda n: n == "text_projection", fit=SHORT)


def test_lora_learns() -> None:
    pytest.importorskip("peft")
    assert accuracy(run(LoRA()).space) > 0.9
    names = targets(small().module(), lambda n: "visual" in n)
    assert any(n.endswith(".attn") for n in names)
    assert not any("out_proj" in n for n in names)


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
    moved = {m.card.slug: (similar(run(m).space) - before).abs().mean() for m in (Full(smoothing=0.2), replace(method, weight=20.0))}
    assert moved["vr-lwf"] < 0.8 * moved["full"]


def test_random_sentences_hold_no_special_token() -> None:
    space = small()
    ids = random_sentences(space, 300, 10, torch.Generator().manual_seed(0))
    assert isinstance(ids, torch.Tensor)
    real = space.text.inputs(["a"])
    assert set(ids[:, 0].tolist()) == {int(real[0, 0])}  # type: ignore[index]
    assert set(ids[:, 11].tolist()) == {49407}
    assert not (ids[:, 1:11] >= 49406).any()
    assert not (ids[:, 1:11] == space.spec.pad).any()


def test_vocabulary_of_classes_needs_names() -> None:
    with pytest.raises(MissingEvidence, match="needs class names"):
        run(VRLwF(vocabulary="classes"), classes=None, table=squares(), fit=SHORT)
    with pytest.raises(UsageError, match="at least one sentence"):
        VRLwF(size=0)


@pytest.mark.parametrize("method", [Full(), WiseFT(), VRLwF(size=20)])
def test_heads_alone_give_a_backbone_whose_towers_stayed(method) -> None:
    space = small()
    own, heads = Headed(space), head_names(space)
    made = run(method, own, table=on_trunks(own, labelled(), RUN), learns=heads.__contains__, fit=SHORT)
    assert isinstance(made.space, Headed)
    start, end = state(space), state(made.space.whole)
    changed = {n for n in start if not torch.equal(start[n], end[n])}
    assert changed
    assert changed <= heads
