"""Every fitting detector on one data set, with the same normal photos, the same rate of false alarms and the same test photos."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Table
from diptych.core.errors import DataError, MissingEvidence, MissingExtra, MissingHook, MissingPart, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.metrics.detection import alarm_rates, auroc_bootstrap, false_alarm_threshold
from diptych.tasks.classify import with_store
from diptych.tasks.detect import kept_aside, openable, rank
from diptych.tasks.proofs.detect import detector, draws
from diptych.tasks.record import circumstances, plain, write_bytes, write_json

METRICS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pro", "false_alarms", "detected")
"""In the order shown; the last two at the threshold that normal photos kept aside gave."""


@dataclass(frozen=True)
class DetectRow:
    """A detector over all seeds.

    Args:
        label: what a reader calls it; ``method`` and ``variant``: what the catalog does.
        metrics: means over seeds; without maps or masks there are no pixel metrics.
        ci95: interval of image AUROC, bootstrap over items and seeds.
        seeds: that were run; one where nothing is drawn.
        seconds: mean wall seconds of "fit" and "detect".
    """

    label: str
    method: str
    variant: str
    metrics: Mapping[str, float]
    ci95: tuple[float, float]
    seeds: tuple[int, ...]
    seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class DetectBoard:
    """A finished board.

    Args:
        data: the data set.
        thing: what detectors were told that the photos show.
        rate: of false alarms.
        rows: in the order of the catalog.
        missing: row label -> why it could not run.
        skipped: photos that cannot be read.
        facts: backbone, device, versions, command, date.
    """

    data: LabelledData
    thing: str
    rate: float
    rows: tuple[DetectRow, ...]
    missing: Mapping[str, str]
    skipped: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        test = self.data.split("test")
        counts = {"items": len(test), "anomalous": int((test.labels() != 0).sum()), "normal_train": len(self.data.split("train"))}
        about = {"kind": "board", "verb": "detect", "dataset": self.data.name, "object": self.thing, "rate": self.rate, **counts}
        shown: dict[str, Any] = plain(
            {**about, **self.facts, "missing": self.missing, "skipped": self.skipped, "rows": [row.as_dict() for row in self.rows]}
        )
        return shown

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json and board.csv; raises UsageError where one exists and ``overwrite`` is False."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["label", "method", "variant", *METRICS, "image_auroc_low", "image_auroc_high"], restval="")
        writer.writeheader()
        for row in self.rows:
            low, high = row.ci95
            own = {"label": row.label, "method": row.method, "variant": row.variant, "image_auroc_low": low, "image_auroc_high": high}
            writer.writerow({**own, **row.metrics})
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)
        write_bytes(out / "board.csv", text.getvalue().encode(), overwrite=overwrite)


def detect_board(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    *,
    thing: str,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    rate: float = 0.1,
    auxiliary: Table[Any] | None = None,
    command: str = "",
) -> DetectBoard:
    """Run every detector; each seed keeps other normal photos of train aside for the threshold.

    Args:
        data: with train (normal photos are taken) and test.
        backbone: for all rows.
        run: device, cache and progress.
        thing: what the photos show, for detectors that are told.
        methods: slugs; None: all detectors.
        seeds: of draws and trainings.
        rate: false alarms a normal photo, in (0, 1).
        auxiliary: labelled anomalies of another thing.
        command: the command line that repeats the run.

    Raises:
        UsageError: no seed, an unknown method, or a rate outside (0, 1).
        DataError: nothing can be measured, or the normal photos are too few for the rate.
    """
    if not seeds:
        raise UsageError("A board takes at least one seed: give some.")
    slugs = methods or [card["slug"] for card in catalog.cards() if card["verb"] == "detect"]
    systems = [(slug, variant, detector(slug, variant, thing)) for slug in slugs for variant in catalog.find(slug).card.variants]
    train, broken = _readable(data.split("train"))
    normal = train.take(np.flatnonzero(train.labels() == 0).tolist())
    test, failed = _readable(data.split("test"))
    if len(set((test.labels() != 0).tolist())) < 2:
        raise DataError(f"The test split of {data.name} holds one kind of photos only: a board needs normal and anomalous ones.")
    parts = {seed: kept_aside(normal.items, rate, replace(run, seed=seed)) for seed in seeds}
    rows, missing = [], {}
    with with_store(run) as stored, stored.track("rows", len(systems)) as bar:
        for slug, variant, method in systems:
            label = f"{slug}, {variant}" if variant else slug
            asked = seeds if draws(method) or method.card.needs.evidence else seeds[:1]
            ranked, alarms, seconds = [], [], []
            try:
                for seed in asked:
                    own = replace(stored, seed=seed)
                    fit_on, aside = parts[seed]
                    zeros = Column("label", np.zeros(len(fit_on), dtype=np.int64))
                    start = time.perf_counter()
                    fitted = method.fit(Kit({"main": backbone}), Evidence(train=Table(fit_on, {"label": zeros}), auxiliary=auxiliary), own)
                    middle = time.perf_counter()
                    threshold = false_alarm_threshold(np.array([a.score for a in fitted.detect(aside, own)]), rate)
                    ranked.append(rank(fitted, test, own))
                    alarms.append(alarm_rates(ranked[-1].scores, ranked[-1].labels, threshold))
                    seconds.append((middle - start, time.perf_counter() - middle))
            except (MissingHook, MissingPart, MissingExtra, MissingEvidence) as error:
                missing[label] = str(error)
            else:
                each = [r.metrics | {"false_alarms": a, "detected": b} for r, (a, b) in zip(ranked, alarms, strict=True)]
                found = auroc_bootstrap(np.stack([r.scores for r in ranked]), ranked[0].labels, run.integer("bootstrap"))
                means = {name: float(np.mean([row[name] for row in each])) for name in each[0]}
                fit, spent = np.mean(seconds, axis=0).tolist()
                rows.append(DetectRow(label, slug, variant, means, (found.low, found.high), tuple(asked), {"fit": fit, "detect": spent}))
            bar.advance()
    facts = {
        "data_hash": data.hash if not broken + failed else None,
        **circumstances(backbone, run, command),
    }
    return DetectBoard(data, thing, rate, tuple(rows), missing, tuple(str(e) for e in broken + failed), facts)


def _readable(table: Table[Any]) -> tuple[Table[Any], list[Any]]:
    kept, failed = openable(table.items)
    return table.take(kept.indices), failed
