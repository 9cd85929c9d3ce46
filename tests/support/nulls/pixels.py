"""Laws of confusion counts, in the table of ``tests.support.nulls.simulations``."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from diptych.metrics.segmentation import mean_iou


def pixels(rng: np.random.Generator, seeds: int, images: int, classes: int, spread: float = 0.0) -> NDArray[np.int64]:
    """Return (R, N, K, K) counts of 400 pixels an image, of two or three classes; some images are harder, and so are
    some seeds, by ``spread``.
    """
    share = rng.dirichlet(np.full(classes, 0.5), size=images)
    right = np.clip(0.8 + 0.15 * rng.normal(size=(1, images, 1)) + 0.05 * rng.normal(size=(seeds, images, 1)), 0.3, 1)
    if spread:
        right = np.clip(right + spread * rng.normal(size=(seeds, 1, 1)), 0.3, 1)
    return _counted(rng, share, right)


def sparse_pixels(rng: np.random.Generator, images: int, classes: int = 12) -> NDArray[np.int64]:
    """Return (1, N, K, K) counts of images that show each class with probability 1/4; some classes are harder."""
    shown = rng.random((images, classes)) < 0.25
    shown[np.arange(images), rng.integers(classes, size=images)] = True
    share = shown * rng.gamma(1.0, size=(images, classes))
    ease = 1.5 - np.linspace(-1, 1, classes) + 1.2 * rng.normal(size=(1, images, 1))
    return _counted(rng, share / share.sum(axis=1, keepdims=True), expit(ease))


def _counted(rng: np.random.Generator, share: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (R, N, K, K) counts of 400 pixels from (N, K) shares and (R, N, 1 or K) shares of right ones."""
    classes = share.shape[1]
    law = share[None, :, :, None] * (
        right[..., None] * np.eye(classes) + (1 - right[..., None]) * (1 - np.eye(classes)) / (classes - 1)
    )
    return rng.multinomial(400, law.reshape(*law.shape[:2], -1)).reshape(law.shape)


@cache
def true_miou(classes: int, spread: float = 0.0) -> float:
    """Return the mIoU of very many images, in the mean over very many seeds."""
    rng = np.random.default_rng(0)
    if spread:
        return float(np.mean([mean_iou(pixels(rng, 1, 1000, classes, spread).sum(1)) for _ in range(300)]))
    return float(mean_iou(pixels(rng, 1, 100_000, classes).sum(1))[0])


@cache
def true_sparse_miou() -> float:
    """Return the mIoU of very many images with few of the classes."""
    rng = np.random.default_rng(0)
    return float(mean_iou(sum(sparse_pixels(rng, 10_000)[0].sum(axis=0) for _ in range(6))))
