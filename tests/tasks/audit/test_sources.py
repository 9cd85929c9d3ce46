"""Heads on sources: what they are trained and tested on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, Column, DataError, Run, Table, UsageError
from diptych.tasks.audit.sources import DRAWS, Sources, audit_sources, drawn, head, ladder
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture

CLASSES = ClassNames(("red fox", "oak tree"))


def grouped(each: int = 10) -> Table[Any]:
    labels = np.repeat([0, 1], 2 * each)
    domains = np.tile(np.repeat(["photo", "sketch"], each), 2)
    noise = np.where(domains == "photo", 40.0, 90.0)
    images = tuple(picture(int(k), i, float(s)) for i, (k, s) in enumerate(zip(labels, noise, strict=True)))
    return Table(Pictures(images), {"label": Column("label", labels), "group": Column("group", domains)})


def test_rows_are_drawn_in_equal_shares() -> None:
    labels, pools = np.tile([0, 1, 2], 20), [np.arange(0, 30), np.arange(30, 60)]
    rows = drawn(labels, pools, 8, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 24
    assert (rows < 30).sum() == 12
    assert np.bincount(labels[rows]).tolist() == [8, 8, 8]
    assert ladder(7) == (2, 4)


def test_a_head_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    z = torch.nn.functional.normalize(torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    y = np.arange(60) % 3
    weight, bias = head(z, y, 3)
    known = LogisticRegression(C=10.0, tol=1e-8, max_iter=1000).fit(z.double().numpy(), y)
    ours = torch.softmax(z @ weight.T + bias, dim=1).numpy()
    np.testing.assert_allclose(ours, known.predict_proba(z.double().numpy()), atol=1e-4)


def test_no_picture_trains_and_tests() -> None:
    own = Sources.of(grouped(), CLASSES, ("sketch", "photo"), Run(seed=1))
    rows = [r for part in (own.train, own.test) for source in part.values() for r in source.tolist()]
    assert sorted(rows) == list(range(40))
    assert [(name, p.role) for name, p in own.probes().probes.items()] == [("sketch", "id"), ("photo", "shift")]


def test_heads_of_both_sources_and_of_the_mixture() -> None:
    table = grouped()
    own = Sources.of(table, CLASSES, (), Run())
    subjects = own.subjects(SmallBackbone(), Run())
    counts: dict[str, int] = {}
    for subject in subjects.values():
        counts[subject.record.source] = counts.get(subject.record.source, 0) + 1
        assert subject.record.size in (4, 8)
    assert counts == {"photo": 2 * DRAWS, "sketch": 2 * DRAWS, "photo+sketch": 2 * DRAWS}
    findings, failed = audit_sources(table, CLASSES, SmallBackbone(), Run())
    assert {f.subject for f in findings} >= {"source=photo", "source=sketch", "source=photo+sketch"}
    assert failed == ()


def test_bad_sources_are_named() -> None:
    with pytest.raises(UsageError, match="no group 'web': choose from photo, sketch"):
        Sources.of(grouped(), CLASSES, ("photo", "web"), Run())
    with pytest.raises(UsageError, match="got 1"):
        Sources.of(grouped(), CLASSES, ("photo",), Run())
    with pytest.raises(DataError, match="red fox has 7 pictures in photo, and needs 8"):
        Sources.of(grouped(7), CLASSES, (), Run())
