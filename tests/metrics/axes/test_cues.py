from __future__ import annotations

import numpy as np

from diptych.core import Run
from diptych.metrics.axes.cues import cues, shape_bias


def test_counts_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    predicted, shapes, textures = rng.integers(4, size=(3, 90))
    shape = texture = n = 0
    for p, s, t in zip(predicted, shapes, textures, strict=True):
        if s != t:
            shape, texture, n = shape + (p == s), texture + (p == t), n + 1
    assert cues(predicted, shapes, textures) == (shape, texture, n)


def test_a_model_that_names_neither_is_not_testable_and_one_that_names_shapes_is_biased() -> None:
    shapes, textures = np.arange(160) % 16, (np.arange(160) + 1) % 16
    lost = shape_bias("a", "cues", (shapes + 5) % 16, shapes, textures, 16, Run())
    assert not lost.testable
    assert "not above chance (12 %)" in lost.reason
    found = shape_bias("a", "cues", np.where(np.arange(160) % 4, shapes, textures), shapes, textures, 16, Run())
    assert (found.value, found.count) == (0.75, 160)
    assert found.interval is not None
    assert found.interval[0] > 0.5
    assert not shape_bias("a", "cues", shapes[:4], shapes[:4], textures[:4], 16, Run()).testable
