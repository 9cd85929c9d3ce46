from __future__ import annotations

import math

import pytest
import torch
from open_clip.loss import CoCaLoss as Theirs
from torch import nn
from torch.nn.functional import normalize

from diptych.methods.pretrain.coca_loss import CoCaLoss
from tests.methods.pretrain.oracle import CLOCK, WORDS, assert_same, embedded, leaves


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("pad", [0, 2])
def test_equals_open_clip_in_value_and_gradient(chunk, pad) -> None:
    def theirs(t):
        x, y = normalize(t["image"], dim=-1), normalize(t["text"], dim=-1)
        return sum(Theirs(2.0, 1.0, pad_id=pad)(x, y, t["states"], WORDS, t["log_scale"].exp()))

    assert_same(lambda t: sum(CoCaLoss(pad=pad, chunk=chunk).terms(embedded(t), nn.Identity(), CLOCK).values()), theirs)


def test_uniform_words_cost_ln_v() -> None:
    t = leaves() | {"states": torch.zeros(5, 4, 7).double()}
    terms = CoCaLoss().terms(embedded(t), nn.Identity(), CLOCK)
    assert terms["caption"].item() == pytest.approx(2 * math.log(7))


def test_the_output_layer_may_be_a_head() -> None:
    output = nn.Linear(7, 9, bias=False).double()
    t = leaves()
    whole = CoCaLoss().terms(embedded(t | {"states": output(t["states"])}), nn.Identity(), CLOCK)
    blocks = CoCaLoss(chunk=4).terms(embedded(t), output, CLOCK)
    torch.testing.assert_close(whole["caption"], blocks["caption"])


def test_a_batch_of_padding_is_no_division_by_zero() -> None:
    e = embedded(leaves())
    empty = type(e)(e.vectors, e.scale, e.gather, tokens=e.tokens, targets={"caption": torch.zeros_like(WORDS)})
    assert CoCaLoss().terms(empty, nn.Identity(), CLOCK)["caption"].item() == 0.0
