"""Proofs that measure in their own way: what ``evaluation.prove`` needs of them, where their data lie, and how they
write what they measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.data import Samples
from diptych.core.run import Run
from diptych.metrics.interval import bootstrap_mean, one_sided_lower

Hits = NDArray[np.float64]
"""(seeds, N) values of N items, such as 1.0 where a system was right."""


class OwnTrial(Protocol):
    """The proof of one system of any verb."""

    @property
    def metric(self) -> str:
        """Key under which claims, controls and twins hold their value, a fraction in [-1, 1]."""
        ...

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Measure on one data set.

        Args:
            slug: of the system.
            name: of the data set: a path, or a folder in that of DIPTYCH_DATA.
            backbone: for the system and its baselines.
            run: device, cache and progress.
            seeds: of draws, shuffles and systems.

        Returns:
            "data_hash", "items", "claims", "controls" and "beside", as plain data. Each claim and control names what it
            is measured "over" and its "variant", "shots" (0), "gain" and "gain_lower95"; a claim holds "method" and
            "baseline", each ``{metric: value}``, and "shown"; a control holds "control" and "failed"; a twin beside
            holds "name" and "twin".

        Raises:
            NotAvailable: the data set is not on this machine.
        """
        ...


def hash_of(*samples: Samples[Any]) -> str:
    """Return the SHA-256 of the keys of all items, in their order."""
    return hashlib.sha256("".join(s.key(i) for s in samples for i in range(len(s))).encode()).hexdigest()


def with_interval(metric: str, hits: Hits, seed: int) -> dict[str, Any]:
    """Return {metric: mean} with its 95 % interval, which is drawn by ``seed``."""
    found = bootstrap_mean(hits, seed)
    return {metric: found.value, "ci95": [found.low, found.high]}


def claim(about: Mapping[str, Any], metric: str, own: Hits, base: Hits, seed: int) -> dict[str, Any]:
    """Return a claim: what it is about ("over", "variant", "shots"), and whether ``own`` is above ``base``, paired by
    seed and item.
    """
    gain = one_sided_lower(own, base, seed)
    sides = {"method": with_interval(metric, own, seed), "baseline": with_interval(metric, base, seed)}
    return {**about, "gain": gain.value, "gain_lower95": gain.low, **sides, "shown": gain.low > 0}


def control(about: Mapping[str, Any], metric: str, own: Hits, base: Hits, seed: int) -> dict[str, Any]:
    """Return a control: as a claim, but the gain of what was spoiled must include 0."""
    gain = one_sided_lower(own, base, seed)
    held = {"control": with_interval(metric, own, seed), "failed": gain.low <= 0}
    return {**about, "gain": gain.value, "gain_lower95": gain.low, **held}


def twin(name: str, shots: int, metric: str, own: Hits, other: Hits, seed: int) -> dict[str, Any]:
    """Return what is measured beside the claims: another system, and the gain of the proved one over it."""
    gain = one_sided_lower(own, other, seed)
    return {
        "name": name,
        "shots": shots,
        "twin": with_interval(metric, other, seed),
        "gain": gain.value,
        "gain_lower95": gain.low,
    }
