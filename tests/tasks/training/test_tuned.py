"""What a training made: its table, and its report, which is read again only where the settings are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diptych.core import Collapsed, Run
from diptych.data.files import write_json
from diptych.methods.finetune.full import Full
from diptych.tasks.training.tuned import Tuned, lengthens, read_finished
from diptych.train.schedule import Fit
from tests.support.colours import ColourBackbone

FIT = Fit(lr=1e-3, batch=4, steps=10)


def tuned(folder: Path) -> Tuned:
    facts = {"method": "full", "parts": "all", "seed": 0, "steps": 10, "fit": FIT.as_dict()}
    return Tuned(ColourBackbone(), {"red": {"acc1": 0.5}}, {"red": {"acc1": 0.75}}, facts, folder)


def test_measures_are_a_table(tmp_path: Path) -> None:
    assert tuned(tmp_path).rows() == [("red", "acc1", "0.500", "0.750", "+0.250")]
    assert repr(tuned(tmp_path)).splitlines()[1:] == [
        "data set  metric  before  after  change", "red       acc1     0.500  0.750  +0.250",
    ]  # fmt: skip


def test_a_report_of_other_settings_is_no_finished_training(tmp_path: Path) -> None:
    assert read_finished(Full(), FIT, "all", Run(), tmp_path) is None
    write_json(tmp_path / "report.json", tuned(tmp_path).as_dict())
    for fit, parts, run in ((replace(FIT, lr=1e-2), "all", Run()), (FIT, "image", Run()), (FIT, "all", Run(seed=1))):
        assert read_finished(Full(), fit, parts, run, tmp_path) is None
    write_json(tmp_path / "report.json", {**tuned(tmp_path).as_dict(), "doubt": "It is lost."}, overwrite=True)
    with pytest.raises(Collapsed, match="It is lost"):
        read_finished(Full(), FIT, "all", Run(), tmp_path)


def test_more_steps_lengthen_a_training(tmp_path: Path) -> None:
    assert not lengthens(FIT, tmp_path / "report.json")
    write_json(tmp_path / "report.json", tuned(tmp_path).as_dict())
    assert [lengthens(replace(FIT, steps=n), tmp_path / "report.json") for n in (10, 11)] == [False, True]
