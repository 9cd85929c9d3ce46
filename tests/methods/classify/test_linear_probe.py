from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import DataError, Kit, MissingEvidence, Run
from diptych.methods.classify.linear_probe import EQUAL, GRID, LinearProbe
from tests.support.pictures import table, task
from tests.support.refused import refused


def test_val_chooses_the_best_and_ties_go_to_the_least_cross_entropy(kit: Kit, run: Run) -> None:
    names, evidence, test = task()
    chosen = LinearProbe().fit(kit, names, evidence, run)
    assert evidence.val is not None
    labels = evidence.val.labels()

    def judged(c: float) -> tuple[float, float]:
        scores = LinearProbe(C=c).fit(kit, names, evidence, run).scores(evidence.val.items, run)
        values = scores.values.double().numpy()
        logs = values - np.log(np.exp(values - values.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
        logs -= values.max(axis=1, keepdims=True)
        right = (scores.predicted().numpy() == labels).mean()
        return float(right), float(-logs[np.arange(len(labels)), labels].mean())

    each = [judged(c) for c in GRID]
    most = max(right for right, _ in each)
    tied = [i for i, (right, _) in enumerate(each) if right == most]
    assert len(tied) > 1, "so that there is something to break"
    least = min(each[i][1] for i in tied)
    assert next(GRID[i] for i in tied if each[i][1] <= least + EQUAL) == chosen.C
    assert GRID[tied[0]] < chosen.C, "the smallest penalises most, and its probabilities are nearly even"
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
