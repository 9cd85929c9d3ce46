"""Axis of retrieval: is the own caption the nearest, and the own picture?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.findings import Control, Finding
from diptych.core.run import Run
from diptych.metrics.interval import wilson
from diptych.metrics.retrieval import first_ranks


def both_directions(
    name: str, images: NDArray[Any], texts: NDArray[Any], owner: NDArray[np.int64], run: Run
) -> Iterator[Finding]:
    """Yield R@1 of texts by images, and of images by texts; captions of other images are the control.

    Args:
        name: of the model.
        images: (N, D) unit vectors.
        texts: (M, D) unit vectors.
        owner: (M,) image of each text; every image has a text.
        run: seed of the control.
    """
    own = owner[None] == np.arange(len(images))[:, None]
    other = own[np.random.default_rng(run.integer("captions")).permutation(len(images))]
    for about, scores, right, wrong in (
        ("text_of_image", images @ texts.T, own, other),
        ("image_of_text", texts @ images.T, own.T, other.T),
    ):
        ranks, n = first_ranks(scores, right), len(scores)
        top, chance = int((ranks <= 1).sum()), int((first_ranks(scores, wrong) <= 1).sum())
        yield Finding(
            name, "recall_at_1", top / n, wilson(top, n), about, count=n, range=(0.0, 1.0),
            units=(ranks <= 1).astype(np.float64),
            details={f"recall_at_{k}": float((ranks <= k).mean()) for k in (5, 10)},
            control=Control(
                "recall_of_permuted_captions", chance / n, wilson(chance, n),
                expected=float(right.sum(axis=1).mean() / right.shape[1]), above=True,
            ),
        )  # fmt: skip
