"""The text head learns the names that it is given, and answers as before for other nouns."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from diptych.core import Run
from diptych.data.words.wordnet import Synset
from recipes.lite_heads import Nouns
from recipes.lite_names import go_on, some


def words() -> Nouns:
    senses = tuple(Synset(i, (f"s{i}",), f"thing {i}", (), (), (), instance=False) for i in range(4))
    weights = (((0, 1.0),), ((1, 0.25), (3, 0.75)), ((2, 1.0),))
    counts, classes = np.array([1, 2, 3], np.float32), np.arange(16, dtype=np.float32).reshape(4, 4)
    return Nouns(("ant", "bee", "cat"), senses, weights, counts, classes)


def test_some_nouns_keep_their_senses_weights_and_classes() -> None:
    few = some(words(), [1, 2])
    assert few.lemmas == ("bee", "cat")
    assert [s.offset for s in few.senses] == [1, 2, 3]
    assert few.weights == (((0, 0.25), (2, 0.75)), ((1, 1.0),))
    assert few.counts.tolist() == [2, 3]
    assert few.classes.tolist() == words().classes[[1, 2, 3]].tolist()


def test_names_are_learnt_and_other_nouns_answered_as_before() -> None:
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    mlp = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.GELU(), torch.nn.Linear(64, 5))
    names, others = (normalize(torch.randn(2, n, 8, generator=g), dim=-1) for n in (5, 40))
    q = torch.eye(5)

    def right() -> float:
        with torch.no_grad():
            return float((mlp(names).softmax(-1) * q).sum(-1).mean())

    with torch.no_grad():
        before, unlearnt = mlp(others).softmax(-1), right()
    go_on(mlp, names, q, others, Run())
    with torch.no_grad():
        moved = float((mlp(others).softmax(-1) - before).abs().sum(-1).mean())
    assert right() > 1.5 * unlearnt
    assert moved < 2 * (right() - unlearnt), "the sum of changes of another noun is less than that of a name"
    assert not any(p.requires_grad for p in mlp.parameters())
