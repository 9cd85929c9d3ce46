from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import Run
from diptych.metrics.axes.recall import both_directions, geometry
from diptych.metrics.closed_intervals import wilson
from diptych.metrics.spread import relative_alignment, uniformity


def test_recall_against_torchmetrics_and_permuted_captions_are_at_chance() -> None:
    from torchmetrics.retrieval import RetrievalHitRate

    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 8))
    owner = np.repeat(np.arange(30), 2)
    texts = images[owner] + rng.normal(size=(60, 8))
    images, texts = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts))
    text, by_text, image, by_image = both_directions("a", images, texts, owner, Run())
    ranks = (np.argsort(np.argsort(-(images @ texts.T), axis=1), axis=1) + 1).reshape(30, 30, 2)
    assert by_text.value == np.median([ranks[i, i].min() for i in range(30)])
    assert (by_text.about, by_image.about, by_image.count) == ("text_of_image", "image_of_text", 60)
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
            if f.measure == "recall_at_1"
        ][1]
        for k in (1, 5)
    )
    assert five == pytest.approx(once, abs=0.01)


def test_geometry_of_pairs_that_agree_and_of_pairs_that_are_exchanged() -> None:
    """Exchanged captions leave the uniformity as it is, and put each picture further from its own."""
    rng = np.random.default_rng(2)
    images = rng.normal(size=(50, 8))
    texts = np.repeat(images, 2, axis=0) + 0.3 * rng.normal(size=(100, 8))
    images, texts = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts))
    owner = np.repeat(np.arange(50), 2)
    uniform, aligned = geometry("a", images, texts, owner)
    assert uniform.value == pytest.approx(uniformity(images, texts[::2]))
    assert aligned.value == pytest.approx(float(relative_alignment(images, texts[::2]).mean()))
    assert aligned.value is not None
    same, turned = geometry("a", images, np.roll(texts, 2, axis=0), owner)
    assert same.value == pytest.approx(uniform.value)
    assert turned.value is not None
    assert turned.value < 0 < aligned.value
    assert uniform.interval is aligned.interval is None
