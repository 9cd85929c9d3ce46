"""Probabilities are torch's, also where a float32 exponential would overflow; factors sharpen and keep the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.tasks.classified import Prediction, probabilities, same_symbols

LOGITS = np.array([[1.0, 3.0, -np.inf], [300.0, -300.0, 299.0]], np.float32)


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_probabilities_are_those_of_torch(score: str) -> None:
    z = torch.from_numpy(LOGITS)
    oracle = z.sigmoid() if score == "sigmoid" else z.softmax(dim=1)
    np.testing.assert_allclose(probabilities(LOGITS, score), oracle.numpy(), rtol=1e-6)


def test_a_factor_above_one_makes_surer_and_changes_no_order() -> None:
    z = np.array([[0.1, 0.3, 0.2], [0.1, 0.3, 0.2]], np.float32)
    p = probabilities(z, sharpness=np.array([1.0, 10.0], np.float32))
    np.testing.assert_array_equal(p[0], probabilities(z)[0])
    assert p[1].max() > p[0].max()
    assert (p.argsort(axis=1) == z.argsort(axis=1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_a_key_as_of_a_dictionary_leads_to_the_fields() -> None:
    found = Prediction("a.jpg", (("cat", 0.75),))
    assert (found.label, found.probability) == ("cat", 0.75)
    with pytest.raises(TypeError, match="not indexed by 'label': use its label, its probability or its top"):
        _ = found["label"]


def test_symbols_with_equal_probabilities_are_named_and_words_or_other_symbols_are_not() -> None:
    table = np.array([[0.3, 0.3, 0.3, 0.1], [0.2, 0.2, 0.2, 0.4]])
    assert same_symbols(["\N{RED APPLE}", "\N{AUTOMOBILE}", "car", "?"], table) == ["\N{RED APPLE}", "\N{AUTOMOBILE}"]
    assert same_symbols(["a", "b", "c", "?"], table) == []
    assert same_symbols(["?", "!"], np.zeros((2, 2))) == []
