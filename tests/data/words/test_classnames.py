from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diptych.core import ClassNames, DataError, UsageError
from diptych.data.words import textfiles
from diptych.data.words.classnames import read_names, tidy, unreadable_names, with_words


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("sea_horse", "sea horse"),
        ("sea-horse", "sea horse"),
        ("SeaHorse", "sea horse"),
        ("TVMonitor", "TV monitor"),
        ("t-shirt", "t-shirt"),
        ("747-400", "747-400"),
        ("DC-10", "DC-10"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("Leopards", "Leopards"),
        ("BMW", "BMW"),
        ("class_7", "class 7"),
        ("3", "3"),
        ("__", "__"),
        ("  many   spaces ", "many spaces"),
        ("Käse_Brot", "Käse Brot"),
    ],
)
def test_tidy(folder: str, name: str) -> None:
    assert tidy(folder) == name


def test_lists_and_text_files(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("\ufeffsea horse\n\n  cat \n", encoding="utf-8")
    (tmp_path / "n.json").write_text('["sea horse", "cat"]')
    (tmp_path / "n.csv").write_text("name\nsea horse\ncat\n")
    for source in (["sea horse", "cat"], tmp_path / "n.txt", str(tmp_path / "n.json"), tmp_path / "n.csv"):
        assert read_names(source) == ("sea horse", "cat")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"sea horse"\n"cat"\n', ("sea horse", "cat")),
        ("'sea horse',\n'cat'\n", ("sea horse", "cat")),
        ("\u201csea horse\u201d\n\u201ccat\u201d\n", ("sea horse", "cat")),
        ("dog's nose\nthe 'cat'\n", ("dog's nose", "the 'cat'")),
        ("tench, Tinca tinca\ncat\n", ("tench, Tinca tinca", "cat")),
        ("sea horse, 'cat'\n", ("sea horse", "cat")),
    ],
)
def test_quotation_marks_round_a_line_are_no_part_of_a_name(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / "n.txt").write_text(text, encoding="utf-8")
    assert read_names(tmp_path / "n.txt") == names


def test_mappings_follow_the_classes(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(json.dumps({"n02": "cat", "n01": "sea horse"}))
    (tmp_path / "n.csv").write_text("folder,name\nn02,cat\nn01,sea horse\n")
    for source in (tmp_path / "n.json", tmp_path / "n.csv"):
        assert read_names(source, ("n01", "n02")) == ("sea horse", "cat")
        assert read_names(source) == ("cat", "sea horse")
        with pytest.raises(UsageError, match="no name for n03"):
            read_names(source, ("n01", "n03"))


def test_numbers_must_agree() -> None:
    with pytest.raises(UsageError, match="2 names for 3 classes"):
        read_names(["a", "b"], ("x", "y", "z"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.json", b"[1, 2]", "JSON list of names"),
        ("n.json", b'{"a": ["b"]}', "JSON list of names"),
        ("n.json", b"[", "not valid JSON"),
        ("n.json", b"[" * 100_000, "not valid JSON"),
        ("n.csv", b"a,b\n1,2\n", "needs a column folder"),
        ("n.csv", b"folder,name\nx,\n", "Row 1 .* lacks"),
        ("n.csv", b"folder,name\nx,a\nx,b\n", "twice"),
        ("n.csv", b"name\nParis\nBoston, USA\n", "Row 2 .* more cells"),
        ("n.csv", b"label,name\n0,Boston, USA\n", "Row 1 .* more cells"),
        ("n.txt", b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / name)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .* with class names"):
        read_names(tmp_path / "absent.txt")


def test_files_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "n.txt").write_text("cat\n" * 10)
    monkeypatch.setattr(textfiles, "MAX_BYTES", 39)
    with pytest.raises(DataError, match="too much for class names"):
        read_names(tmp_path / "n.txt")


def test_synonyms_are_words_of_the_first() -> None:
    named = with_words(ClassNames(("sofa | couch", "cat"), ("{}",)))
    assert named.names == ("sofa", "cat")
    assert named.prompts() == [["sofa", "couch"], ["cat"]]
    assert named.queries()[1] == (0, 0, 1)
    plain = ClassNames(("a", "b"))
    assert with_words(plain) is plain
    assert plain.queries() == (plain, (0, 1))


@pytest.mark.parametrize(
    ("words", "things", "says"),
    [
        ((("a",),), (), "words of 1 classes for 2"),
        ((("a",), ()), (), "a class has no word"),
        ((("a", "b"), ("b",)), (), "'b' stands for two"),
        ((), (True,), "marks of things of 1 classes for 2"),
    ],
)
def test_words_and_marks_that_do_not_fit_are_refused(words: Any, things: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ClassNames(("a", "b"), words=words, things=things)


def test_names_without_spaces_are_named_and_words_and_brands_of_short_pieces_are_not() -> None:
    said = unreadable_names(["beach", "BaseballDiamond", "golfcourse", "tenniscourt", "outwear", "dachshund"])
    assert said.startswith("'golfcourse', 'tenniscourt' look like several words without spaces")
    assert unreadable_names(["beach", "outwear", "golden retriever"]) == ""


def test_a_name_in_quotes_may_have_a_comma_and_an_inch_is_no_quote() -> None:
    assert ClassNames.of('"cup, of coffee", globe\n"a cow"').names == ("cup, of coffee", "globe", "a cow")
    assert ClassNames.of('12" record, cat').names == ('12" record', "cat")
