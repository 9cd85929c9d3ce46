from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.verbs.names import names_of, texts_of


def test_names_come_in_many_forms(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    forms = (
        ["cat", "dog"],
        "cat, dog",
        "cat\ndog\n",
        {0: "cat", 1: "dog"},
        {"cat": 0, "dog": 1},
        tmp_path / "names.txt",
    )
    assert {names_of(form).names for form in forms} == {("cat", "dog")}
    assert names_of({"cat": ["cat", "kitten"]}).words == (("cat", "kitten"),)
    assert names_of(None, ["sea_horse"]).names == ("sea horse",)
    many = [f"kind of tree number {i}" for i in range(40)]
    assert names_of(", ".join(many)).names == tuple(many)
    assert names_of("St. Bernard, cat").names == ("St. Bernard", "cat")
    assert {names_of(text).names for text in ("cat; dog", "'cat', 'dog'", '"cat";"dog"')} == {("cat", "dog")}
    assert names_of("cat; wet, dog").names == ("cat; wet", "dog")
    with pytest.raises(UsageError, match=r"no-such-names\.txt"):
        names_of("no-such-names.txt")
    with pytest.raises(UsageError, match="a set has none"):
        names_of({"cat", "dog"})


def test_words_of_one_class_stand_with_a_line_between_them() -> None:
    named = names_of("sofa|couch, cat", (), "a {}.")
    assert (named.names, named.prompts()) == (("sofa", "cat"), [["a sofa.", "a couch."], ["a cat."]])
    assert names_of({"a|b": ["c"]}).words == (("c",),)
    assert names_of(None, ["a|b"]).names == ("a|b",)


def test_templates_may_be_functions_as_open_clip_has() -> None:
    assert names_of("cat", (), [lambda c: f"a {c}."]).templates == ("a {}.",)
    assert names_of("cat", (), "one {}").templates == ("one {}",)


def test_sentences_and_descriptions_become_a_pool() -> None:
    pool = texts_of({"cat": ["has whiskers"]})
    assert pool is not None
    assert pool.texts["cat"][0].value == "has whiskers"
    assert texts_of(None) is None
