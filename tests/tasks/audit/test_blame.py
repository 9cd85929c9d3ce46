from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from diptych.core import AuditData, ClassNames, Column, Probe, Run, Subject, Table
from diptych.features.subjects import embeddings
from diptych.tasks.audit.blame import blame, nearest_rows, suspected, vote
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, Pictures, picture, table

CLASSES = ClassNames(NAMES)
SUBJECT = Subject.of(SmallBackbone())


def given(planted: int = 0, per_class: int = 12) -> tuple[AuditData, list[int]]:
    """Return tables whose first ``planted`` training pictures of class 1 are labelled 0."""
    labels = np.arange(4 * per_class) % 4
    shown = table(labels.tolist(), 1)
    wrong = [int(i) for i in np.flatnonzero(labels == 1)[:planted]]
    labels[wrong] = 0
    lesson = Table(shown.items, {"label": Column("label", labels)})
    own = table([0, 1, 2, 3] * 10, 2)
    return AuditData({"own": Probe(own, "id", CLASSES), "shots": Probe(lesson, "train", CLASSES)}), wrong


def test_votes_against_scikit_learn() -> None:
    data, _ = given()
    own, lesson = data.probes["own"], data.probes["shots"]
    z, bank = (embeddings(SUBJECT, p.table.items, Run()).double().numpy() for p in (own, lesson))
    taught = lesson.table.labels()
    near = nearest_rows(z @ bank.T, 3)
    model = KNeighborsClassifier(3, metric="cosine").fit(bank, taught)
    counts = np.round(3 * model.predict_proba(z))
    clear = (counts == counts.max(1, keepdims=True)).sum(1) == 1
    assert (vote(near, taught, 4)[clear] == model.predict(z)[clear]).all()
    assert vote(np.array([[2, 0, 1]]), np.array([0, 1, 2]), 3).tolist() == [2], "of a tie the nearest voter wins"


def test_planted_labels_are_suspected_and_no_others() -> None:
    data, wrong = given(planted=3)
    found = blame(SUBJECT, data, Run())
    assert found is not None
    lesson = data.probes["shots"].table
    suspects = {s.key for s in found.suspects}
    assert suspects == {lesson.items.key(i) for i in wrong}
    assert {(s.label, s.suggested) for s in found.suspects} == {(NAMES[0], NAMES[1])}
    clean = blame(SUBJECT, given()[0], Run())
    assert clean is not None
    assert clean.suspects == ()
    assert clean.confusions == ()
    assert clean.accuracy == pytest.approx(1.0)
    assert (clean.planted, clean.found) == (2, 2)


def test_the_pictures_that_voted_for_a_confusion_are_named() -> None:
    data, wrong = given(planted=10)
    found = blame(SUBJECT, data, Run())
    assert found is not None
    (first, *_) = found.confusions
    assert (first.true, first.predicted) == (NAMES[1], NAMES[0])
    lesson = data.probes["shots"].table
    assert {b.key for b in first.blamed} <= {lesson.items.key(i) for i in wrong}
    assert all(b.count <= first.count for b in first.blamed)
    assert len(first.pictures) <= 3
    assert found.as_dict()["confusions"][0]["count"] == first.count


def test_without_training_pictures_there_is_nobody_to_blame() -> None:
    data, _ = given()
    assert blame(SUBJECT, AuditData({"own": data.probes["own"]}), Run()) is None
    assert blame(SUBJECT, AuditData({"shots": data.probes["shots"]}), Run()) is None
    one = Probe(Table(Pictures((picture(0, 1),)), {"label": Column("label", np.array([0]))}), "train", CLASSES)
    assert blame(SUBJECT, AuditData({"own": data.probes["own"], "shots": one}), Run()) is None
    assert suspected(np.eye(2), np.array([0, 1]), 2) == [(0, 1, 1.0), (1, 0, 1.0)]
