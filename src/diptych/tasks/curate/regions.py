"""Boxes with phrases for photos that have captions alone, as a table that every ``--regions`` reads."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from diptych.core import Backbone, Column, MaskProposer, Run, Samples, Table, UnreadableItem, UsageError, Writer
from diptych.data.files import escaped, write_whole
from diptych.data.formats.regions import Boxes, boxes
from diptych.features.region_labels import RegionLabels, agreement, listed
from diptych.metrics.estimate import Interval
from diptych.metrics.ratio import counted, ratio

HEAD = ("image", "x0", "y0", "x1", "y1", "phrase")


@dataclass(frozen=True)
class RegionTable:
    """What was found in photos.

    Args:
        table: the photos that could be read, with "boxes" and "phrases".
    """

    table: Table[Any]
    failed: tuple[UnreadableItem, ...]

    @property
    def count(self) -> int:
        """Number of regions."""
        return sum(len(phrases) for phrases in self.table.columns["phrases"].values)

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a row for each region; paths of photos start at the folder of the table."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEAD)
        for i in range(len(self.table)):
            name = escaped(os.path.relpath(self.table.items.name(i), path.parent))
            boxes, phrases = (self.table.columns[column].values[i] for column in ("boxes", "phrases"))
            rows = zip(boxes.corners.tolist(), phrases, strict=True)
            writer.writerows([name, *(f"{v:.1f}" for v in box), phrase] for box, phrase in rows)
        write_whole(path, text.getvalue(), overwrite=overwrite)


def find_regions(
    photos: Table[Any],
    backbone: Backbone,
    proposer: MaskProposer,
    run: Run,
    *,
    writer: Writer | None = None,
) -> RegionTable:
    """Find and name regions of photos, see ``features.region_labels``.

    Args:
        photos: with "captions", or without where there is a writer.
        backbone: compares crops with phrases.
        proposer: finds places.
        run: device, progress, and perhaps the regions of photos that an earlier run finished.
        writer: a captioner, which names crops; None: noun phrases of the captions do.
    """
    captions = [listed(c) for c in photos.columns["captions"].values] if writer is None else [()] * len(photos)
    readable, failed = list[int](), list[UnreadableItem]()
    boxes_of, phrases = list[Boxes](), list[tuple[str, ...]]()
    job = _Regions(RegionLabels(), backbone, proposer.fingerprint, proposer, writer)
    with run.track("find regions", len(photos)) as bar:
        for i, answer in enumerate(run.spread(job, _Captioned(photos.items, captions))):
            if isinstance(answer, UnreadableItem):
                failed.append(answer)
            else:
                corners, names = answer
                readable.append(i)
                boxes_of.append(boxes(corners.tolist(), "xyxy", [-1] * len(names)))
                phrases.append(names)
            bar.advance()
    columns = {"boxes": Column("boxes", tuple(boxes_of)), "phrases": Column("captions", tuple(phrases))}
    return RegionTable(Table(photos.take(readable).items, columns), tuple(failed))


@dataclass(frozen=True)
class _Captioned:
    """Photos with their captions: an item is the same where both are."""

    photos: Samples[Any]
    captions: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Any, tuple[str, ...]]:
        return self.photos[index], self.captions[index]

    def key(self, index: int) -> str:
        return sha256(repr((self.photos.key(index), self.captions[index])).encode()).hexdigest()

    def name(self, index: int) -> str:
        return self.photos.name(index)


@dataclass(frozen=True)
class _Regions:
    """The job of ``find_regions``: corners and phrases of each photo, or why it cannot be read.

    What decides the regions beside the proposer's fingerprint and the backbone is compared; the words that name a
    writer are those of the command, see ``cli.declared``.
    """

    how: RegionLabels
    backbone: Backbone
    places: str
    proposer: MaskProposer = field(compare=False)
    writer: Writer | None = field(compare=False)

    def __call__(
        self, items: Samples[tuple[Any, tuple[str, ...]]], run: Run
    ) -> Iterator[tuple[Tensor, tuple[str, ...]] | UnreadableItem]:
        for i in range(len(items)):
            try:
                photo, captions = items[i]
                yield self.how.regions(photo, captions, self.backbone, self.proposer, run, self.writer)
            except UnreadableItem as error:
                yield error


@dataclass(frozen=True)
class Quality:
    """How regions agree with true boxes of classes, with 95 % intervals over photos.

    Args:
        named: regions whose phrase names a class; the others are not judged.
        present: share of these whose class the photo has at all; None where there are none.
        right: share whose box has an IoU of 0.5 or more with a box of the class.
        iou: mean IoU with the nearest box of the class.
    """

    named: int
    present: Interval | None = None
    right: Interval | None = None
    iou: Interval | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        parts = {name: getattr(self, name) for name in ("present", "right", "iou")}
        stated = {n: {"value": v.value, "ci95": [v.low, v.high]} for n, v in parts.items() if v is not None}
        return {"named": self.named, **stated}


def quality(regions: RegionTable, truth: Table[Any], seed: int) -> Quality:
    """Compare regions with true boxes, see ``features.region_labels.agreement``.

    Args:
        regions: of photos that are all in ``truth``.
        truth: photos with "boxes" that have classes, and "phrases" with the classes' names.
        seed: of the intervals.

    Raises:
        UsageError: true boxes have no class.
    """
    names: dict[int, str] = {}
    of = {truth.items.name(i): true for i, true in enumerate(truth.columns["boxes"].values)}
    for regions_of, phrases in zip(*(truth.columns[n].values for n in ("boxes", "phrases")), strict=True):
        names |= {
            int(k): p.removeprefix("an ").removeprefix("a ") for k, p in zip(regions_of.labels, phrases, strict=True)
        }
    if -1 in names:
        raise UsageError("The true boxes have phrases and no classes: give a table with a column 'category'.")
    classes = [names[k] for k in sorted(names)]
    table = regions.table
    rows = [agreement(table.take([i]), [of[table.items.name(i)]], classes) for i in range(len(table))]
    owner = np.repeat(np.arange(len(rows)), [len(row["right"]) for row in rows])
    if not len(owner):
        return Quality(0)

    def over_photos(part: str) -> Interval:
        values = np.concatenate([row[part] for row in rows])
        return ratio(counted(values, owner, len(rows))[None], seed)

    return Quality(len(owner), *(over_photos(part) for part in ("present", "right", "iou")))
