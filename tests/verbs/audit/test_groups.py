from __future__ import annotations

import json
from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, Finding, UsageError
from diptych.verbs.audit.groups import AuditSources, Sources
from tests.methods.audit.test_concept_association_bias import OBJECTS, TYPICAL, Bag, fruit


def test_the_drop_of_several_models_between_groups_of_a_file_or_open_data() -> None:
    found = diptych.audit.groups("set", group="light", against=["tiny"], out="groups.json")
    drop = next(f for f in found if f.measure == "drop" and not f.about)
    assert drop.value is not None
    assert drop.value > 0.5
    assert drop.control is not None
    assert found.data["reference"] == "lite"
    assert json.loads(Path("groups.json").read_text()).keys() == found.data.keys()
    table = found.to_pandas()
    assert set(table["subject"]) == {"lite", "tiny"}
    assert {"measure", "value", "low", "high", "control_held"} <= set(table)
    pytest.importorskip("matplotlib", reason="plots need the extra plot")
    points = found.plot().axes[0].lines[0].get_xdata().tolist()
    assert points == [f.value for f in found], "not the counts, which stand in a column of their own"
    opened = diptych.open_data("set", group="light", need="groups")
    assert diptych.audit.groups(opened)[0].value == found[0].value
    wide = diptych.audit.groups(opened, settings={"gap": 0.3})
    assert (wide.data["gap"], wide.data["settings"]) == (0.3, {"gap": 0.3})


def test_ranges_and_columns_are_checked_before_a_model_is_loaded() -> None:
    with pytest.raises(UsageError, match="selection= must be one of 'half', 'all', got 'both'"):
        diptych.audit.groups("set", "no-such-model", group="light", selection="both")
    with pytest.raises(UsageError, match="group="):
        diptych.audit.groups("set", "no-such-model")
    with pytest.raises(UsageError, match="group= names a column of a file, and this is a LabelledData"):
        diptych.audit.groups(diptych.open_data("set"), group="light")


def test_sources_are_groups_of_open_data_too() -> None:
    data = diptych.open_data("set", group="light", need="groups")
    with pytest.warns(UserWarning, match=r" is not testable\. ") as warned:
        found = diptych.audit.sources(data, sources=["dim", "bright"])
    assert {f.subject for f in found} == {"source=dim", "source=bright", "source=dim+bright"}
    assert [str(w.message) for w in warned] == list(found.remarks)
    assert all(" is not testable. " in line for line in found.remarks)
    assert found.data["seed"] == 0
    with pytest.raises(UsageError, match="A comparison of sources needs two, got 1"):
        diptych.audit.sources(data, sources="dim")
    with pytest.raises(UsageError, match="models must be at least 3, got 2"):
        diptych.audit.sources(data, settings={"models": 2})


def test_an_open_table_is_asked_for_any_column_of_its_groups() -> None:
    table = fruit(24)
    found = diptych.audit.association(table, Bag(1.0), attribute="attribute", names=OBJECTS)
    assert (len(found), found[0].value) == (1, 1.0)
    assert found.labels[0].startswith("Beside another object it names the right value in 0 %")
    few = diptych.audit.association(table, Bag(1.0), attribute="attribute", names=OBJECTS, settings={"most": 20})
    assert few[0].count == 20
    with pytest.raises(DataError, match="no column 'size', only label, attribute: give another attribute="):
        diptych.audit.association(table, Bag(1.0), attribute="size", names=OBJECTS)
    with pytest.raises(UsageError, match=r"template must hold one '\{object\}' and one '\{value\}'"):
        diptych.audit.association(table, Bag(1.0), attribute="attribute", template="a {value} thing")


def test_an_attribute_that_is_no_color_is_asked_about_in_words_of_its_own(tmp_path: Path) -> None:
    rows, items = ["path,class,taste"], fruit(24).items
    (tmp_path / "fruit").mkdir()
    for i in range(24):
        items[i].save(tmp_path / "fruit" / f"{i}.png")
        rows.append(f"{i}.png,{OBJECTS[i % 3]},{TYPICAL[OBJECTS[i % 3]]}")
    (tmp_path / "fruit" / "labels.csv").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="the color of the OBJECT is VALUE.', and the attribute is 'taste': ask about"):
        diptych.audit.association("fruit", Bag(1.0), attribute="taste")
    own = "In this picture, the {object} tastes {value}."
    assert diptych.audit.association("fruit", Bag(1.0), attribute="taste", template=own).remarks == ()


def test_what_is_not_testable_on_several_shifts_is_one_line() -> None:
    absent = [Finding.not_testable("source=a", "dilution", "Too few.", about=shift) for shift in ("night", "rain")]
    answer = Sources(AuditSources(data="x"), absent, [], [])
    assert answer.remarks(absent) == ["a on night, rain: dilution is not testable. Too few."]


def test_columns_of_what_is_no_file_are_refused() -> None:
    with pytest.raises(UsageError, match="label= names a column of a file, and this is a Table: give a path"):
        diptych.audit.association(fruit(6), Bag(1.0), attribute="attribute", label="kind")
