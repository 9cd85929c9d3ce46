"""Longer position tables of text towers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.backbones.changes.apply import changed
from diptych.backbones.changes.text_positions import stretched
from diptych.backbones.sources.load import load
from diptych.core import UsageError
from tests.backbones.changes.test_apply import LONG, texts


def test_a_stretched_table_is_the_interpolation_of_the_old() -> None:
    table = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    new = stretched(table, kept=4, ratio=3)
    places = 4 + np.arange(8 * 3) / 3
    for column in range(5):
        old = np.append(table[:, column].numpy(), 2 * table[-1, column] - table[-2, column])
        np.testing.assert_allclose(new[4:, column].numpy(), np.interp(places, np.arange(13), old), atol=1e-5)
    assert torch.equal(new[:4], table[:4])
    assert torch.equal(stretched(table, 4, 1), table)
    with pytest.raises(UsageError, match="got 11 and 2"):
        stretched(table, 11, 2)


def test_longer_positions_keep_short_texts_and_read_long_ones() -> None:
    tiny = load("tiny")
    context = tiny.spec.context
    space = changed(tiny, "text-positions", kept=context // 2, ratio=4)
    assert torch.equal(texts(tiny, "red circle"), texts(space, "red circle"))
    assert space.spec.context == context // 2 + (context - context // 2) * 4
    assert space.text.fingerprint != tiny.text.fingerprint
    with pytest.raises(UsageError):
        tiny.text.inputs([LONG])
    assert texts(space, LONG).isfinite().all()
    tower = space.tower("text")
    cut = tower.project(tower.pooled(tower.blocks(tower.start(space.text.inputs([LONG])))))
    torch.testing.assert_close(cut, texts(space, LONG), atol=1e-5, rtol=1e-5)
