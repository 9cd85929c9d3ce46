"""Few-shot draws, and base and new classes, as in the usual protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.labelled import LabelledData

ValRule = Literal["coop", "full"]


@dataclass(frozen=True)
class Draw:
    """Training, validation and test items of one few-shot run. The three tables share no item.

    Args:
        train: the shots.
        val: items on which choices are made.
        test: items for the reported number, on which no choice is made.
        measured: the split of ``test``: "test", or "val" where there is no test split.
        chosen_on: the split of ``val``: "val", or "train" for its items that are no shots.
    """

    train: Table[Any]
    val: Table[Any]
    test: Table[Any]
    measured: str
    chosen_on: str


def few_shot(labels: NDArray[np.int64] | Sequence[int], shots: int, seed: int, skip: int = 0) -> NDArray[np.int64]:
    """Draw items of each class without replacement.

    Args:
        labels: (N,) class positions.
        shots: items per class; of a class with fewer, all are drawn.
        seed: integer from 0, such as ``run.integer(purpose)``.
        skip: number of items to leave out at the start of each class's draw order (default 0).

    Returns:
        (M,) positions, class by class in draw order. With one seed the 4-shot draw contains the 1-shot draw, and no
        class's draw depends on the other classes.

    Raises:
        UsageError: fewer than one shot.
    """
    if shots < 1:
        raise UsageError(f"shots must be at least 1 a class, got {shots}.")
    classes = np.asarray(labels, dtype=np.int64)
    drawn = [_in_draw_order(classes, int(k), seed)[skip : skip + shots] for k in np.unique(classes)]
    return np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int64)


def _in_draw_order(classes: NDArray[np.int64], k: int, seed: int) -> NDArray[np.int64]:
    """Return the positions of the items of class k, shuffled by the seed."""
    members = np.flatnonzero(classes == k)
    return members[np.argsort(np.random.default_rng([seed, k]).random(members.size), kind="stable")]


def hold_out(labels: NDArray[np.int64] | Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Divide items by class into those to fit on and those to choose on.

    Args:
        labels: (N,) class positions.
        seed: integer from 0, such as ``run.integer(purpose)``.

    Returns:
        Positions of the kept and of the held-out items, each ascending. Of a class of n items max(n // 5, min(n // 2,
        4)) are held out: a fifth, but where there are few, up to four, as CoOp does, and at most half.

    Example:
        >>> kept, held = hold_out([0, 0, 0, 1, 1, 2], seed=0)
        >>> len(kept), len(held), 5 in kept
        (4, 2, True)
    """
    classes = np.asarray(labels, dtype=np.int64)
    held: set[int] = set()
    for k in np.unique(classes):
        drawn = _in_draw_order(classes, int(k), seed)
        held.update(drawn[: max(len(drawn) // 5, min(len(drawn) // 2, 4))].tolist())
    return [i for i in range(len(classes)) if i not in held], sorted(held)


def draw(data: LabelledData, shots: int, seed: int, val: ValRule = "coop") -> Draw:
    """Draw one few-shot run from a data set.

    - Test items are the test split, or val where there is no test split.
    - Validation items are the val split. Where it is missing, or is the test items, they are train items that were not
      drawn.

    Args:
        data: has a train split, and test or val.
        shots: train items per class.
        seed: integer from 0, such as ``run.integer(purpose)``.
        val: "coop" takes min(shots, 4) val items per class, as CoOp (default); "full" takes all, as Tip-Adapter and
            GDA publish.

    Raises:
        DataError: no train split, neither test nor val, or no train item left to choose on.
        UsageError: fewer than one shot, or an unknown rule.

    Source: CoOp (IJCV 2022), section 4.1; Tip-Adapter (ECCV 2022), section 4.1.
    """
    if val not in ("coop", "full"):
        raise UsageError(f"{val!r} is no rule for val: choose 'coop' or 'full'.")
    train = data.split("train")
    labels = train.labels()
    drawn = few_shot(labels, shots, seed)
    measured = "test" if "test" in data.splits else "val"
    if measured not in data.splits:
        raise DataError(f"{data.name} has only a train split, so nothing can be measured: add a folder named 'test'.")
    few = min(shots, 4)
    if measured == "test" and "val" in data.splits:
        pool = data.splits["val"]
        validation = pool if val == "full" else pool.take(few_shot(pool.labels(), few, seed).tolist())
    else:
        rest = few_shot(labels, few, seed, skip=shots) if val == "coop" else np.setdiff1d(np.arange(len(train)), drawn)
        if not rest.size:
            where = f"{data.name} has no train item left after {shots} shots on which choices could be made"
            raise DataError(f"{where}: add a 'val' folder beside 'test', or draw fewer.")
        validation = train.take(rest.tolist())
    chosen_on = "val" if measured == "test" and "val" in data.splits else "train"
    return Draw(train.take(drawn.tolist()), validation, data.splits[measured], measured, chosen_on)


def base_and_new(classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the positions of base and new classes. Base is the first half, rounded up.

    Source: CoCoOp (CVPR 2022), section 4.1.
    """
    half = (classes + 1) // 2
    return tuple(range(half)), tuple(range(half, classes))


def of_classes(table: Table[Any], classes: Sequence[int]) -> Table[Any]:
    """Return the items of some classes, with labels renumbered for these classes: ``classes[j]`` becomes j."""
    labels = table.labels()
    position = {k: j for j, k in enumerate(classes)}
    rows = [i for i, k in enumerate(labels.tolist()) if k in position]
    items = table.take(rows)
    return Table(
        items.items,
        {**items.columns, "label": Column("label", np.array([position[int(labels[i])] for i in rows], dtype=np.int64))},
    )
