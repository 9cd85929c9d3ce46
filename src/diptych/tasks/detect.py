"""Say which photos are anomalous, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diptych.core import (
    Backbone,
    DataError,
    Detector,
    Evidence,
    FittedDetector,
    Kit,
    Run,
    Samples,
    Subset,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import Guided, number_of
from diptych.data.files import write_whole
from diptych.data.samples import need_photos, openable
from diptych.metrics.conformal import false_alarm_shares, raised
from diptych.nn.dense.label_maps import upsampled
from diptych.tasks.calibration_split import Stretches, calibration_split, held_threshold, stretches
from diptych.tasks.classify import with_store
from diptych.tasks.pages.overlay import heat, png


class AnomalyScoreRow(TypedDict):
    """Anomaly score; "normal_share" is how often a normal picture scores as high."""

    path: str
    score: float
    flagged: bool | None
    normal_share: float | None


@dataclass(frozen=True)
class Detected(Guided):
    """What was found on one photo.

    Args:
        name: what the user calls it.
        photo: it again, as samples of one item.
        score: higher is more anomalous.
        flagged: whether the score exceeds the threshold; None: there is none.
        map: (h, w) scores of cells; None where the detector has no maps.
        normal_share: how often a normal photo scores as high, by those that were kept aside (conformal p-value); None:
            none were.
    """

    name: str
    photo: Subset[Any]
    score: float
    flagged: bool | None
    map: Tensor | None
    normal_share: float | None = None

    def as_dict(self) -> AnomalyScoreRow:
        """Return plain data for JSON."""
        return {"path": self.name, "score": self.score, "flagged": self.flagged, "normal_share": self.normal_share}

    def write(self, folder: Path, stem: str, span: tuple[float, float]) -> Path | None:
        """Write STEM.heat.png, over that of an earlier run, and return its path; None where there is no map."""
        if self.map is None:
            return None
        path = folder / f"{stem}.heat.png"
        write_whole(path, png(self.shown(span)), overwrite=True)
        return path

    def shown(self, span: tuple[float, float] | None = None) -> Image.Image:
        """Return the photo, under its map where there is one.

        Args:
            span: values at the ends of the colours; None: the least and the largest of this map.
        """
        photo: Image.Image = self.photo[0]
        if self.map is None:
            return photo
        span = span or (float(self.map.min()), float(self.map.max()))
        values = upsampled(self.map[None].float(), photo.height, photo.width, 0, photo.height)[0].numpy()
        mark = "" if self.flagged is None else "   anomalous" if self.flagged else "   normal"
        return heat(photo, values, *span, f"score {self.score:.4g}{mark}")


@dataclass(frozen=True)
class Ready:
    """A fitted detector with the threshold that holds a rate of false alarms.

    Args:
        fitted: the detector.
        threshold: a score above it is flagged; None: no rate was asked for.
        clean: scores of normal photos that were kept aside; None: none were.
        groups: the stretch of each of these, where they are neighbouring frames.
        normal: numbers of normal photos that were learnt from, and kept aside for the threshold.
        near: names of normal photos and of near-duplicates that follow them; (): normal photos are no neighbouring
            frames, or no rate was asked for.
        stretches: number of stretches of neighbouring frames that were kept aside; None: photos were, one by one.
        held: whether the photos or stretches kept aside were enough for the rate.
        failed: normal photos that cannot be read.
        rate: of false alarms, as it was asked for.
    """

    fitted: FittedDetector
    threshold: float | None = None
    clean: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None
    normal: tuple[int, int] = (0, 0)
    near: tuple[tuple[str, str], ...] = ()
    stretches: int | None = None
    held: bool = True
    failed: tuple[UnreadableItem, ...] = field(default=(), metadata={"saved": False})
    rate: float | None = None

    @classmethod
    def of(cls, fitted: Any) -> Ready:
        """Return a fitted detector with its threshold, where it is one without."""
        return fitted if isinstance(fitted, cls) else cls(fitted)


@dataclass(frozen=True)
class Detections:
    """What a detector says of all photos of a run.

    Args:
        results: one a readable photo, in order.
        failed: photos, normal ones too, that cannot be read.
        by: the detector with its threshold.
        raised: p-value of the claim that at most a fifth of the photos are anomalous and the others are like those that
            were kept aside, see ``metrics.conformal.raised``; None: none were.
    """

    results: tuple[Detected, ...]
    failed: tuple[UnreadableItem, ...]
    by: Ready
    raised: float | None = None

    @property
    def threshold(self) -> float | None:
        """A score above it is flagged; None: no rate was asked for."""
        return self.by.threshold

    def ranked(self) -> list[Detected]:
        """Return the most anomalous photo first."""
        return sorted(self.results, key=lambda d: -d.score)

    def span(self) -> tuple[float, float]:
        """Return the least and the largest value of all maps, the ends of the colours."""
        maps = [d.map for d in self.results if d.map is not None]
        return (min(float(m.min()) for m in maps), max(float(m.max()) for m in maps)) if maps else (0.0, 1.0)

    def about_normal(self) -> dict[str, Any]:
        """Return plain data of the normal photos."""
        learnt, aside = self.by.normal
        return {
            "learnt": learnt, "aside": aside, "raised_p": self.raised, "stretches_aside": self.by.stretches,
            "rate_held": self.by.held, "near_duplicates": [list(pair) for pair in self.by.near],
        }  # fmt: skip

    def remarks(self) -> list[str]:
        """Return what a user should know beside the scores: what the rate promises, and when it does not hold."""
        by, remarks = self.by, []
        if by.threshold is not None:
            flagged, aside = sum(bool(d.flagged) for d in self.results), by.normal[1]
            promise = f"at most {by.rate:g} false alarms per normal photo, from" if by.held else "the highest score of"
            remarks.append(
                f"{flagged} of {len(self.results)} flagged above {by.threshold:.4g}: {promise} {aside} kept aside; p: "
                f"how often a normal photo scores as high"
            )
            if by.stretches is None and 0 < by.normal[0] < aside:  # else near-duplicates are left out too
                remarks.append(
                    f"Only {number_of(by.normal[0], 'normal photo')} of {sum(by.normal)} remained to learn from, since "
                    f"this rate needs {aside} aside: give more, or a higher rate."
                )
            if not flagged and self.results:
                least = min(d.normal_share or 1.0 for d in self.results)
                remarks.append(
                    f"Nothing stands out: normal photos score as high as the highest of these in {100 * least:.0f} "
                    f"of 100 cases. A rate from {least:.2g} on flags it; photos that are more alike, or more of them, "
                    f"tell more."
                )
        if by.stretches is not None:
            held = (
                "and kept aside by whole stretches"
                if by.held
                else f"and {by.stretches} stretches kept aside are too few for the rate: the threshold is their "
                f"highest score, and photos of more days are needed to promise more"
            )
            pair = " and ".join(Path(name).name for name in by.near[0])
            remarks.append(
                f"{len(by.near)} normal photos are near-duplicates of the next, such as {pair}: they count as frames "
                f"of stretches, {held}."
            )
        if self.raised is not None and self.raised < 0.05:
            remarks.append(
                f"The photos as a whole score higher than the normal ones kept aside (p {self.raised:.3f}): more than "
                f"a fifth of them are anomalous, or light, camera or time have changed. Then the rate does not hold: "
                f"look at those with the lowest scores, and take normal photos of the same days."
            )
        return remarks


def fit(
    method: Detector,
    backbone: Backbone,
    run: Run,
    normal: Samples[Any] | None = None,
    auxiliary: Table[Any] | None = None,
    rate: float | None = None,
) -> Ready:
    """Fit a detector, and set its threshold where a rate is asked for.

    Args:
        method: any detector.
        backbone: of the detector.
        run: device, cache, seed and progress.
        normal: photos without anomalies, of the same kind.
        auxiliary: labelled anomalies of other things, for detectors that learn from them.
        rate: false alarms a normal photo, in (0, 1): the threshold is set to it on normal photos that are kept aside, a
            third of them, or as many as the rate needs; all of them where the detector learns nothing from normal
            photos. Where they are neighbouring frames, whole stretches of them are kept aside and counted.

    Raises:
        UsageError: a rate without normal photos, or outside (0, 1).
        DataError: no normal photo can be read, or they are too few for the rate.
        MissingEvidence: the detector needs normal or auxiliary photos that were not given.
    """
    if rate is not None and normal is None:
        raise UsageError("A false-alarm rate is set on normal photos: give {normal}, or leave out {rate}.")
    train: Samples[Any] | None = None
    aside: Subset[Any] | None = None
    frames: Stretches | None = None
    failed: list[UnreadableItem] = []
    if normal is not None:
        train, failed = openable(normal)
        if len(train) == 0:
            raise DataError("None of the normal photos can be read: give a folder that holds some.")
        if rate is not None:
            learns = "train" in (*method.card.needs.evidence, *method.card.needs.optional)
            frames, every = stretches(train), Subset(train, tuple(range(len(train))))
            near = () if frames is None else tuple((train.name(a), train.name(b)) for a, b in frames.near)
            train, aside = calibration_split(train, rate, run, frames) if learns else (train, every)
    with with_store(run) as stored:
        evidence = Evidence(train=None if train is None else Table(train), auxiliary=auxiliary)
        fitted = method.fit(Kit.of(backbone), evidence, stored)
        counts = (0 if train is None else len(train), 0 if aside is None else len(aside))
        if aside is None or rate is None:
            return Ready(fitted, normal=counts, failed=tuple(failed))
        clean = np.array([a.score for a in stored.spread(fitted.detect, aside)])
    threshold, count, held = held_threshold(clean, aside, frames, rate)
    groups = None if frames is None else frames.groups[list(aside.indices)]
    return Ready(fitted, threshold, clean, groups, counts, near, count, held, tuple(failed), rate)


def detections(ready: Ready, photos: Samples[Any], run: Run) -> Detections:
    """Score photos by a fitted detector.

    Raises:
        DataError: there is no photo.
    """
    need_photos(photos)
    good, failed = openable(photos)
    with with_store(run) as stored:
        scores = scored(ready, good, stored)
    clean = ready.clean
    higher = None if clean is None or not scores else raised(np.array([d.score for d in scores]), clean)
    return Detections(scores, (*failed, *ready.failed), ready, higher)


def scored(ready: Ready, photos: Samples[Any], run: Run) -> tuple[Detected, ...]:
    """Return what a fitted detector says of photos that can be read; a score above the threshold is flagged."""
    rows = []
    with run.track("detect", len(photos)) as bar:
        for i, anomaly in enumerate(run.spread(ready.fitted.detect, photos)):
            flagged = None if ready.threshold is None else anomaly.score > ready.threshold
            share = None
            if ready.clean is not None:
                share = float(false_alarm_shares(np.array([anomaly.score]), ready.clean, ready.groups)[0])
            rows.append(Detected(photos.name(i), Subset(photos, (i,)), anomaly.score, flagged, anomaly.map, share))
            bar.advance()
    return tuple(rows)
