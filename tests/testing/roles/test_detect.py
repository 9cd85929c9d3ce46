from __future__ import annotations

import pytest

from diptych.core import Anomaly
from diptych.methods.detect.gaussian import Gaussian
from diptych.testing import ContractBroken
from diptych.testing.roles.detect import DetectorExam
from tests.support.answers import answered


@pytest.mark.parametrize(
    ("score", "count", "message"), [(float("nan"), 4, "no finite float"), (1, 4, "no finite float"), (1.0, 3, "get 3")]
)
def test_scores_that_are_none_are_refused(score: float, count: int, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        answered(DetectorExam(Gaussian), [Anomaly(score)] * count).answers_as_its_role_says()


def test_a_detector_that_learns_from_anomalies_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    exam = DetectorExam(Gaussian)
    exam.photos_that_are_no_normal_ones_are_refused()
    monkeypatch.setattr(DetectorExam, "fit", lambda *given: None)
    with pytest.raises(ContractBroken, match="without normal photos in train it must raise DataError"):
        exam.photos_that_are_no_normal_ones_are_refused()
