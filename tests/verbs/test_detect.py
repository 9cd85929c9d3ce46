from __future__ import annotations

import json
from pathlib import Path

import pytest

import diptych
from diptych.api.model import Model
from diptych.core import DiptychError, Run, UsageError
from diptych.methods.detect.feature_memory import FeatureMemory
from tests.support.dense_colours import DenseColours
from tests.support.scratches import scratched

MODEL = Model(DenseColours(), Run())
MEMORY = FeatureMemory(side=40)


def test_python_gives_the_rows_of_json_and_the_remarks_of_the_command() -> None:
    normal = scratched(24, 0, seed=1).items
    with pytest.warns(UserWarning, match="flagged above"):
        result = diptych.detect(scratched(4, 4, seed=3).items, MODEL, normal=normal, rate=0.1, method=MEMORY)
    assert any("9 kept aside" in line for line in result.remarks)
    assert list(result.as_dict()["remarks"]) == list(result.remarks)
    assert result.labels[4:] == ("anomalous",) * 4
    assert [row["score"] for row in result.as_dict()["photos"]] == [item.score for item in result]
    assert result.as_dict()["normal"]["aside"] == 9
    assert json.loads(result.to_json())["method"] == "feature-memory"


def test_a_setting_changes_the_system_and_a_wrong_one_is_named() -> None:
    photos, normal = scratched(1, 1, seed=3).items, scratched(6, 0, seed=1).items
    coarse, fine = (diptych.detect(photos, MODEL, normal=normal, settings={"side": side})[1].map for side in (24, 40))
    assert coarse is not None
    assert fine is not None
    assert coarse.shape != fine.shape
    with pytest.raises(UsageError, match="has no setting 'sid', did you mean 'side'"):
        diptych.detect(photos, MODEL, normal=normal, settings={"sid": 3})
    with pytest.raises(UsageError, match=r"side is of the type int \| None, not 'wide'"):
        diptych.detect(photos, MODEL, normal=normal, settings={"side": "wide"})


def test_scores_of_the_normal_photos_themselves_are_no_test() -> None:
    normal = scratched(3, 0, seed=1).items
    with pytest.warns(UserWarning, match="3 of 3 photos are also given as normal=. Such photos score low"):
        diptych.detect(normal, MODEL, normal=normal, method=MEMORY)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give normal=, photos without anomalies, or thing="),
        ({"thing": "nut", "rate": 0.1}, "give normal=, or leave out rate="),
        ({"normal": "x", "rate": 3.0}, r"rate= must be in \(0, 1\), got 3.0"),
        ({"normal": "x", "method": "anomalyclip"}, "give auxiliary="),
        ({"thing": "nut", "method": "gaussian"}, "gaussian does not read thing=, but"),
        ({"normal": "x", "method": FeatureMemory}, "is a class, not a system"),
    ],
)
def test_errors_name_the_arguments_of_python(given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.detect(scratched(1, 0, seed=3).items, MODEL, **given)  # type: ignore[arg-type]


def test_what_no_detector_reads_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(DiptychError, match="needs labelled anomalies of other objects to learn from"):
        diptych.detect(tmp_path / "nowhere", "no-such-model", normal=tmp_path, method="anomalyclip")
