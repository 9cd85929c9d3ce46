"""The driver, with workers in a thread of this process; ``tests/tasks/test_cluster.py`` has those of Ray."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.core import Run, Texts
from diptych.features import embed
from diptych.features.embed import Arrays, embed_slices
from diptych.store.layers import open_vectors
from diptych.tasks.cluster import Shared
from diptych.tasks.encode import cluster
from diptych.tasks.encode.cluster import Crew, fill
from tests.support.encoders import Words


class OneThread:
    """Workers that are asked for six pieces at a time, and do one after the other."""

    size = 3

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.pieces = 0

    def submit(self, fn: Callable[..., Any], /, *given: Any) -> Future[Any]:
        self.pieces += 1
        return self._thread.submit(fn, *given)

    def share(self, value: Any) -> Shared[Any]:
        return Shared(uuid.uuid4().hex, lambda: value)  # an id comes again once its pool is gone


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (embed, cluster):
        monkeypatch.setattr(module, "SPAN", 64)
    monkeypatch.setattr(cluster, "PIECE", 2)


ENCODER = Words(mates=0.25)  # its vectors tell who else was in the batch
TEXTS = Texts(tuple(f"text {i * i % 230}" for i in range(400)))


def by_workers(items: Any, run: Run, pool: OneThread) -> Iterator[Arrays]:
    load: Any = partial(SimpleNamespace, encoders={"text": ENCODER})
    vectors = open_vectors(run)
    spans = fill(Crew(pool, load), ENCODER, items, run, None, vectors)
    return embed_slices(ENCODER, items, run, size=32, spans=spans, vectors=vectors)


def whole(parts: Iterator[Arrays]) -> np.ndarray:
    found = list(parts)
    assert np.concatenate([part.kept for part in found]).tolist() == list(range(len(TEXTS)))
    return np.concatenate([part.values for part in found])


def test_spans_have_the_bits_of_one_process(tmp_path: Path) -> None:
    one = whole(embed_slices(ENCODER, TEXTS, Run(cache=tmp_path / "a", batch=7), size=32))
    pool, run = OneThread(), Run(cache=tmp_path / "b", batch=7)
    assert whole(by_workers(TEXTS, run, pool)).tobytes() == one.tobytes()
    assert run.tally["encoded"] == len(set(TEXTS.values)), "a text that comes again in a later span is encoded once"
    assert whole(embed_slices(ENCODER, TEXTS, Run(cache=tmp_path / "c", batch=8), size=32)).tobytes() != one.tobytes()
    pool.pieces, again = 0, Run(cache=tmp_path / "b", batch=5)
    assert whole(by_workers(TEXTS, again, pool)).tobytes() == one.tobytes()
    assert (pool.pieces, again.tally["encoded"]) == (0, 0)


def test_a_driver_that_died_and_two_at_once_end_with_the_same_bits(tmp_path: Path) -> None:
    one = whole(embed_slices(ENCODER, TEXTS, Run(cache=tmp_path / "a", batch=7), size=32))
    dead = by_workers(TEXTS, Run(cache=tmp_path / "b", batch=7), OneThread())
    assert len(list(islice(dead, 3))) == 3
    dead.close()  # type: ignore[attr-defined]
    assert whole(by_workers(TEXTS, Run(cache=tmp_path / "b", batch=9), OneThread())).tobytes() != b""
    values = whole(by_workers(TEXTS, Run(cache=tmp_path / "b", batch=7), OneThread()))
    done = 3 * 32
    assert values[:done].tobytes() == one[:done].tobytes()
    two = [by_workers(TEXTS, Run(cache=tmp_path / "c", batch=7), OneThread()) for _ in range(2)]
    parts = list(zip_longest(*two))
    first, second = (whole(iter(part)) for part in zip(*parts, strict=True))
    assert first.tobytes() == second.tobytes() == one.tobytes()


def test_a_driver_holds_the_keys_of_a_few_spans(tmp_path: Path) -> None:
    """Each span has 64; ``benchmarks.keys`` measures the memory of the whole process."""
    _Key.most = _Key.alive = 0
    for batch in (16, 9):  # the second driver finds all of them
        run = Run(cache=tmp_path, batch=batch)
        assert sum(len(part.kept) for part in by_workers(_Numbers(3000), run, OneThread())) == 3000
    assert 64 <= _Key.most <= (2 + cluster.AHEAD) * 64, f"{_Key.most} keys at a time"


class _Key(str):
    """A key that counts how many there are."""

    alive = most = 0

    def __new__(cls, text: str) -> _Key:
        cls.alive += 1
        cls.most = max(cls.most, cls.alive)
        return super().__new__(cls, text)

    def __del__(self) -> None:
        type(self).alive -= 1


class _Numbers(Texts):
    """Texts that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        super().__init__(())
        object.__setattr__(self, "count", count)

    def __len__(self) -> int:
        return int(self.__dict__["count"])

    def __getitem__(self, index: int) -> str:
        return str(range(len(self))[index])

    def key(self, index: int) -> str:
        return _Key(Texts((self[index],)).key(0))

    def name(self, index: int) -> str:
        return self[index]


class _Unhurried(dict[str, Any]):
    """A dictionary that lets other threads go on after each change."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        time.sleep(1e-3)


def test_two_threads_fetch_each_its_own_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.tasks.cluster._FETCHED", _Unhurried())
    values = [Shared(uuid.uuid4().hex, partial(int, number)) for number in range(2)]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda i: values[i % 2].value(), range(20))) == [0, 1] * 10
