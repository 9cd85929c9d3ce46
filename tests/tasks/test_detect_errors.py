from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from diptych.core import Column, Subset, Table
from diptych.data.memory import InMemory
from diptych.tasks.detect import Detected, Detections, Ready
from diptych.tasks.detect_errors import labelled_errors, normal_too

KINDS = ("good", "print", "replay")
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
SCORES = (0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 0.4, 0.95)


def run(labels: np.ndarray = LABELS, threshold: float | None = 0.5, skip: int = -1) -> tuple[Detections, Table[None]]:
    names = tuple(f"{i}.png" for i in range(len(labels)))
    items = InMemory((None,) * len(labels), names, names)
    found = tuple(
        Detected(name, Subset(items, (i,)), SCORES[i], None, None) for i, name in enumerate(names) if i != skip
    )
    fitted: Any = None  # no photo is scored here
    ready = Ready(fitted, threshold, normal=(4, 0))
    return Detections(found, (), ready), Table(items, {"label": Column("label", labels)})


def test_rates_are_counted_by_kind() -> None:
    errors = labelled_errors(*run(), KINDS)
    assert errors is not None
    assert (errors["normal"], errors["items"], errors["anomalous"]) == (["good"], 8, 4)
    assert errors["image_auroc"] == pytest.approx(roc_auc_score(LABELS > 0, SCORES))
    assert (errors["false_alarms"], errors["detected"]) == (0.25, 0.75)
    assert errors["hter"] == (0.25 + 0.25) / 2
    assert errors["acer"] == (0.25 + 0.5) / 2  # half of the replays are missed


def test_photos_that_were_not_read_do_not_count() -> None:
    errors = labelled_errors(*run(skip=3), KINDS)
    assert errors is not None
    assert (errors["items"], errors["false_alarms"]) == (7, 0.0)


def test_without_a_threshold_only_the_ranking_counts() -> None:
    errors = labelled_errors(*run(threshold=None), KINDS)
    assert errors is not None
    assert {"eer", "image_ap"} <= errors.keys()
    assert not {"hter", "acer", "detected"} & errors.keys()


def test_groups_name_the_kinds_of_anomalies() -> None:
    result, photos = run(np.minimum(LABELS, 1))
    photos.columns["group"] = Column("group", np.array(KINDS)[LABELS])  # type: ignore[index]
    errors = labelled_errors(result, photos, ("normal", "anomalous"))
    assert errors is not None
    assert errors["acer"] == (0.25 + 0.5) / 2


def test_kinds_of_the_normal_photos_are_normal() -> None:
    renamed = ("nominal", "print", "replay")
    assert labelled_errors(*run(), renamed) is None
    errors = labelled_errors(*run(), renamed, {"nominal"})
    assert errors is not None
    assert errors["normal"] == ["nominal"]


@pytest.mark.parametrize("labels", [np.zeros(8, int), np.ones(8, int)])
def test_photos_of_one_kind_have_no_errors(labels: np.ndarray) -> None:
    assert labelled_errors(*run(labels), KINDS) is None


def test_photos_that_are_normal_ones_too_are_counted_by_their_content() -> None:
    one, two, three = (np.full((4, 4, 3), grey, np.uint8) for grey in (1, 2, 3))
    assert normal_too(InMemory([one, two]), InMemory([three], ["0"])) == ""
    some = normal_too(InMemory([one, two, three]), InMemory([three.copy(), "lost.jpg"]))
    assert some.startswith("1 of 3 photos is also given as {normal}. Such photos score low")
    assert normal_too(InMemory([one, two]), InMemory([two, one])).startswith("2 of 2 photos are also given")
