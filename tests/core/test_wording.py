from __future__ import annotations

import os
from pathlib import Path

import pytest

from diptych.core import ClassNames
from diptych.core.wording import aligned, from_here, lacks, none_readable, number_of, renamed


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 pictures have"), (1, "1 picture has"), (2000, "2,000 pictures have")]
)
def test_one_is_singular(count: int, said: str) -> None:
    assert number_of(count, "picture has", "pictures have") == said


def test_a_sentence_of_nothing_that_can_be_read_counts_as_people_do() -> None:
    assert none_readable(0, "photos", []) == "There are no photos: give some."
    assert none_readable(1, "photos", ["a: cut"], " of x") == "The only photo of x cannot be read: a: cut."
    assert none_readable(3, "light curves", ["a: cut"]) == "None of the 3 light curves can be read; the first: a: cut."


def test_names_fill_the_same_columns_of_a_terminal() -> None:
    """A Japanese letter takes two columns, and a combining mark none."""
    assert aligned(["旅行.jpg", "Ko\u0308ln.jpg", "a.jpg"], 60) == ["旅行.jpg", "Ko\u0308ln.jpg", "a.jpg   "]
    assert aligned(["a" * 61, "b"], 60) == ["a" * 61, "b"]


def test_a_path_beside_the_working_directory_is_relative_where_that_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert from_here(str(tmp_path / "photos" / "cat.jpg")) == os.path.join("..", "photos", "cat.jpg")
    assert from_here(str(tmp_path / "work" / "cat.jpg")) == "cat.jpg"
    assert from_here(str(tmp_path / "work" / "-r.jpg")) == os.path.join(".", "-r.jpg")
    assert from_here("/cat.jpg") == "/cat.jpg"


class _Broken:
    @property
    def size(self) -> int:
        return len("abc".missing)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        raise lacks(self, name)


def test_a_property_that_fails_says_why() -> None:
    with pytest.raises(AttributeError, match="'str' object has no attribute 'missing'"):
        _ = _Broken().size


def test_what_is_not_there_leads_to_what_is() -> None:
    names = ClassNames(("a", "b"))
    assert str(lacks(names, "labels", {"labels": "names"})) == "A ClassNames has no 'labels': use names."
    assert str(lacks(names, "_labels")) == "A ClassNames has no '_labels'."
    error = lacks(names, "labels")
    assert "has no 'labels': it has " in str(error)
    assert {"names", "templates"} <= set(str(error).split("it has ")[1].rstrip(".").split(", "))
    assert (error.name, error.obj) == ("labels", names)


def test_what_is_not_there_is_named_as_the_caller_says_among_names_that_are_given() -> None:
    names = ClassNames(("a", "b"))
    error = lacks(names, "reds", called="The table", names=["red", "blue", "_hidden"])
    assert str(error) == "The table has no 'reds': did you mean red?"
    error = lacks(names, "size", called="The table", names=["red", "blue", "_hidden"])
    assert str(error) == "The table has no 'size': it has blue, red."
    assert str(lacks(names, "_size", called="The table")) == "The table has no '_size'."
    assert str(lacks(names, "size", names=["_hidden"])) == "A ClassNames has no 'size'."


def test_a_former_name_warns_where_it_is_written() -> None:
    def old() -> None:
        renamed("old()", "new()")

    with pytest.warns(
        DeprecationWarning, match=r"old\(\) is now new\(\): the old name works in this version"
    ) as caught:
        old()
    assert caught[0].filename == __file__
