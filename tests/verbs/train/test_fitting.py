"""What trainings and boards of trainings share."""

from __future__ import annotations

from diptych.catalog import find
from diptych.verbs.train.fitting import DATA_SETS, PartNames
from diptych.verbs.train.pretrain import Pretrain


def test_data_sets_are_one_or_several_and_paths_with_commas_on_the_command_line() -> None:
    data = {"test": object()}
    assert DATA_SETS.read(data) == (data,)
    assert DATA_SETS.read(["a, b", data]) == ("a, b", data)
    assert DATA_SETS.read("a, b") == ("a, b",)
    assert DATA_SETS.read(DATA_SETS.typed("a, b")) == ("a", "b")


def test_parts_are_read_by_systems_that_need_them() -> None:
    reads = {name: argument.reads for name, argument in PartNames.arguments().items()}
    plain, rewrites = find("clip-loss"), find("laclip")
    assert all(read is not None and not read(plain) for name, read in reads.items() if name != "scorer")
    assert reads["rewrites"](rewrites)  # type: ignore[misc]


def test_the_rate_is_that_of_the_parts_and_of_random_weights() -> None:
    assert Pretrain(data="d").rate() == 1e-5
    assert Pretrain(data="d", parts="heads").rate() == 3e-4
    assert Pretrain(data="d").rate(scratch=True) == 5e-4
    assert Pretrain(data="d", lr=0.5).rate(scratch=True) == 0.5
