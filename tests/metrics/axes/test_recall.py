from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import Run
from diptych.metrics.axes.recall import both_directions
from diptych.metrics.closed_intervals import wilson


def test_recall_against_torchmetrics_and_permuted_captions_are_at_chance() -> None:
    from torchmetrics.retrieval import RetrievalHitRate

    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 8))
    owner = np.repeat(np.arange(30), 2)
    texts = images[owner] + rng.normal(size=(60, 8))
    images, texts = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts))
    text, image = both_directions("a", images, texts, owner, Run())
    scores = torch.from_numpy(images @ texts.T)
    right = torch.from_numpy(owner[None] == np.arange(30)[:, None])
    for found, s, r in ((text, scores, right), (image, scores.T, right.T)):
        rows = torch.arange(len(s))[:, None].expand_as(s)
        for k, value in ((1, found.value), (5, found.details["recall_at_5"]), (10, found.details["recall_at_10"])):
            oracle = RetrievalHitRate(top_k=k)(s.flatten(), r.flatten(), indexes=rows.flatten())
            assert value == pytest.approx(float(oracle))
        assert found.control is not None
        assert found.control.held
    assert text.interval == pytest.approx(wilson(round((text.value or 0.0) * 30), 30), abs=0.01)
    assert image.units is not None
    assert (image.units.mean(), len(image.units)) == (pytest.approx(image.value), 30)


def test_equal_captions_of_an_image_are_no_further_evidence() -> None:
    rng = np.random.default_rng(1)
    images, noise = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    once, five = (
        [
            f.interval
            for f in both_directions("a", images, np.repeat(images + noise, k, 0), np.repeat(np.arange(40), k), Run())
        ][1]
        for k in (1, 5)
    )
    assert five == pytest.approx(once, abs=0.01)
