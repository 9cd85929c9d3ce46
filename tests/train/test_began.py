"""What a training began with, which must be there again where it goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import Column, DataError, Run, Table, Texts, UsageError
from diptych.features.vectors import Vectors
from diptych.train.began import BEGAN, began_with, beginning_with, rows_digest
from diptych.train.loop import train
from diptych.train.schedule import Fit
from diptych.train.step import Step
from diptych.train.trial import TrialEnded, trial

VALUES = torch.tensor([[0.0], [1.0], [2.0]])
DATA = Table(Vectors(VALUES, Texts(("a", "b", "c"))))
FIT = Fit(0.1, 3, steps=5, optimizer="sgd", betas=(0.0, 0.0), decay=0.0)


def trained(out: Path, data: Table[Any] = DATA, resume: bool = True, /, **of: str) -> torch.nn.Linear:
    """Train a line from zero."""
    module = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    step = Step(module, lambda row, g: {"x": row.item}, lambda b: {"square": (module(b["x"]) - 3).square().mean()})
    with beginning_with(of):
        train(step, data, FIT, Run(out=out, workers=0), resume=resume)
    return module


@pytest.mark.parametrize(
    ("data", "of", "says"),
    [
        (DATA, {"backbone": "tiny"}, "backbone lite, now tiny"),
        (DATA, {}, "backbone lite, now none"),
        (DATA, {"backbone": "lite", "templates": "x" * 99}, r"\(other templates\)"),
        (Table(Vectors(VALUES, Texts(("a", "b", "d")))), {"backbone": "lite"}, "other rows to learn from"),
        (Table(DATA.items, {"label": Column("label", np.array([0, 1, 1]))}), {"backbone": "lite"}, "other rows"),
        (Table(DATA.items, {"captions": Column("captions", ("a", "b", "c"))}), {"backbone": "lite"}, "other rows"),
    ],
)
def test_nothing_else_is_resumed(tmp_path: Path, data: Table[Any], of: dict[str, str], says: str) -> None:
    """The settings are equal, so nothing but the file tells them apart."""
    whole = trained(tmp_path, backbone="lite")
    with pytest.raises(UsageError, match=says):
        trained(tmp_path, data, **of)
    assert torch.equal(trained(tmp_path, backbone="lite").weight, whole.weight)


def test_a_training_without_a_checkpoint_begins_with_what_is_given(tmp_path: Path) -> None:
    few = Table(Vectors(torch.zeros(1, 1), Texts(("a",))))
    for name in ("lite", "tiny"):
        with pytest.raises(DataError, match="do not fill one batch"):
            trained(tmp_path, few, False, backbone=name)
    assert json.loads((tmp_path / BEGAN).read_text()) == {"backbone": "tiny", "rows": rows_digest(few)}
    trained(tmp_path, DATA, False)
    assert began_with(tmp_path, {"backbone": "lite"}) == "", "the last one began without"


def test_one_that_an_earlier_version_began_goes_on(tmp_path: Path) -> None:
    trained(tmp_path, backbone="lite")
    (tmp_path / BEGAN).unlink()
    trained(tmp_path, backbone="tiny")
    assert began_with(tmp_path, {"backbone": "tiny"}) == ""


def test_a_finished_one_is_compared_by_what_both_say(tmp_path: Path) -> None:
    trained(tmp_path, backbone="lite", crop="0.9")
    assert began_with(tmp_path, {"backbone": "lite"}) == ""
    assert began_with(tmp_path, {"backbone": "tiny", "recolour": "True"}) == "backbone lite, now tiny"


def test_rows_count_in_their_order() -> None:
    labels = np.array([0, 1, 0])
    tables = [
        DATA,
        DATA.take([2, 1, 0]),
        replace(DATA, columns={"label": Column("label", labels)}),
        replace(DATA, columns={"group": Column("group", labels)}),
    ]
    assert len({rows_digest(table) for table in tables}) == len(tables)
    assert rows_digest(DATA.take([0, 1, 2])) == rows_digest(DATA)


def test_a_trial_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrialEnded), trial(2):
        trained(tmp_path / "out", backbone="lite")
    assert not list(tmp_path.iterdir())
