"""A part of a query says what is looked for, how much it counts and whether it is a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from diptych.core import UsageError
from diptych.tasks.search.term import Term, kind_of, only_words, refuse_folders


@pytest.mark.parametrize(
    ("text", "sign", "value", "weight"),
    [
        ("a dog", 1.0, "a dog", 1.0),
        (" 2:golden retriever ", 1.0, "golden retriever", 2.0),
        ("-.5: snow", 1.0, "snow", -0.5),
        ("0.5:snow", -1.0, "snow", -0.5),
        ("3:4: five", 1.0, "4: five", 3.0),
    ],
)
def test_words_may_have_a_weight(text: str, sign: float, value: str, weight: float) -> None:
    term = Term.parse(text, sign)
    assert (term.value, term.weight, term.is_picture) == (value, weight, False)


@pytest.mark.parametrize("text", ["", "2:", "0:dog", "lost.jpg", "2:lost.png"])
def test_nothing_no_weight_and_pictures_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Term.parse(text)


def test_a_folder_is_no_photo_and_an_address_is_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dogs").mkdir()
    monkeypatch.chdir(tmp_path)
    for text in (str(tmp_path), "2:dogs/", "./dogs"):
        with pytest.raises(UsageError, match="is a folder"):
            refuse_folders([Term.parse("cat"), Term.parse(text)])
    refuse_folders([Term.parse("dogs")])  # a word, though a folder is called so
    with pytest.raises(UsageError, match="is an address"):
        Term.parse("https://example.org/cat.jpg")
    assert [Term.parse(text).value for text in ("dogs", "day/night", "what is at a://b")] == [
        "dogs", "day/night", "what is at a://b",
    ]  # fmt: skip


def test_a_picture_below_the_home_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    assert Term.parse("2:~/a.png").is_picture
    assert Term.parse("~ 5 dogs").value == "~ 5 dogs"


def test_a_query_is_of_words_of_pictures_or_of_both(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    word, file, open_picture = (
        Term("red"),
        Term.parse(f"2:{tmp_path / 'a.png'}"),
        Term("a", photo=Image.new("L", (2, 2))),
    )
    assert (file.weight, file.is_picture, len(file.photos), len(open_picture.photos)) == (2.0, True, 1, 1)
    assert [kind_of(terms) for terms in ([word], [file], [open_picture], [word, file])] == [
        "text", "image", "image", "both",
    ]  # fmt: skip


def test_words_longer_than_a_file_name_may_be_are_words() -> None:
    assert not Term.parse("a globe on a table " * 40).is_picture
    with pytest.raises(UsageError, match="There is no picture"):
        Term.parse("x" * 400 + ".jpg")


@pytest.mark.parametrize("weight", [float("inf"), float("nan"), -float("inf")])
def test_a_weight_that_gives_no_direction_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match=r"weight of 'dog' must be a finite number, got -?(inf|nan)"):
        Term("dog", weight)


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must be a finite number, got -?inf"):
        Term.parse("9" * 400 + ":dog")


def test_only_words_are_those_of_one_part_that_leads_to_them() -> None:
    assert only_words([Term("a dog", 0.5)]) == "a dog"
    for terms in ([Term("a dog", -1.0)], [Term("a", photo=True)], [Term("a dog"), Term("night")]):
        assert only_words(terms) == ""
