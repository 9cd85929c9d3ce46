"""Work on a store for tests of kills and of several writers; loads NumPy only. ``python store_work.py MODE FOLDER``
runs one driver.

Vectors depend on the batch mates and their order, as matrix products do, only far more: a wrong batch shows in every
bit.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.store.sealed import Damage
from diptych.store.store import Store

DIM = 3
FACTS = {"encoder": "0f" * 32, "dim": DIM, "precision": "fp32", "views": None, "draw": 0}


def key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def vectors(keys: Sequence[str]) -> NDArray[np.float32]:
    """(n, 3): a number of the key, the number of the batch, the place in the batch."""
    mates = int(hashlib.sha256("/".join(keys).encode()).hexdigest()[:5], 16)
    return np.asarray([[int(k[:5], 16), mates, i] for i, k in enumerate(keys)], dtype=np.float32).reshape(-1, DIM)


def opened(folder: Path, damages: list[Damage] | None = None) -> tuple[Store, str]:
    store = Store(folder, merge=3, on_damage=([] if damages is None else damages).append)
    return store, store.space(FACTS)


def fill(
    folder: Path, keys: Sequence[str], size: int, damages: list[Damage] | None = None, seconds: float = 0.0
) -> tuple[NDArray[np.float32], int]:
    """Do what ``embed`` does: plan, encode, put. Returns the store's vectors and the number of batches encoded."""
    store, space = opened(folder, damages)
    count = 0
    missing = [
        k for k, hit in zip(keys, store.get(space, keys)[1], strict=True) if not hit and k not in store.failures(space)
    ]
    for batch in store.plan(space, missing, size=size, within=keys) if missing else []:
        if store.finished(space, batch):
            continue
        bad = {k: "not a picture" for k in batch.keys if k == key(4)}
        time.sleep(seconds * random.random())
        store.put(space, batch, vectors([k for k in batch.keys if k not in bad]), bad)
        count += 1
    return store.get(space, keys)[0], count


def dies(work: Callable[[], object], step: int, folder: Path) -> bool:
    """Run work in a child that kills itself before its step-th touch of the folder; tell whether it got so far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.scandir") and str(arguments[0]).startswith(
                str(folder)
            ):
                seen += 1
                if seen > step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_everywhere(folder: Path) -> None:
    """Kill at every step, then finish, and compare with a run that nobody killed. 11 keys, one broken, 5 batches, one
    merge.
    """
    keys = [key(i) for i in range(11)]
    whole, _ = fill(folder / "whole", keys, 2)
    for step in range(10_000):
        target = folder / str(step)
        if not dies(lambda t=target: fill(t, keys, 2), step, target):  # type: ignore[misc]
            break
        if step % 3 == 0:  # killed twice, the second time soon
            dies(lambda t=target: fill(t, keys, 2), 7, target)  # type: ignore[misc]
        damages: list[Damage] = []
        planned = any(target.glob("*/plans/*.json"))
        again, _ = fill(
            target, keys, 3 if planned else 2, damages
        )  # what is planned stays so, whatever the new batch size
        assert again.tobytes() == whole.tobytes(), f"other bits after a kill at step {step}"
        assert damages == [], f"a kill at step {step} looks like damage: {damages}"
        assert Store(target).verify() == []
        assert fill(target, keys, 2)[1] == 0, "a finished store encodes again"
        shutil.rmtree(target)
    assert step > 50, f"only {step} steps: the hook does not see the store"


def kill_merge(folder: Path) -> None:
    """Kill a merge at every step: nothing is lost, nothing is encoded again."""
    keys = [key(i) for i in range(5, 15)]
    for step in range(10_000):
        target = folder / str(step)
        store = Store(target, merge=10_000)
        space = store.space(FACTS)
        for batch in store.plan(space, keys, size=2):
            store.put(space, batch, vectors(batch.keys))
        before = store.get(space, keys)[0]
        killed = dies(lambda s=store, i=space: s.compact(i), step, target)  # type: ignore[misc]
        damages: list[Damage] = []
        again, encoded = fill(target, keys, 2, damages)
        assert (again.tobytes(), encoded, damages) == (before.tobytes(), 0, [])
        store, space = opened(target)
        store.compact(space)
        assert store.get(space, keys)[0].tobytes() == before.tobytes()
        if not killed:
            break
    assert step > 5


def many_writers(folder: Path) -> None:
    """Four processes fill overlapping keys in different batches; what one of them was told stays true for good."""
    for seed in range(6):
        target = folder / str(seed)
        asks = [(0, 40, 4), (0, 40, 4), (10, 60, 7), (5, 35, 3)]
        children = []
        for number, (first, last, size) in enumerate(asks):
            child = os.fork()
            if child == 0:
                random.seed(10 * seed + number)
                damages: list[Damage] = []
                told, _ = fill(target, [key(i) for i in range(first, last)], size, damages, seconds=0.002)
                np.save(folder / f"{seed}-{number}.npy", told)
                if damages:
                    sys.stderr.write("\n".join(str(d) for d in damages))
                os._exit(len(damages))
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        store, space = opened(target)
        assert store.verify() == []
        for number, (first, last, _) in enumerate(asks):
            now, found = store.get(space, [key(i) for i in range(first, last)])
            assert found.sum() == last - first - (first <= 4)
            assert now.tobytes() == np.load(folder / f"{seed}-{number}.npy").tobytes(), "an answer changed later"


if __name__ == "__main__":
    {"kill": kill_everywhere, "merge": kill_merge, "writers": many_writers}[sys.argv[1]](Path(sys.argv[2]))
    assert "torch" not in sys.modules, "the store loads torch"
