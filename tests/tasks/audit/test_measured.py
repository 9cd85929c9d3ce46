from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import AuditData, ClassNames, DataError, Probe, Run, Subject, UsageError
from diptych.methods.audit.holistic_robustness import HolisticRobustness
from diptych.tasks.audit.measured import with_measured
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, table

SUBJECTS = {name: Subject.of(SmallBackbone(seed=i)) for i, name in enumerate(("one", "two", "three"))}


def written(folder: Path, *rows: str, head: str = "model,measure,value,about,low,high,count") -> Path:
    path = folder / "measured.csv"
    path.write_text("\n".join((head, *rows)))
    return path


def test_results_from_elsewhere_stand_beside_the_own_ones_and_get_a_slope(tmp_path: Path) -> None:
    rows = [f"{name},accuracy under 3D corruptions,{0.3 + i / 10},fog,,," for i, name in enumerate(SUBJECTS)]
    known = with_measured(SUBJECTS, written(tmp_path, *rows, "two,choices right,0.5,,0.4,0.6,200"))
    assert [len(s.measured) for s in known.values()] == [1, 2, 1]
    assert [len(s.measured) for s in SUBJECTS.values()] == [0, 0, 0]
    (_, choices) = known["two"].measured
    assert (choices.measure, choices.value, choices.interval, choices.count) == ("choices_right", 0.5, (0.4, 0.6), 200)
    same = {name: Subject(s.kit, SUBJECTS["one"].record, s.measured) for name, s in known.items()}
    own = AuditData({"own": Probe(table([0, 1, 2, 3] * 8, 1), "id", ClassNames(NAMES))})
    report = HolisticRobustness(factors=("darker",)).audit(same, own, Run())
    values = {f.subject: f.value for f in report if f.measure == "accuracy_under_3D_corruptions"}
    assert values == {"one": 0.3, "two": 0.4, "three": 0.5}


def test_lines_go_through_the_models_of_one_record(tmp_path: Path) -> None:
    from diptych.core import ModelRecord

    rows = [f"{name},choices,{0.3 + i / 10}" for i, name in enumerate(SUBJECTS)]
    known = with_measured(SUBJECTS, written(tmp_path, *rows, head="model,measure,value"))
    known = {name: Subject(s.kit, ModelRecord(family="clip"), s.measured) for name, s in known.items()}
    own = AuditData({"own": Probe(table([0, 1, 2, 3] * 8, 1), "id", ClassNames(NAMES))})
    report = HolisticRobustness(factors=("darker",)).audit(known, own, Run())
    accuracy = [f.value for f in report if f.measure == "accuracy"]
    assert len(set(accuracy)) > 1, "otherwise there is no line"
    (slope,) = [f for f in report if f.measure == "slope" and f.about == "choices"]
    assert (slope.subject, slope.count) == ("family=clip", 3)


@pytest.mark.parametrize(
    ("rows", "head", "says", "error"),
    [
        (["one,0.5"], "model,value", "has no 'measure'", DataError),
        (["one,,0.5"], "model,measure,value", "has no measure", DataError),
        (["four,choices,0.5"], "model,measure,value", "Row 1 .* is about 'four'", UsageError),
        (["one,choices,50"], "model,measure,value", "Row 1 .* is not a result", DataError),
        (["one,choices,half"], "model,measure,value", "Row 1 .* is not a result", DataError),
        (["one,choices,0.5,0.9,0.1"], "model,measure,value,low,high", "Row 1 .* is not a result", DataError),
    ],
)
def test_bad_tables_get_a_sentence(tmp_path: Path, rows: list[str], head: str, says: str, error: type) -> None:
    with pytest.raises(error, match=says):
        with_measured(SUBJECTS, written(tmp_path, *rows, head=head))
