"""A board that was killed after any of its cells, or at any batch of its encoders, ends with the numbers of one that
was not: all of them, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from diptych.core import Run
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.evaluation import kept
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.plan import Plan
from diptych.store.store import Store
from tests.support.colours import ColourBackbone, colour_folder

PLAN = Plan(("zero-shot", "gda", "tip-adapter"), (1,), (1, 2))
CLOCKS = ("seconds", "peak_memory_mib", "date", "command")
"""What no two runs share."""


class Killed(BaseException):
    """Ends a board where it stands, as SIGKILL does: only the end of blocks sees it."""


def numbers(made: Board) -> dict[str, Any]:
    """Return all numbers of a board, its own and those of its records: metrics, intervals, gains and calibration."""

    def flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key not in CLOCKS:
                    yield from flat(inner, f"{name}/{key}")
        elif isinstance(value, (list, tuple)):
            for i, inner in enumerate(value):
                yield from flat(inner, f"{name}/{i}")
        else:
            yield name, value.hex() if isinstance(value, float) else value

    found = {}
    for row in made.rows:
        told = {"metrics": row.metrics, "ci95": row.ci95, "gain": vars(row.gain) if row.gain else {}, "p": row.p}
        found |= dict(flat({**told, "records": [r.as_dict() for r in row.records]}, f"{row.label}/{row.shots}"))
    return found


def killed_at(what: str, number: int, patch: pytest.MonkeyPatch) -> None:
    """Kill the board once it has saved so many rows, or before it stores so many batches of vectors."""
    seen: list[str] = []
    save, put = kept.write_json, Store.put

    def saved(path: Path, row: Any, *, overwrite: bool) -> None:
        save(path, row, overwrite=overwrite)
        seen.append("row")
        if seen.count(what) == number:
            raise Killed

    def stored(self: Store, *given: Any, **more: Any) -> None:
        seen.append("batch")
        if what == "batch" and seen.count(what) == number:
            raise Killed
        put(self, *given, **more)

    patch.setattr(kept, "write_json", saved)
    patch.setattr(Store, "put", stored)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    return open_data(colour_folder(tmp_path_factory.mktemp("photos"), {"train": 8, "test": 6}))


def made(photos: LabelledData, root: Path) -> Board:
    return board(photos, ColourBackbone(), Run(cache=root / "cache", out=root / "out", batch=20), PLAN)


@pytest.mark.parametrize(("what", "step"), [("row", 1), ("batch", 3)])
def test_all_numbers_are_those_of_a_board_that_was_not_killed(
    photos: LabelledData, tmp_path: Path, what: str, step: int
) -> None:
    whole = numbers(made(photos, tmp_path / "whole"))
    assert {name.rpartition("/")[2] for name in whole} >= {"ece", "nll", "temperature", "acc1"}
    number = 1 - step
    while True:
        number += step
        root = tmp_path / f"{what}{number}"
        with pytest.MonkeyPatch.context() as patch:
            killed_at(what, number, patch)
            try:
                made(photos, root)
                break
            except Killed:
                pass
        after = numbers(made(photos, root))
        assert after == whole, f"killed at {what} {number}"
    assert number > 5, "it was killed at the first cell, at the last, and between"
