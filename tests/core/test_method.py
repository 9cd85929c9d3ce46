from __future__ import annotations

import torch

from diptych.core import Scores


def test_candidates_rank_first_and_no_items_have_no_ranks() -> None:
    values = torch.tensor([[0.1, 0.9, 0.5]])
    scores = Scores(values, "cosine", torch.tensor([[True, False, True]]))
    assert scores.ranked().argsort(dim=1, descending=True).tolist() == [[2, 0, 1]]
    empty = Scores(values[:0], "cosine", torch.zeros(0, 3, dtype=torch.bool))
    assert empty.ranked().shape == (0, 3)
    assert empty.predicted().shape == (0,)
