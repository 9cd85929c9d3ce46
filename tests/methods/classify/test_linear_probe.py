from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import DataError, Kit, MissingEvidence, Run
from diptych.methods.classify.linear_probe import GRID, LinearProbe
from tests.support.pictures import table, task
from tests.support.refused import refused


def test_val_chooses_the_best_and_ties_keep_the_smallest(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    chosen = LinearProbe().fit(kit, names, evidence, run)
    assert evidence.val is not None

    def accuracy(c: float) -> float:
        predicted = LinearProbe(C=c).fit(kit, names, evidence, run).scores(evidence.val.items, run).predicted()
        return float((predicted.numpy() == evidence.val.labels()).mean())

    scores = [accuracy(c) for c in GRID]
    assert GRID[int(np.argmax(scores))] == chosen.C
    assert chosen.scores(test.items, run).kind == "logit"


def test_a_given_c_needs_no_val(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    assert LinearProbe(C=10.0).fit(kit, names, replace(evidence, val=None), run).C == 10.0
    with pytest.raises(MissingEvidence, match=r"Choosing C needs evidence\.val"):
        LinearProbe().fit(kit, names, replace(evidence, val=None), run)


def test_it_learns_what_the_pictures_show_and_not_shuffled_labels(kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes=4, shots=8)
    right = LinearProbe().fit(kit, names, evidence, run).scores(test.items, run).predicted().numpy() == test.labels()
    assert right.mean() > 0.9


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    refused(LinearProbe, {"C": 0.0})
    with pytest.raises(DataError, match="'tea cup'"):
        LinearProbe().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)
    with pytest.raises(DataError, match="label 3"):
        LinearProbe().fit(kit, names, replace(evidence, val=table([0, 3], 1)), run)


@pytest.mark.parametrize(("classes", "shots"), [(1, 1), (2, 1), (4, 3)])
def test_sizes(classes: int, shots: int, kit: Kit, run: Run) -> None:
    names, evidence, test = task(classes, shots)
    fitted = LinearProbe().fit(kit, names, evidence, run)
    assert (fitted.weight.shape, fitted.bias.shape) == ((classes, 16), (classes,))
    assert fitted.scores(test.items, run).values.shape == (len(test), classes)
