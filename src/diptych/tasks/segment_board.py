"""Every fitting segmenter on one data set with label maps: mIoU of the whole set, gains over MaskCLIP, seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Samples
from diptych.core.errors import MissingEvidence, MissingExtra, MissingHook, MissingPart, NotAvailable, UsageError
from diptych.core.method import Segmenter
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.metrics.interval import Interval
from diptych.metrics.segmentation import chance, miou_bootstrap, miou_gain, pixel_accuracy
from diptych.tasks.classify import with_store
from diptych.tasks.proofs.classify import CHANCE
from diptych.tasks.proofs.segment import TEACHER, SegmentBench, Stacked, teach
from diptych.tasks.record import circumstances, plain, write_json
from diptych.tasks.segment import counts

BASE = ("maskclip", "")
"""The row that gains are measured against."""


@dataclass(frozen=True)
class SegmentRow:
    """One system over all seeds.

    Args:
        method: slug of the system; ``variant``: its row on the card.
        miou: of the whole set, with its interval over images and seeds.
        pixel_accuracy: share of counted pixels that are right.
        gain: over ``BASE``, paired by image and seed, with its two-sided interval; None for that row, or where it was not run.
        seeds: that were run; one where nothing is trained.
        seconds: mean wall seconds of "fit" and "segment".
    """

    method: str
    variant: str
    miou: Interval
    pixel_accuracy: float
    gain: Interval | None
    seeds: tuple[int, ...]
    seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        gain = None if self.gain is None else {"miou": self.gain.value, "ci95": [self.gain.low, self.gain.high]}
        found = {"miou": self.miou.value, "ci95": [self.miou.low, self.miou.high], "pixel_accuracy": self.pixel_accuracy, "gain": gain}
        return {"method": self.method, "variant": self.variant, **found, "seeds": self.seeds, "seconds": dict(self.seconds)}


@dataclass(frozen=True)
class SegmentBoard:
    """All rows, best first, and why others did not run."""

    rows: tuple[SegmentRow, ...]
    missing: Mapping[str, str]
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = [row.as_dict() for row in self.rows]
        found: dict[str, Any] = plain({"kind": "board", "verb": "segment", **self.facts, "missing": self.missing, "rows": rows})
        return found

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json; raises UsageError where it exists and ``overwrite`` is False."""
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)


def segment_board(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    *,
    classes: ClassNames | None = None,
    photos: Samples[Any] | None = None,
    teacher: str = TEACHER,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    command: str = "",
) -> SegmentBoard:
    """Run every segmenter on the test split, or else val, beside chance.

    Args:
        data: photos with label maps.
        backbone: for all rows.
        run: device, precision and progress.
        classes: other names and templates for the same K classes; None: the data set's, with the ensemble.
        photos: without labels, for systems that learn from some; None: see ``proofs.segment.teach``.
        teacher: image encoder that teaches, where a system asks for one.
        methods: slugs; None: all.
        seeds: of trainings.
        command: the command line that repeats the run.

    Raises:
        UsageError: no seeds, a method that is no segmenter, or another number of class names.
        DataError: there is nothing to measure on.
        UnreadableItem: a photo or mask cannot be read.
    """
    if not seeds:
        raise UsageError("A board takes at least one seed: give --seeds 1,2,3.")
    if classes is not None and len(classes) != len(data.classes):
        raise UsageError(f"{data.name} has {len(data.classes)} classes, and {len(classes)} names were given: give one a class, in order.")
    jobs: list[tuple[str, str, type[Segmenter]]] = []
    for slug in methods or [card["slug"] for card in catalog.cards() if card["verb"] == "segment"]:
        system = catalog.find(slug)
        if not issubclass(system, Segmenter):
            raise UsageError(f"{slug} is no segmenter: see 'diptych systems --verb segment'.")
        jobs += [(slug, variant, system) for variant in system.card.variants]
    missing: dict[str, str] = {}
    found: dict[tuple[str, str], tuple[Stacked, tuple[int, ...], dict[str, float]]] = {}
    with with_store(run) as stored, stored.track("rows", len(jobs)) as bar:
        bench = SegmentBench.open(data, backbone, stored, tuple(seeds))
        names = classes or bench.classes
        for slug, variant, system in jobs:
            asked = tuple(seeds if system.card.trains != "nothing" else seeds[:1])
            rows, seconds = [], []
            try:
                kit, evidence = teach(system, backbone, photos, teacher)
                for seed in asked:
                    own, start = replace(stored, seed=seed, out=None), time.perf_counter()
                    fitted = system(**system.card.variants[variant]).fit(kit, names, evidence, own)
                    middle = time.perf_counter()
                    rows.append(counts(fitted, bench.table, own))
                    seconds.append((middle - start, time.perf_counter() - middle))
            except (MissingHook, MissingPart, MissingExtra, MissingEvidence, NotAvailable) as error:
                missing[" ".join(filter(None, (slug, variant)))] = str(error)
            else:
                fit, spent = np.mean(seconds, axis=0).tolist()
                found[slug, variant] = (np.stack(rows), asked, {"fit": fit, "segment": spent})
            bar.advance()
    seed = run.integer("bootstrap")
    if found:
        found[CHANCE, ""] = (chance(next(iter(found.values()))[0][:1]), tuple(seeds[:1]), {})
    base = found[BASE][0] if BASE in found else None
    made = []
    for (slug, variant), (own_counts, asked, spent_on) in found.items():
        gain = None
        if base is not None and (slug, variant) != BASE:
            gain = _gain(own_counts, base.repeat(len(own_counts) // len(base), axis=0), seed)
        accuracy = float(pixel_accuracy(own_counts.sum(1)).mean())
        made.append(SegmentRow(slug, variant, miou_bootstrap(own_counts, seed), accuracy, gain, asked, spent_on))
    facts = {
        "dataset": data.name,
        "data_hash": bench.digest(),
        "split": bench.split,
        "items": len(bench.table),
        "classes": list(names.names),
        "templates": list(names.templates),
        **circumstances(backbone, run, command),
    }
    return SegmentBoard(tuple(sorted(made, key=lambda row: -row.miou.value)), missing, facts)


def _gain(first: Stacked, second: Stacked, seed: int) -> Interval:
    """Return the gain with its two-sided 95 % interval: two one-sided bounds of the same resamples."""
    low = miou_gain(first, second, seed, level=0.975)
    high = miou_gain(second, first, seed, level=0.975)
    return Interval(low.value, low.low, -high.low)
