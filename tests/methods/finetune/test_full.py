from __future__ import annotations

import pytest
import torch

from diptych.core import DataError
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.vr_lwf import VRLwF
from diptych.methods.finetune.wise_ft import WiSEFT
from tests.support.tuning_work import SHORT, labelled, run, state
from tests.train.test_pair import RUN, accuracy, small, squares


def test_full_learns_labels_and_captions() -> None:
    assert accuracy(run(Full()).space) > 0.9
    assert accuracy(run(Full(), classes=None, table=squares()).space) > 0.9


def test_the_scale_is_left_alone() -> None:
    made = run(Full(), fit=SHORT)
    assert torch.equal(state(made.space)["logit_scale"], state(small())["logit_scale"])


def test_a_row_without_label_is_named() -> None:
    with pytest.raises(DataError, match=r"Row \d+ has no label among the 5 classes"):
        run(Full(), table=squares(), fit=SHORT)


@pytest.mark.parametrize("method", [Full(), WiSEFT(), VRLwF(size=20)])
def test_heads_alone_give_a_backbone_whose_towers_stayed(method) -> None:
    space = small()
    own, heads = Headed(space), head_names(space)
    made = run(method, own, table=on_trunks(own, labelled(), RUN), learns=heads.__contains__, fit=SHORT)
    assert isinstance(made.space, Headed)
    start, end = state(space), state(made.space.whole)
    changed = {n for n in start if not torch.equal(start[n], end[n])}
    assert changed
    assert changed <= heads
