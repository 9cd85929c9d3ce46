from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import ClassNames, Column, Table, Texts
from diptych.evaluation.boards.tune_parts import KS, RANK, TASK, chance, recalls

PHOTOS, OWNER = 12, np.repeat(np.arange(12), 2)


def captioned() -> Table[str]:
    return Table(
        Texts(tuple(map(str, range(PHOTOS)))), {"captions": Column("captions", [("a", "b") for _ in range(PHOTOS)])}
    )


def test_recalls_equal_a_loop_over_both_directions() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (normalize(torch.randn(n, 4, generator=g), dim=-1) for n in (PHOTOS, 2 * PHOTOS))
    scores = (x @ y.T).double().numpy()
    found = recalls(x, y, OWNER)
    for k in KS:
        for i in range(PHOTOS):
            to_text = bool(np.isin(np.argsort(-scores[i])[:k], np.flatnonzero(i == OWNER)).any())
            to_image = np.mean([i in np.argsort(-scores[:, j])[:k] for j in np.flatnonzero(i == OWNER)])
            assert found[f"recall_at_{k}"][i] == pytest.approx((to_text + to_image) / 2)


def test_chance_is_the_mean_of_random_ranks() -> None:
    g = torch.Generator().manual_seed(1)
    drawn = [
        recalls(torch.randn(PHOTOS, 8, generator=g), torch.randn(2 * PHOTOS, 8, generator=g), OWNER) for _ in range(400)
    ]
    expected = chance(captioned(), None)
    assert expected[RANK].tolist() == [0.0]
    for k in KS:
        name = f"recall_at_{k}"
        assert expected[name].mean() == pytest.approx(np.mean([own[name] for own in drawn]), abs=0.02)
    labelled = Table(Texts(("a", "b", "c")), {"label": Column("label", np.arange(3))})
    assert chance(labelled, ClassNames(("x", "y", "z", "w")))[TASK].tolist() == [0.25] * 3
