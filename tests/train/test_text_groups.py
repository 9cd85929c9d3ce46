"""Texts that are read in groups of similar length give the loss and the gradient of the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from diptych.core import Clock, Evidence, Kit, Row, UsageError
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.train.memory import Saving
from diptych.train.pair import PairTrainee
from diptych.train.recipe import train_space
from diptych.train.text_groups import cut
from tests.methods.pretrain.test_quality_captions import SHORT
from tests.train.test_pair import RUN, small, squares

TEXTS = ["a", "a red square", "b", "one two three four five six", "a b", "one two three four five"]


def gradient(budget: int | None) -> tuple[float, dict[str, torch.Tensor], list[tuple[int, int]]]:
    """Return the loss, the gradients, and the sizes of what the text tower read, all in float64: in float32 sums of
    another order are apart by rounding, which differs by processor.
    """
    trainee = PairTrainee(small(), CLIPLoss(), RUN, text_tokens=budget)
    trainee.module().double()
    rows = [Row(squares(6).items[i], i, str(i), {"captions": (text,)}) for i, text in enumerate(TEXTS)]
    batch = dict(trainee.collate([trainee.views(row, RUN.generator("x")) for row in rows]))
    batch["image"] = batch["image"].double()
    sizes: list[tuple[int, int]] = []
    inner = type(trainee.space.encoders["text"]).encode

    def encode(self: Any, x: Any) -> Any:
        sizes.append(tuple(x.shape))
        return inner(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainee.space.encoders["text"]), "encode", encode)
        (loss,) = trainee.losses(batch, "main", Clock(0, 1, 0, RUN.generator("x"))).values()
    loss.backward()
    grads = {n: p.grad for n, p in trainee.module().named_parameters() if p.grad is not None}
    return loss.item(), grads, sizes


@pytest.mark.parametrize("budget", [1, 12, 10_000])
def test_groups_change_neither_loss_nor_gradient_and_keep_the_budget(budget: int) -> None:
    loss, grads, whole = gradient(None)
    grouped, same, sizes = gradient(budget)
    assert grouped == pytest.approx(loss, rel=1e-12)
    for name, grad in grads.items():
        torch.testing.assert_close(same[name], grad, rtol=1e-9, atol=1e-12)
    assert sum(rows for rows, _ in sizes) == 6
    assert all(rows * length <= budget or rows == 1 for rows, length in sizes)
    if budget == 12:
        assert len(sizes) > 1
        assert sum(rows * length for rows, length in sizes) < whole[0][0] * whole[0][1]


def test_no_row_is_in_two_groups_and_ties_stay_together() -> None:
    assert cut([], 5) == []
    assert cut([3, 3, 3, 3], 6) == [(0, 2), (2, 4)]


def test_trainings_that_read_tokens_refuse_it() -> None:
    with pytest.raises(UsageError, match="coca-loss reads texts in its own way"):
        train_space(CoCaLoss(), Kit({"main": small()}), Evidence(train=squares(10)), SHORT, RUN, text_tokens=100)
    with pytest.raises(UsageError, match="text_tokens must be at least 1, got 0"):
        Saving(text_tokens=0)
