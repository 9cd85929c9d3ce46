from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.nn.candidates import candidates


@pytest.mark.parametrize(("n", "classes", "k"), [(0, 3, 2), (1, 1, 1), (7, 5, 1), (7, 5, 3), (7, 5, 5)])
def test_equals_a_numpy_loop(n: int, classes: int, k: int) -> None:
    cosines = torch.randn(n, classes, generator=torch.Generator().manual_seed(n))
    mask, sets = candidates(cosines, k)
    assert mask.shape == (n, classes)
    assert sorted(i for rows in sets.values() for i in rows) == list(range(n))
    for chosen, rows in sets.items():
        for i in rows:
            assert (
                sorted(np.argsort(-cosines[i].numpy())[:k].tolist()) == list(chosen) == mask[i].nonzero()[:, 0].tolist()
            )


def test_ties_go_to_the_first_class() -> None:
    mask, sets = candidates(torch.tensor([[0.5, 1.0, 0.5, 0.5]]), 2)
    assert mask.tolist() == [[True, True, False, False]]
    assert sets == {(0, 1): [0]}
