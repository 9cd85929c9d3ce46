"""The tiles that were picked on slides, as a plan of a curator; plans of different slides merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core.curate import NAMED, Plan
from diptych.core.errors import DataError, UsageError
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
        why = [reason for own in self.tiles.values() for _, reason in own]
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
        tiles = {slide: tuple((str(n), str(w)) for n, w in own) for slide, own in data.pop("tiles").items()}
        unread = tuple((str(name), str(reason)) for name, reason in data.pop("unread"))
        return PickedTiles(tiles=tiles, unread=unread, **data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no plan of {system} ({str(error)[:80]}): write one with diptych curate plan."
        ) from None
