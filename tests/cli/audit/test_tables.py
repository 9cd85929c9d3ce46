from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.cli.audit.tables import MoreTables
from diptych.cli.options import RunOptions
from diptych.core import Run, UsageError
from tests.support.colours import ColourBackbone, colour_folder

Cli = Callable[..., Any]


def test_further_tables_are_named_by_their_last_part_or_as_told(tmp_path: Path) -> None:
    own = colour_folder(tmp_path / "own", {"test": 2})
    night = colour_folder(tmp_path / "night", {"": 2})
    more = MoreTables(shift=[f"dark={night}"], ood=[str(night)])
    with RunOptions().open() as opened:
        given = more.open(str(own), opened)
        assert (list(given.shifts), list(given.others), given.own.name) == (["dark"], ["night"], "own")
        data, failed = given.gathered(None, ColourBackbone(), Run())
    assert {name: p.role for name, p in data.probes.items()} == {"own": "id", "dark": "shift", "night": "ood"}
    assert not failed


@pytest.mark.parametrize("given", [["a=x", "a=y"], ["=x"], ["a="]])
def test_a_name_that_is_missing_or_given_twice_is_refused(tmp_path: Path, given: list[str]) -> None:
    own = colour_folder(tmp_path / "own", {"test": 2})
    for path in ("x", "y"):
        colour_folder(tmp_path / path, {"": 1})
    more = MoreTables(shift=[g.replace("x", str(tmp_path / "x")).replace("y", str(tmp_path / "y")) for g in given])
    with RunOptions().open() as opened, pytest.raises(UsageError, match="shift takes NAME=DATA"):
        more.open(str(own), opened)
