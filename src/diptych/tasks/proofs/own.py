"""Proofs that measure in their own way: what ``tasks.prove`` needs of them, beside those of classifiers and segmenters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from diptych.core.backbone import Backbone
from diptych.core.run import Run


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
            "data_hash", "items", "claims", "controls" and "beside", as plain data. Each claim and control names what it is measured
            "over" and its "variant", "shots" (0), "gain" and "gain_lower95"; a claim holds "method" and "baseline", each
            ``{metric: value}``, and "shown"; a control holds "control" and "failed"; a twin beside holds "name" and "twin".

        Raises:
            NotAvailable: the data set is not on this machine.
        """
        ...
