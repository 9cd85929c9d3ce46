from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.nn.candidates import candidates, sure_images


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


def test_sure_images_equal_a_loop() -> None:
    p = torch.rand(60, 4, generator=torch.Generator().manual_seed(0)).pow(2)
    p[:, 3] *= 0.1  # class 3 is nobody's first guess
    p = p / p.sum(dim=1, keepdim=True)
    rows, y = sure_images(p, 5)
    expected: dict[int, int] = {}
    for c in range(4):
        own = [(-float(p[i, c]), i) for i in range(60) if int(p[i].argmax()) == c]
        expected |= {i: c for _, i in sorted(own)[:5]}
    assert 3 not in expected.values()
    second = [
        (-float(p[i, 3]), i) for i in range(60) if int(p[i].argsort(descending=True)[1]) == 3 and i not in expected
    ]
    third = [
        (-float(p[i, 3]), i) for i in range(60) if int(p[i].argsort(descending=True)[2]) == 3 and i not in expected
    ]
    expected |= {i: 3 for _, i in sorted(second or third)[:5]}
    assert dict(zip(rows.tolist(), y.tolist(), strict=True)) == dict(sorted(expected.items()))


def test_sure_images_are_right_more_often_than_all() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(5, (500,), generator=g)
    p = (torch.randn(500, 5, generator=g) + 1.5 * torch.eye(5)[y]).softmax(dim=1)
    rows, labels = sure_images(p, 20)
    sure, every = (labels == y[rows]).float().mean(), (p.argmax(dim=1) == y).float().mean()
    assert sure > every + 0.1
