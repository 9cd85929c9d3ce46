"""BIOMEDICA labels the pictures of a large pool by clusters, and keeps or thins pairs by label.

    z_i   = the first P principal components of the unit embedding of picture i
    c_i   = arg min_k |z_i - m_k|,  m_k: the K means of k-means
    L_k   = the labels that more than half of the votes on a few pictures of cluster k name
    p_i   = min(1, most / min over the labels l of i of N_l)

L_{c_i}: labels of picture i
N_l: number of pairs of the pool with label l, estimated from the sample
most: pairs that a label may keep; infinity keeps all
p_i: probability of keeping a pair that has a caption, a large enough picture and wanted labels

The means are those of a sample of the pool: the S items whose names have the least hashes. The samples of two parts
of a pool give the sample of both, so the plan of a pool does not depend on how it was divided.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Backbone, Curator, DataError, Kit, Plan, Run, Stream, UsageError, Verdicts
from diptych.core.ranges import at_least, check
from diptych.data.draws import uniform
from diptych.data.words.taxonomy import majority, read_taxonomy, read_votes
from diptych.features.picture_sample import PictureSample, embed_sized, read_sample, sampled
from diptych.features.pool_vectors import PoolVectors, with_pictures


def keep_probability(counts: Sequence[float], most: float) -> float:
    """Return p_i = min(1, most / min_l N_l) from the N_l of the labels of a pair."""
    least = min(counts)
    return 1.0 if math.isinf(most) or least <= most else most / least


@dataclass(frozen=True)
class BIOMEDICA(Curator):
    """Label pictures by clusters, then keep, drop or thin pairs by label.

    Use it on figures of articles, or on any pool that mixes kinds of pictures: plan, look at a few pictures of each
    cluster, write their labels into a table, and apply. Without votes it checks captions and sizes alone.

    Args:
        votes: table of votes with columns filepath and labels, such as ``diptych curate looks`` begins; "": none.
        taxonomy: JSON file with wide labels and the narrower ones of each; "": all labels are allowed.
        only: labels of which a kept pair has at least one; () keeps every label.
        drop: labels that a kept pair has none of.
        most: pairs that a label may keep, > 0; infinity (default) keeps all.
        clusters: K, >= 1; 2,000 (the paper's, more than there are concepts).
        components: P, >= 1; 25 (the paper's).
        sample: S, >= 1; 100,000 (ours).
        least_side: both sides of a picture are larger, in pixels, >= 0; 20 (the authors' code).

    Raises:
        UsageError: a number is out of its range.

    Source: Lozano et al. 2025, section 3; the authors' code for captions and sizes.

    Example:
        Of 1,000 plots and 40 scans, 100 a label may stay:

        >>> keep_probability([1000], 100), keep_probability([40], 100), keep_probability([1000, 40], 100)
        (0.1, 1.0, 1.0)
    """

    votes: str = ""
    taxonomy: str = ""
    only: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    most: float = math.inf
    clusters: int = 2000
    components: int = 25
    sample: int = 100_000
    least_side: int = 20

    def __post_init__(self) -> None:
        check(self, at_least(1), "clusters", "components", "sample")
        check(self, at_least(0), "least_side")
        if not self.most > 0:
            raise UsageError(f"most must be above 0, not {self.most!r}.")

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> PictureSample:
        """Sample the pairs with a caption; an item is embedded only where it may be in the sample.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the stream is of texts alone.
        """
        backbone = kit.need(Backbone)
        settings = (backbone.fingerprint, self.clusters, self.components, self.sample)
        return sampled(backbone.image, settings, with_pictures(stream, "biomedica"), self.least_side, run)

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield a verdict for each pair, with p_i as its score, 0 where a filter drops it, and its labels.

        A broken picture is dropped, and its verdict holds the reason.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the plan is of another system or backbone, or there is no such table.
            DataError: a vote is on a picture that the plan has not sampled, or its label is not in the taxonomy.
        """
        backbone = kit.need(Backbone)
        if not isinstance(plan, PictureSample) or plan.backbone != backbone.fingerprint:
            raise UsageError("The plan is from another system or backbone: plan and apply with the same one.")
        labels, seed = self.labels(plan), run.integer("keep")
        counts, pool, chances = self._counts(plan, labels), PoolVectors(run), dict[int, float]()
        for block in with_pictures(stream, "biomedica"):
            looked = embed_sized(backbone.image, block, self.least_side, run, vectors=labels is not None, pool=pool)
            clusters = plan.found.nearest(looked.vectors) if labels else np.zeros(len(looked.kept), dtype=np.int64)
            for k in {*clusters.tolist()}.difference(chances):
                chances[k] = self._chance(labels[k] if labels else (), counts)
            scores = np.zeros(len(block))
            scores[looked.kept] = [chances[k] for k in clusters.tolist()]
            scores[[not text.strip() for text in block.texts()]] = 0
            keep, positions = scores > 0, block.positions
            for i in np.flatnonzero(keep & (scores < 1)).tolist():
                keep[i] = uniform(seed, int(positions[i])) < scores[i]
            scores[list(looked.broken)] = math.nan
            keep[list(looked.broken)] = False
            labels_of = [()] * len(block) if labels else list[tuple[str, ...]]()
            if labels:
                for i, k in zip(looked.kept.tolist(), clusters.tolist(), strict=True):
                    labels_of[i] = labels[k]
            yield Verdicts(positions, keep, scores, looked.broken, labels_of)

    def labels(self, plan: PictureSample) -> list[tuple[str, ...]] | None:
        """Return the labels of each cluster of a plan by the votes; None where there are none; errors as ``apply``."""
        if not self.votes:
            if self.only or self.drop:
                raise UsageError(f"Labels {[*self.only, *self.drop]} come from votes: give a table of them.")
            return None
        taxonomy = read_taxonomy(self.taxonomy)
        for label in (*self.only, *self.drop):
            taxonomy.expand(label)
        place = dict(zip(plan.names, plan.members.tolist(), strict=True))
        votes = read_votes(self.votes, taxonomy)
        if strange := next((name for name, _ in votes if name not in place), None):
            raise DataError(f"{self.votes} votes on {strange}, which the plan has not sampled: vote on its looks.")
        return majority([(place[name], names) for name, names in votes], len(plan.found.means))

    def read_plan(self, path: Path) -> PictureSample:
        """Read what ``PictureSample.write`` wrote; see ``Curator.read_plan``."""
        return read_sample(path, "biomedica")

    def _chance(self, labels: Sequence[str], counts: Mapping[str, float]) -> float:
        """Return p_i of pairs with these labels; 0 where they are not wanted."""
        wanted = (not self.only or not set(self.only).isdisjoint(labels)) and set(self.drop).isdisjoint(labels)
        return keep_probability([counts[label] for label in labels or ("",)], self.most) if wanted else 0.0

    def _counts(self, plan: PictureSample, labels: list[tuple[str, ...]] | None) -> dict[str, float]:
        """Return N_l of each label, and "" -> that of the pairs without labels."""
        if labels is None:
            return {"": float(plan.captioned)}
        counts = Counter(label for k in plan.members.tolist() for label in labels[k] or ("",))
        return {"": 0.0, **{label: n * plan.captioned / len(plan.names) for label, n in counts.items()}}
