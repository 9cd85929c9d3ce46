from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diptych import catalog
from diptych.core import Classifier, Kit, Run
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.board import board
from diptych.evaluation.few_shot.plan import Plan
from diptych.methods.classify import linear_probe, prolip
from diptych.nn.descent import Adam
from diptych.nn.logistic import logistic_path
from tests.support.backbone import SmallBackbone
from tests.support.colours import ColourBackbone
from tests.support.pictures import task

QUICK = {"dn-cbm": {"expansion": 0.5, "epochs": 3, "probe_epochs": 3}}
CHOOSING = [
    card["slug"]
    for card in catalog.cards()
    if card["verb"] == "classify"
    and "val" in card["needs"]["evidence"]
    and set(card["needs"]["hooks"]) <= {"image", "text"}
]  # fmt: skip


@pytest.mark.parametrize("slug", CHOOSING)
def test_a_fit_that_takes_over_what_an_earlier_one_learnt_equals_one_of_its_own(slug: str) -> None:
    """What is taken over must not have read val, nor be changed by the first fit or by scoring."""
    system = catalog.find(slug, Classifier)
    method = replace(catalog.row(system, next(iter(system.card.variants))), **QUICK.get(slug, {}))
    classes, evidence, test = task(classes=4, shots=4)
    assert evidence.val is not None
    less = replace(evidence, val=evidence.val.take(list(range(0, len(evidence.val), 3))))
    kit, run = Kit({"main": SmallBackbone()}), Run(seed=1)
    shared = replace(run, learnt={})
    for given in (evidence, less, evidence):
        alone = method.fit(kit, classes, given, run).scores(test.items, run).values
        assert torch.equal(method.fit(kit, classes, given, shared).scores(test.items, run).values, alone)


def test_a_board_minimises_and_trains_once_for_both_fits_and_for_equal_rows(
    data: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    minimised, trained = [], []
    monkeypatch.setattr(
        linear_probe, "logistic_path", lambda *given: (minimised.append(given), logistic_path(*given))[1]
    )
    monkeypatch.setattr(prolip, "Adam", lambda *given: (trained.append(given), Adam(*given))[1])
    plan = Plan(("linear-probe", "prolip"), (2,), (1,), "full")
    finished = board(data, ColourBackbone(), Run(), plan)
    assert [row.method for row in finished.rows] == ["linear-probe", "prolip", "prolip"]
    assert all(row.held["seen"] is False for row in finished.rows)
    assert len(minimised) == 1
    assert len(trained) == 1, "without a projection RLA is what auto is"
    first, second = finished.rows[1:]
    assert first.outcomes[0].predicted.tolist() == second.outcomes[0].predicted.tolist()
    assert second.seconds("fit") > 0.5 * first.seconds("fit"), "a row states what it takes alone"
