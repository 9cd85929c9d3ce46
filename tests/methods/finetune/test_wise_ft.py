from __future__ import annotations

import torch

from diptych.methods.finetune.full import Full
from diptych.methods.finetune.wise_ft import WiSEFT, interpolated
from tests.support.refused import refused
from tests.support.tuning_work import SHORT, run, state
from tests.train.test_pair import small


def test_wise_ft_lies_between() -> None:
    ends = {a: state(run(WiSEFT(alpha=a), fit=SHORT).space) for a in (0.0, 0.5, 1.0)}
    plain, start = state(run(Full(), fit=SHORT).space), state(small())
    for n, t in start.items():
        assert torch.equal(ends[0.0][n], t)
        assert torch.equal(ends[1.0][n], plain[n])
        torch.testing.assert_close(ends[0.5][n], (t + plain[n]) / 2)
    assert interpolated({"n": torch.tensor(3)}, {"n": torch.tensor(5)}, 0.5) == {"n": torch.tensor(5)}
    refused(WiSEFT, {"alpha": 2}, {"smoothing": 1.0})
