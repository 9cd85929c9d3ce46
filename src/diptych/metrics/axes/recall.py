"""Axis of retrieval: is the own caption the nearest, and the own picture?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Control, Finding, Run
from diptych.metrics.ratio import clustered_wilson, counted, share
from diptych.metrics.retrieval import first_ranks, median_rank
from diptych.metrics.spread import relative_alignment, uniformity

MOST = 2048
"""Pictures whose pairs are compared by ``geometry``."""


def both_directions(
    name: str, images: NDArray[Any], texts: NDArray[Any], owner: NDArray[np.int64], run: Run
) -> Iterator[Finding]:
    """Yield R@1 of texts by images, and of images by texts; captions of other images are the control.

    Details have R@5 and R@10. A finding "median_rank" follows each, without an interval.

    Intervals are over images: captions of one image are not independent.

    Args:
        name: of the model.
        images: (N, D) unit vectors.
        texts: (M, D) unit vectors.
        owner: (M,) image of each text; every image has a text.
        run: seed of the control.
    """
    n = len(images)
    matches = owner[None] == np.arange(n)[:, None]
    other = matches[np.random.default_rng(run.integer("captions")).permutation(n)]
    for about, scores, right, wrong, unit in (
        ("text_of_image", images @ texts.T, matches, other, np.arange(n)),
        ("image_of_text", texts @ images.T, matches.T, other.T, owner),
    ):
        ranks = first_ranks(scores, right)
        top, chance = (counted((r <= 1).astype(np.float64), unit, n) for r in (ranks, first_ranks(scores, wrong)))
        yield Finding(
            name, "recall_at_1", share(top[None]), clustered_wilson(top), about, count=n, range=(0.0, 1.0),
            units=top[:, 1] * n / len(scores),
            details={f"recall_at_{k}": float((ranks <= k).mean()) for k in (5, 10)},
            control=Control(
                "recall_of_permuted_captions", share(chance[None]), clustered_wilson(chance),
                expected=float(right.sum(axis=1).mean() / right.shape[1]), above=True,
            ),
        )  # fmt: skip
        yield Finding(
            name, "median_rank", median_rank(ranks), about=about, count=len(ranks), unit="rank", range=(1.0, np.inf)
        )


def geometry(name: str, images: NDArray[Any], texts: NDArray[Any], owner: NDArray[np.int64]) -> Iterator[Finding]:
    """Yield how evenly pictures and captions lie on the sphere, and how much nearer a picture is to its caption than
    to the nearest other one, by the first caption of each picture.

    A space can be aligned and not uniform, or uniform and not aligned; retrieval needs both. Neither has an interval:
    each vector is in all pairs.

    Args:
        name: of the model.
        images: (N, D) unit vectors, N >= 2.
        texts: (M, D) unit vectors.
        owner: (M,) image of each text, ascending; every image has a text.

    Source: Wang and Isola 2020; Oh et al. 2023.
    """
    n = len(images)
    first_texts = texts[np.searchsorted(owner, np.arange(n))]
    yield Finding(
        name,
        "uniformity",
        uniformity(images[:MOST], first_texts[:MOST]),
        count=min(n, MOST),
        unit="nats",
        range=(0.0, 8.0),
    )
    apart = relative_alignment(images[:MOST], first_texts[:MOST])
    yield Finding(
        name, "relative_alignment", float(apart.mean()), count=len(apart), unit="squared distance", range=(-4.0, 4.0)
    )
