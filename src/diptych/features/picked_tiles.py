"""The tiles that were picked on slides, as a plan of a curator; plans of different slides merge."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Plan, UsageError
from diptych.core.curate import NAMED
from diptych.core.wording import no_plan
from diptych.data.files import write_whole

ATTRIBUTE, FINDING, CLUSTER = "attribute", "finding", "cluster"
"""Why a tile is picked."""


@dataclass(frozen=True)
class PickedTiles(Plan):
    """The tiles that were picked, slide by slide.

    Args:
        settings: of the system, and the hash of what it was told to look for; plans of others do not merge.
        tiles: slide -> (name of a tile, why) of those that were picked.
        seen: tiles of all slides.
        broken: of those, the ones that could not be read.
        unread: name and reason of the first ``NAMED`` of them.
    """

    backbone: str
    settings: str
    tiles: Mapping[str, tuple[tuple[str, str], ...]]
    seen: int = 0
    broken: int = 0
    unread: tuple[tuple[str, str], ...] = ()

    def merge(self, other: PickedTiles) -> PickedTiles:
        """Return the plan of the slides of both.

        Raises:
            UsageError: backbone or settings differ, or a slide is in both, since its tiles are picked together.
        """
        if (self.backbone, self.settings) != (other.backbone, other.settings):
            raise UsageError("Plans of other backbones, phrases or settings cannot be merged: plan all slides alike.")
        if twice := self.tiles.keys() & other.tiles.keys():
            raise UsageError(
                f"{min(twice)} is in both plans, and the tiles of a slide are picked together: plan it once."
            )
        return PickedTiles(
            self.backbone, self.settings, dict(sorted({**self.tiles, **other.tiles}.items())), self.seen + other.seen,
            self.broken + other.broken, (*self.unread, *other.unread)[:NAMED],
        )  # fmt: skip

    def report(self) -> dict[str, Any]:
        """Return numbers of slides and tiles, of tiles picked in all and for each reason, and of broken ones."""
        why = [reason for tiles in self.tiles.values() for _, reason in tiles]
        counts = {f"by_{reason}": why.count(reason) for reason in (ATTRIBUTE, FINDING, CLUSTER)}
        return {"slides": len(self.tiles), "tiles": self.seen, "picked": len(why), **counts, "broken": self.broken}

    def write(self, path: Path) -> None:
        """Write JSON."""
        write_whole(path, json.dumps({"diptych": "picked tiles", **vars(self)}), overwrite=True)


def read_tiles(path: Path, system: str) -> PickedTiles:
    """Read what ``PickedTiles.write`` wrote; raises DataError where it is absent, damaged or something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("diptych") != "picked tiles":
            raise ValueError("another plan")
        tiles = {slide: tuple((str(n), str(w)) for n, w in rows) for slide, rows in data.pop("tiles").items()}
        unread = tuple((str(name), str(reason)) for name, reason in data.pop("unread"))
        return PickedTiles(tiles=tiles, unread=unread, **data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(no_plan(path, system, error)) from None


Floats = NDArray[np.float32]


def picked(
    z: Floats, attributes: Floats, findings: Floats, top: int, sampled: int, batch: int, limit: float, seed: int
) -> list[tuple[int, str]]:
    """Return (tile, why) of the tiles of one slide, in the order in which they were picked.

    Args:
        z: (n, D) unit embeddings.
        attributes: (J, D) unit embeddings of attributes, each of which a tile may have; J may be 0.
        findings: (L, D) unit embeddings of findings, whose cosines are summed; L may be 0.
        top: tiles by attributes, and by findings.
        sampled: tiles by clusters, at most.
        batch: tiles for one cluster, see ``clusters_of``.
        limit: largest cosine to a tile that was picked before.
        seed: of k-means and of the draws in clusters.
    """
    order = [(i, ATTRIBUTE) for i in _best((100 * z @ attributes.T).max(1), top)] if len(attributes) else []
    order += [(i, FINDING) for i in _best((100 * z @ findings.T).sum(1), top)] if len(findings) else []
    order += [(i, CLUSTER) for i in spread(z, sampled, batch, seed)]
    picked: list[tuple[int, str]] = []
    for i, why in order:
        before = [j for j, _ in picked]
        if i not in before and (not before or float((z[before] @ z[i]).max()) <= limit):
            picked.append((i, why))
    return picked


def spread(z: Floats, sampled: int, batch: int, seed: int) -> list[int]:
    """Return at most ``sampled`` of n tiles, equally many of each cluster as far as it has them."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(z, axis=0)) if len(z) else 0
    if not distinct or not sampled:
        return []
    k = min(distinct, clusters_of(len(z), batch))
    cluster = KMeans(k, n_init=1, random_state=seed).fit_predict(z)
    rng, share = np.random.default_rng(seed), max(1, sampled // k)
    chosen = [int(i) for c in range(k) for i in rng.permutation(np.flatnonzero(cluster == c))[:share]]
    return chosen[:sampled]


def clusters_of(n: int, batch: int = 1) -> int:
    """Return k = ceil(sqrt(1.6 n / b)).

    Example:
        >>> clusters_of(1000), clusters_of(5120, batch=128)
        (40, 8)
    """
    return math.ceil(math.sqrt(1.6 * n / batch))


def _best(scores: NDArray[np.floating[Any]], count: int) -> list[int]:
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]
