"""Draws are those of ``data.splits`` where all can be read; broken items are replaced in draw order and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from diptych.core import DataError, Run, Table, UsageError
from diptych.data.load import open_data
from diptych.data.splits import draw
from diptych.evaluation.few_shot.episodes import episode, measured
from tests.support.colours import ColourBackbone, colour_folder


def names(table: Table[object]) -> list[str]:
    return [table.items.name(i) for i in range(len(table))]


@pytest.mark.parametrize("rule", ["coop", "full"])
@pytest.mark.parametrize("splits", [{"train": 7, "test": 2}, {"train": 7, "val": 6, "test": 2}, {"train": 7, "val": 2}])
@pytest.mark.parametrize("shots", [1, 4])
def test_without_broken_files_the_draw_is_the_fields(
    tmp_path: Path, rule: str, splits: dict[str, int], shots: int
) -> None:
    data = open_data(colour_folder(tmp_path, splits))
    ours = episode(data, shots, 11, rule, ColourBackbone(), Run())  # type: ignore[arg-type]
    theirs = draw(data, shots, 11, rule)  # type: ignore[arg-type]
    assert names(ours.train) == names(theirs.train)
    assert names(ours.val) == names(theirs.val)
    assert ours.train.labels().tolist() == theirs.train.labels().tolist()
    assert ours.failed == ()
    assert not set(names(ours.train)) & set(names(ours.val))


def test_a_broken_shot_is_replaced_by_the_next_of_its_class(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "data", {"train": 7, "test": 2})
    whole = names(episode(open_data(folder), 3, 5, "coop", ColourBackbone(), Run()).train)
    longer = names(episode(open_data(folder), 4, 5, "coop", ColourBackbone(), Run()).train)
    victim = whole[1]
    Path(victim).write_bytes(b"broken")
    found = episode(open_data(folder), 3, 5, "coop", ColourBackbone(), Run())
    assert [e.name for e in found.failed] == [victim]
    assert names(found.train) == [longer[0], longer[2], longer[3], *whole[3:]]
    assert not set(names(found.train)) & set(names(found.val))
    assert victim not in names(found.val)


def test_only_what_is_drawn_is_read(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path, {"train": 30, "test": 1})
    run = Run()
    episode(open_data(folder), 1, 5, "coop", ColourBackbone(), run)
    assert run.tally["decoded"] == 5 * 2


def test_missing_splits_and_rules_are_refused(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "a", {"train": 2})
    with pytest.raises(DataError, match="only a train split"):
        measured(open_data(folder))
    with pytest.raises(DataError, match="only a train split"):
        episode(open_data(folder), 1, 5, "coop", ColourBackbone(), Run())
    folder = colour_folder(tmp_path / "b", {"train": 2, "test": 1})
    with pytest.raises(UsageError, match="'most'"):
        episode(open_data(folder), 1, 5, "most", ColourBackbone(), Run())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no readable item left after 2 shots"):
        episode(open_data(folder), 2, 5, "coop", ColourBackbone(), Run())
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match="no train split"):
        episode(open_data(folder), 1, 5, "coop", ColourBackbone(), Run())
