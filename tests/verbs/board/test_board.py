from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.verbs.board.board import DATA, FOLDERS, ROW_SETTINGS, SLUGS, classes_of, the_same, whole_numbers
from diptych.verbs.board.systems import BoardDetect
from diptych.verbs.detect import Detect

SHOTS = whole_numbers("shots", "1,4,16")


def test_each_face_writes_values_in_its_way() -> None:
    assert SHOTS.read("1, 4,16") == SHOTS.read([1, 4, 16]) == SHOTS.read((1, 4, 16)) == (1, 4, 16)
    assert SHOTS.read(4) == (4,)
    assert SLUGS.read("gda, tip-adapter") == SLUGS.read(["gda", "tip-adapter"]) == ("gda", "tip-adapter")
    assert SLUGS.read(None) == ()
    of_lines = ROW_SETTINGS.read(["gaussian.k=3", "gaussian.side=4", "winclip.n=1"])
    assert of_lines == {"gaussian": {"k": "3", "side": "4"}, "winclip": {"n": "1"}}
    assert ROW_SETTINGS.read({"gaussian": {"k": 3}}) == {"gaussian": {"k": 3}}
    assert FOLDERS.read("a") == FOLDERS.read([Path("a")]) == (Path("a"),)
    assert FOLDERS.read(None) == ()
    assert DATA.read(Path("a/b")) == "a/b"


@pytest.mark.parametrize("value", ["one", [1, "x"], [1.9, 2.0], None])
def test_what_are_no_whole_numbers_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="shots takes whole numbers such as 1,4,16"):
        SHOTS.read(value)


def test_settings_without_a_system_and_fitted_objects_are_refused() -> None:
    with pytest.raises(UsageError, match=r"say whose epochs is, as SLUG\.epochs=VALUE"):
        ROW_SETTINGS.read({"epochs": 3})
    with pytest.raises(UsageError, match="fitted names folders, not a dict"):
        FOLDERS.read({"a": 1})


def test_a_system_itself_and_an_open_data_set_are_refused() -> None:
    with pytest.raises(UsageError, match="takes systems by their slugs, not 3"):
        SLUGS.read(["gda", 3])
    with pytest.raises(UsageError, match="a path or the name of a data set, not a dict"):
        DATA.read({})


def test_settings_without_a_system_that_is_fitted_are_refused() -> None:
    verb = BoardDetect.parsed("python", data="plate", fitted="kept", settings={"gaussian": {"k": 3}})
    with pytest.raises(UsageError, match="so settings has no effect"):
        verb.checked({"data", "fitted", "settings"})
    BoardDetect.parsed("python", data="plate", fitted="kept", methods="gaussian").checked({"data", "fitted", "methods"})


def test_an_argument_of_another_verb_keeps_its_help_and_flag() -> None:
    field = the_same(Detect, "thing", None)
    assert field.metadata["argument"] == Detect.arguments()["thing"] == BoardDetect.arguments()["thing"]


def test_names_that_are_numbers_are_remarked_on() -> None:
    names, remarks = classes_of(None, ("0", "1"))
    assert names.names == ("0", "1")
    assert len(remarks) == 1
    assert classes_of(["cat", "dog"], ("0", "1"), "a {}")[1] == []
