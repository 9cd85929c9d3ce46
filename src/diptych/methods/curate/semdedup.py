"""SemDeDup keeps one picture of each group of pictures whose embeddings are nearly the same.

    cells: k-means of the unit embeddings z_i
    s_i  = max over the pairs j before i in the cell of <z_i, z_j>;   -1 for the first
    keep pair i where s_i < 1 - eps

before: in the order of the cosine with the mean of the cell, from the least ("hard"), from the greatest ("easy"), or
    at random

Two extensions of ours: a pair is also compared with the mirror images of those before it, and the difference hashes of
two pictures may decide instead of their embeddings, or with them (features.pair_vectors).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Backbone, Curator, Kit, Plan, Run, Stream, UsageError, Verdicts
from diptych.core.blocks import blocks
from diptych.core.ranges import at_least, between, check, one_of
from diptych.features.pair_vectors import Keep, PairVectors, Rule, identities, pair_vectors, read_vectors
from diptych.features.pool_vectors import with_pictures

TOLERANCE = 1e-6
"""What rounding may take from a cosine of 1: with eps = 0 equal vectors are still duplicates."""


@dataclass(frozen=True)
class SemDeDup(Curator):
    """Drop pictures that are nearly the same as another one of the pool.

    Use it before training, where many copies of a picture cost time and teach nothing. Captions do not matter: of one
    picture with five captions one pair stays.

    Args:
        eps: a pair is dropped from this far below a cosine of 1 on, in [0, 2); 0.05 (ours). It depends on the backbone.
        keep: "hard" (default, the paper's) keeps the picture of a group that is least like the mean of its cell,
            "easy" the one that is most like it, "random" any.
        cells: cells of k-means; None (default): one for each 1,000 pairs, at most 2,500. Pairs
            of different cells are never compared, so that a warning says where there are fewer than 2 pairs per cell.
        rule: two pictures of a cell are duplicates by their "vector" (default, the paper's), by their "hash", by
            "both", or by "either".
        bits: most bits in which the 64-bit difference hashes of duplicates differ, in [0, 64]; 10 (ours).
        mirror: compare with mirror images too, which are encoded as well: a plan takes twice the time and space.

    Raises:
        UsageError: a number is out of its range, or ``keep`` is unknown.

    Source: Abbas et al. 2023.

    Example:
        Two copies and another picture; the second copy has a cosine of 1 with the one before it:

        >>> import numpy as np
        >>> from diptych.features.pair_vectors import PairVectors, Vectors
        >>> z = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float16)[:, None]
        >>> vectors = Vectors(np.arange(3, dtype=np.uint64), z, np.zeros((3, 2), np.uint64))
        >>> plan = PairVectors("backbone", False, 2, vectors.rows())
        >>> plan.nearest(1, "easy", "vector", 10, 0).whole()["score"].round(3).tolist()
        [-1.0, 1.0, 0.0]
    """

    eps: float = 0.05
    keep: Keep = "hard"
    cells: int | None = None
    rule: Rule = "vector"
    bits: int = 10
    mirror: bool = False

    def __post_init__(self) -> None:
        check(self, between(0, 2, "[)"), "eps")
        check(self, one_of("vector", "hash", "both", "either"), "rule")
        check(self, one_of("hard", "easy", "random"), "keep")
        check(self, between(0, 64), "bits")
        if self.cells is not None:
            check(self, at_least(1), "cells")

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> PairVectors:
        """Embed and hash every picture.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the stream is of texts alone.
        """
        backbone = kit.need(Backbone)
        pool = with_pictures(stream, "semdedup")
        return pair_vectors(backbone.image, backbone.fingerprint, pool, self.mirror, run)

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield a verdict for each pair, with s_i as its score. No picture is looked at again.

        A pair that the plan has not seen, or whose picture was broken then, is dropped with that as its reason: a pair
        is known by its name and its position in the source.

        Raises:
            UsageError: the plan is of another system, or has no mirror images and is asked for them.
        """
        if not isinstance(plan, PairVectors):
            raise UsageError("The plan is from another system: plan and apply with semdedup.")
        if plan.mirrored != self.mirror:
            before, now = ("with", "without") if plan.mirrored else ("without", "with")
            raise UsageError(f"The plan was made {before} mirror images, and this is {now}: plan and apply alike.")
        scores = plan.nearest(self.cells, self.keep, self.rule, self.bits, run.integer("keep"))
        if self.cells is not None and self.cells > max(1, len(scores) // 2):
            warnings.warn(
                f"{self.cells} cells of {len(scores)} pairs hold fewer than 2 on average, and pairs of one cell alone "
                f"are compared: give fewer cells, or leave them out.",
                stacklevel=2,
            )
        for block in blocks(stream):
            nearest = scores.values("score", identities(block), math.nan).astype(np.float64)
            unseen = np.flatnonzero(np.isnan(nearest)).tolist()
            reasons = dict.fromkeys(unseen, "the plan has no vector of it")
            yield Verdicts(block.positions, nearest < 1 - self.eps - TOLERANCE, nearest, reasons)

    def read_plan(self, path: Path) -> PairVectors:
        """Read what ``PairVectors.write`` wrote; see ``Curator.read_plan``."""
        return read_vectors(path, "semdedup")
