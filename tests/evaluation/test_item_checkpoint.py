"""Finished results in a folder: made once, made again where anything differs, and shared with workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import Anomaly, Run, Samples, Subset, Text, Texts, UnreadableItem
from diptych.evaluation.item_checkpoint import ItemCheckpoint
from diptych.nn.dense.segments import Panoptic, Segment
from diptych.tasks.label_maps.segmented import Segmented
from tests.support.pictures import Pictures, picture

WORDS = Texts(("a", "b", "c", "d", "e"))
SEEN: list[str] = []


@dataclass(frozen=True)
class Lengths:
    """Scores items, and notes which; stops at one."""

    factor: float
    stop: str = field(default="", compare=False)

    def score(self, items: Samples[str], run: Run) -> Iterator[Anomaly]:
        for i in range(len(items)):
            if items[i] == self.stop:
                raise KeyboardInterrupt
            SEEN.append(items[i])
            some = items[i] in "bd"
            yield Anomaly(self.factor, torch.full((2, 3), self.factor) if some else None, (12, 12) if some else None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    SEEN.clear()
    return Run(batch=2, cluster=ItemCheckpoint(tmp_path / "unfinished" / "x"))


def plain(results: list[Anomaly]) -> list[Any]:
    return [(a.score, None if a.map is None else a.map.tolist(), a.size) for a in results]


def test_a_job_that_was_stopped_goes_on_behind_its_last_whole_piece(run: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run.spread(Lengths(2.0, stop="d").score, WORDS))
    assert SEEN == ["a", "b", "c"]
    again = plain(list(run.spread(Lengths(2.0).score, WORDS)))
    assert SEEN == ["a", "b", "c", "c", "d", "e"]
    assert run.tally["reused"] == 2
    assert again == plain(list(Lengths(2.0).score(WORDS, run)))


@pytest.mark.parametrize(
    "other",
    [
        (Lengths(3.0).score, WORDS),
        (partial(Lengths(2.0).score), WORDS),
        (Lengths(2.0).score, Texts(("a", "x", "c", "d", "e"))),
    ],
)
def test_another_job_and_other_items_are_done_anew(run: Run, other: tuple[Any, Samples[str]]) -> None:
    first = plain(list(run.spread(Lengths(2.0).score, WORDS)))
    before = len(SEEN)
    results = plain(list(run.spread(*other)))
    assert len(SEEN) > before
    assert results == plain(list(replace(run, cluster=None).spread(*other)))
    assert plain(list(run.spread(Lengths(2.0).score, WORDS))) == first


def test_a_damaged_file_is_made_again(run: Run, tmp_path: Path) -> None:
    first = plain(list(run.spread(Lengths(2.0).score, WORDS)))
    path = min((tmp_path / "unfinished" / "x").iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:100])
    assert plain(list(run.spread(Lengths(2.0).score, WORDS))) == first
    assert len(path.read_bytes()) == len(content)


class Recorder:
    """Workers that note what they are given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def spread(self, job: Callable[..., Any], items: Samples[Any], run: Run, /) -> Iterator[Any]:
        self.given += [items[i] for i in range(len(items))]
        return iter(job(items, replace(run, cluster=None)))


def test_workers_are_given_what_is_missing(run: Run, tmp_path: Path) -> None:
    first = list(run.spread(Lengths(2.0).score, Texts(("c", "d"))))
    workers = Recorder()
    shared = replace(run, cluster=ItemCheckpoint(tmp_path / "unfinished" / "x", workers))
    results = list(shared.spread(Lengths(2.0).score, WORDS))
    assert workers.given == ["a", "b", "e"]
    assert plain(results[2:4]) == plain(first)
    assert [r.score for r in results] == [2.0] * 5
    again = plain(list(shared.spread(Lengths(3.0).score, Texts(("b", "c", "b", "c", "a")))))
    assert again == plain(list(Lengths(3.0).score(Texts(("b", "c", "b", "c", "a")), run)))
    assert workers.given[3:] == ["b", "c", "a"]


def captions(items: Samples[str], run: Run) -> list[list[Text]]:
    SEEN.append("captions")
    return [[Text(items[i], "pool")] for i in range(len(items))]


def test_lists_of_texts_are_read_as_they_were(run: Run) -> None:
    assert list(run.spread(captions, WORDS)) == list(run.spread(captions, WORDS)) == captions(WORDS, run)
    assert len(SEEN) == 4  # three pieces, and the call above


def broken(items: Samples[str], run: Run) -> Iterator[Any]:
    SEEN.append("broken")
    yield from (UnreadableItem(items[i], "empty file") for i in range(len(items)))


def test_equal_items_are_done_once_and_are_not_of_an_earlier_run(run: Run) -> None:
    results = list(run.spread(Lengths(2.0).score, Texts(("a", "b", "a", "b"))))
    assert plain(results[:2]) == plain(results[2:])
    assert (SEEN, run.tally["reused"]) == (["a", "b"], 0)


def test_what_cannot_be_written_is_done_again(run: Run) -> None:
    assert [e.name for e in run.spread(broken, Texts(("a",)))] == [e.name for e in run.spread(broken, Texts(("a",)))]
    assert SEEN == ["broken", "broken"]


def test_label_maps_come_back_with_the_photos_and_names_of_the_items(run: Run) -> None:
    photos = Pictures((picture(0, 1), picture(1, 2)))
    labels = np.full((12, 12), 65_535, np.uint16)
    panoptic = Panoptic(np.ones((12, 12), np.int32), (Segment(1, 0, 0.5, True, 144, (0, 0, 12, 12)),))
    whole = [
        Segmented(photos.name(i), photos[i], labels, ("x",), np.full((12, 12), 0.1, np.float32), panoptic)
        for i in range(2)
    ]

    def job(items: Samples[Any], run: Run) -> Iterator[Segmented]:
        SEEN.append("job")
        yield from whole

    list(run.spread(job, photos))
    swapped = Subset(photos, (0, 1))
    for one, same in zip(whole, run.spread(job, swapped), strict=True):
        assert (one.name, one.image.tobytes(), one.as_dict()) == (same.name, same.image.tobytes(), same.as_dict())
        for name in ("labels", "confidence"):
            assert getattr(one, name).dtype == getattr(same, name).dtype
            assert np.array_equal(getattr(one, name), getattr(same, name))
        assert np.array_equal(one.panoptic.ids, same.panoptic.ids)  # type: ignore[union-attr]
    assert SEEN == ["job"]
