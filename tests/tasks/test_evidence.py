from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diptych.core import Needs, UsageError
from diptych.methods.caption.maccap import MacCap
from diptych.tasks.evidence import evidence_for
from tests.support.colours import coloured

CARD = MacCap.card
PAIRED = replace(CARD, needs=Needs(evidence=("train",), optional=("texts",)))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("r", "b"):
        coloured(tmp_path / f"{name}.png", "red" if name == "r" else "blue", 1)
    path = tmp_path / "posts.csv"
    path.write_text("path,caption,user\nr.png,a red wall,anna\nb.png,the sea,ben\nr.png,a red wall,ben\n")
    return path


def test_photos_with_captions_and_users(table: Path) -> None:
    evidence = evidence_for(PAIRED, like=str(table))
    assert evidence.train is not None
    assert evidence.texts is not None
    assert [list(c) for c in evidence.train.columns["captions"].values] == [["a red wall"], ["the sea"], ["a red wall"]]
    assert list(evidence.train.columns["user"].values) == ["anna", "ben", "ben"]
    assert evidence.train.columns["user"].kind == "user"
    assert [t.value for t in evidence.texts.texts[""]] == ["a red wall", "the sea"]
    table.write_text("path,caption,user\nr.png,a red wall,anna\nb.png,the sea,\n")
    some = evidence_for(PAIRED, like=str(table)).train
    assert some is not None
    assert "user" not in some.columns


def test_captions_of_photos_are_sentences_too(table: Path) -> None:
    evidence = evidence_for(CARD, like=str(table))
    assert evidence.train is None
    assert evidence.texts is not None
    assert len(evidence.texts.texts[""]) == 2


def test_photos_without_captions_for_what_reads_none(table: Path) -> None:
    evidence = evidence_for(replace(CARD, needs=Needs(optional=("unlabelled",))), like=str(table))
    assert evidence.unlabelled is not None
    assert len(evidence.unlabelled) == 3
    assert evidence_for(replace(CARD, needs=Needs(optional=("unlabelled",)))).unlabelled is None


def test_what_is_missing_or_unread_is_named(table: Path, tmp_path: Path) -> None:
    (tmp_path / "said.txt").write_text("a wall\n")
    for card, given, said in (
        (CARD, {}, "give texts"),
        (PAIRED, {}, "learns from photos with captions: give like"),
        (PAIRED, {"texts": str(tmp_path / "said.txt")}, "learns from photos with captions"),
        (replace(CARD, needs=Needs(evidence=("train",))), {"texts": "said.txt"}, "no sentences alone"),
        (replace(CARD, needs=Needs()), {"like": str(table)}, "leave like"),
    ):
        with pytest.raises(UsageError, match=said):
            evidence_for(card, **given)  # type: ignore[arg-type]
