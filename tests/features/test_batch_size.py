"""The calibration: what it chooses from given timings, and that nothing is encoded for the clock alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import Run, Subset
from diptych.features import batch_size as module
from diptych.features.batch_size import best_batch, calibrate, threads
from diptych.features.embed import Arrays, embed
from diptych.features.pipeline import StageTimes
from tests.support.encoders import Means, Photos


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIED", (2, 4))
    monkeypatch.setattr(module, "WORTH", 16)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(cache=tmp_path / "cache", batch=0, workers=0)


def distinct(n: int) -> Photos:
    return Photos(range(n))


def test_the_smallest_batch_near_the_best_rate_is_taken() -> None:
    assert best_batch({8: 1.0, 32: 2.0, 128: 4.0}) == 128
    assert best_batch({8: 1.0, 32: 3.9, 128: 15.6}) == 8
    assert best_batch({8: 1.0, 32: 2.0, 128: 7.9}) == 32
    assert best_batch({128: 9.0}) == 128


def test_threads_keep_up_with_the_encoder_but_never_outnumber_the_cores() -> None:
    assert threads(0.006, 0.008, 2) == 2
    assert threads(0.0059, 0.0003, 64) == 21
    assert threads(0.006, 0.0003, 16) == 16
    assert threads(0.001, 1.0, 1) == 1


@pytest.mark.parametrize(
    ("seconds", "batch", "workers"), [({2: 1.0, 4: 1.2}, 4, 8), ({2: 1.0, 4: 2.0}, 2, 5), ({2: 1.0, 4: 1.95}, 2, 5)]
)
def test_given_timings_decide(
    seconds: dict[int, float], batch: int, workers: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(encoder: Means, items: Subset[Any], given: Run) -> Arrays:
        assert items.indices == ((0, 1, 2, 3) if given.batch == 2 else tuple(range(4, 12)))
        return Arrays(
            np.zeros((0, 1, 3), np.float32),
            np.zeros(0, np.int64),
            (),
            StageTimes({given.batch: seconds[given.batch]}, decode=2.0),
        )

    monkeypatch.setattr(module, "cores", lambda: 9)
    monkeypatch.setattr(module, "embed_arrays", timed)
    chosen = calibrate(Means(), distinct(40), run)
    assert (chosen.batch, chosen.workers) == (batch, workers)


def test_what_is_tried_is_kept(run: Run) -> None:
    encoder, photos = Means(), distinct(40)
    chosen = calibrate(encoder, photos, run)
    assert encoder.seen == [2, 2, 4, 4]
    assert chosen.batch in (2, 4)
    assert chosen.workers >= 1
    values = embed(encoder, photos, chosen)
    assert sum(encoder.seen) == 40
    np.testing.assert_allclose(values[:, 0] * 255, range(40), atol=1e-4)


def test_a_given_size_stays_and_only_threads_are_chosen(run: Run) -> None:
    encoder = Means()
    assert calibrate(encoder, distinct(40), dataclasses.replace(run, batch=3)).batch == 3
    assert encoder.seen == [3, 3]
    given = dataclasses.replace(run, batch=3, workers=5)
    assert calibrate(encoder, distinct(40), given) is given


def test_few_known_or_unkept_items_are_not_tried(run: Run) -> None:
    encoder = Means()
    assert calibrate(encoder, distinct(15), run) is run
    assert calibrate(encoder, distinct(40), dataclasses.replace(run, cache=None)).batch == 0
    assert encoder.seen == []
    embed(encoder, distinct(40), run)
    before = len(encoder.seen)
    assert calibrate(encoder, distinct(40), run) is run
    assert len(encoder.seen) == before


def test_left_to_us_without_a_calibration_is_a_batch_of_32_and_a_thread_a_core(run: Run) -> None:
    encoder = Means()
    embed(encoder, distinct(40), run)
    assert encoder.seen == [32, 8]


def test_large_batches_are_not_tried_on_the_cpu(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ON_CPU", 2)
    encoder = Means()
    assert calibrate(encoder, distinct(40), run).batch == 2
    assert encoder.seen == [2, 2]
