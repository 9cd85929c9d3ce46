from __future__ import annotations

import torch

from diptych.core import Subset, Texts
from diptych.data.joined import Joined
from diptych.features.vectors import Vectors, sources

WORDS = Texts(("a", "b", "c"))


def test_vectors_have_the_keys_of_their_items_and_lead_back_to_them() -> None:
    vectors = Vectors(torch.arange(6.0).reshape(3, 2), WORDS)
    assert vectors[1].tolist() == [2.0, 3.0]
    assert vectors.key(1) == WORDS.key(1)
    assert sources(vectors) is WORDS
    assert sources(WORDS) is WORDS
    joined = sources(Joined((Subset(vectors, (2, 0)), WORDS)))
    assert [joined[i] for i in range(len(joined))] == ["c", "a", "a", "b", "c"]
