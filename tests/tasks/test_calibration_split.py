from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.core import Anomaly, Card, DataError, Detector, Evidence, FittedDetector, Kit, Needs, Run, Samples
from diptych.data.memory import InMemory
from diptych.methods.detect.gaussian import Gaussian
from diptych.tasks.calibration_split import calibration_split, stretches
from tests.support.backbone import SmallBackbone
from tests.support.scratches import detect


def film(scenes: int, frames: int, seed: int) -> InMemory:
    """Scenes of frames that differ by a little noise; scenes differ by much."""
    rng = np.random.default_rng(seed)
    photos = []
    for _ in range(scenes):
        scene = rng.integers(40, 216, (8, 8, 3))
        for _ in range(frames):
            noisy = np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)
            photos.append(Image.fromarray(noisy).resize((32, 32), Image.Resampling.NEAREST))
    return InMemory(tuple(photos), [f"frame-{i}.png" for i in range(len(photos))])


def test_frames_of_scenes_are_stretches_in_the_order_of_their_numbers() -> None:
    found = stretches(film(30, 4, 0))
    assert found is not None
    assert found.count == 30
    assert found.groups[:9].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert (8, 9) in found.near
    assert (9, 10) in found.near  # by number, not by letter
    assert (3, 4) not in found.near


def test_photos_without_an_order_are_none() -> None:
    for seed in range(20):
        assert stretches(film(60, 1, seed)) is None
    shuffled = film(30, 4, 0)
    order = np.random.default_rng(1).permutation(120)
    assert stretches(InMemory(tuple(shuffled[int(i)] for i in order), [f"{i}.png" for i in range(120)])) is None
    assert stretches(film(1, 2, 0)) is None


def test_a_long_film_of_one_scene_is_cut() -> None:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(0, 3, (100, 4, 4, 3)), axis=0)
    photos = [Image.fromarray(np.clip(128 + frame, 0, 255).astype(np.uint8)) for frame in walk]
    found = stretches(InMemory(tuple(photos), [f"{i:03}.png" for i in range(100)]))
    assert found is not None
    assert np.bincount(found.groups).max() <= 10
    assert (np.diff(found.groups) >= 0).all()


def test_whole_stretches_are_kept_aside_without_near_duplicates_among_the_learnt() -> None:
    photos = film(30, 4, 0)
    frames = stretches(photos)
    assert frames is not None
    learnt, aside = calibration_split(photos, 0.1, Run(), frames)
    assert len(aside) >= 40
    assert not set(frames.groups[list(learnt.indices)]) & set(frames.groups[list(aside.indices)])
    one = film(1, 40, 0)
    walked = stretches(one)
    if walked is not None:
        with pytest.raises(DataError, match="neighbouring frames"):
            calibration_split(one, 0.5, Run(), type(walked)(np.zeros(40, np.int64), walked.near))


@dataclass(frozen=True)
class Remembered(FittedDetector):
    """The distance to the nearest photo that was learnt from."""

    known: Any

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        for i in range(len(images)):
            distances = np.abs(self.known - np.asarray(images[i], dtype=np.float64)).mean(axis=(1, 2, 3))
            yield Anomaly(float(distances.min()), None, (32, 32))


class Nearest(Detector):
    """Remembers normal photos."""

    card = Card(**{**vars(Gaussian.card), "needs": Needs(evidence=("train",))})

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Remembered:
        assert evidence.train is not None
        items = evidence.train.items
        return Remembered(np.stack([np.asarray(items[i], dtype=np.float64) for i in range(len(items))]))


def test_later_scenes_keep_the_rate_by_stretches_and_not_by_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    normal, later = film(45, 4, 0), film(100, 1, 9)

    def alarms() -> float:
        detections = detect(later, SmallBackbone(), method=Nearest(), normal=normal, rate=0.1)
        return float(np.mean([bool(d.flagged) for d in detections.results]))

    detections = detect(later, SmallBackbone(), method=Nearest(), normal=normal, rate=0.1)
    assert detections.by.held
    assert detections.by.stretches == 15
    assert detections.by.near[0] == ("frame-0.png", "frame-1.png")
    assert alarms() < 0.2
    monkeypatch.setattr("diptych.tasks.detect.stretches", lambda photos: None)
    assert alarms() > 0.4  # a frame kept aside has its neighbour among the learnt ones


def test_too_few_stretches_take_the_highest_score_and_say_so() -> None:
    detections = detect(film(5, 1, 9), SmallBackbone(), method=Nearest(), normal=film(10, 5, 0), rate=0.1)
    assert detections.by.stretches is not None
    assert detections.by.stretches < 9  # what a rate of 0.1 needs
    assert not detections.by.held
