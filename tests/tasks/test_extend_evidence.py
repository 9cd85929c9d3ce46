from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError
from diptych.data.modalities import STARS
from diptych.tasks.extend_evidence import classes_of, evidence_of, learnable, readable, refuse_shared, unlabelled_of
from tests.support.sky import TINY, sky


def test_samples_that_cannot_be_read_or_are_measured_too_are_refused(tmp_path: Path) -> None:
    table = STARS.open([str(sky(tmp_path / "sky"))]).split("test")
    with pytest.raises(DataError, match="None of the 1 light curves can be read; the first: s22"):
        readable(table.take([6]), STARS)
    with pytest.raises(DataError, match="3 measured light curves are also learnt from, s16 first"):
        refuse_shared(table.items, table.take([0, 1, 2]).items, STARS)


def test_stars_give_labelled_and_unlabelled_curves(tmp_path: Path) -> None:
    data = STARS.open([str(sky(tmp_path / "sky"))])
    labelled, _ = learnable(TINY, data, STARS)
    assert labelled is not None
    unlabelled, failed = unlabelled_of(TINY, data, labelled, STARS)
    assert unlabelled is not None
    assert (len(labelled), len(unlabelled), [e.name for e in failed]) == (15, 16, [])
    classes = classes_of(data, STARS)
    assert classes.templates == ("{}",)
    evidence = evidence_of(TINY, data, labelled, unlabelled, classes, "test")
    assert (evidence.train, evidence.val, evidence.unlabelled) == (None, None, unlabelled)
