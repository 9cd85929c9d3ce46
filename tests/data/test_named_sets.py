"""Names of data sets: the folder of DIPTYCH_DATA stands behind every opener."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from diptych.core.errors import DataError, NotAvailable, UsageError
from diptych.data.captioned import open_captioned
from diptych.data.captions import read_captions, read_sentences
from diptych.data.formats.clip_folder import holds_clips, open_clips
from diptych.data.grouped import open_grouped
from diptych.data.load import find_data, open_data
from diptych.data.named_sets import captions_table, located, present
from diptych.data.records import open_records
from diptych.evaluation.boards.caption import open_captions
from diptych.tasks.check import check
from diptych.tasks.curate import open_stream
from diptych.tasks.training_data import open_pairs_or_classes
from tests.support.colours import colour_folder


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets, and another to stand in."""
    root = tmp_path / "sets"
    colour_folder(root / "colours", {"train": 3, "test": 2})
    photos = sorted((root / "colours" / "train").rglob("*.png")) or sorted((root / "colours" / "train").rglob("*.jpg"))
    told = root / "told"
    told.mkdir()
    rows = [
        f"{i}{p.suffix},{'train' if i % 2 else 'test'},A {p.parent.name} thing.,{p.parent.name},{i % 2}"
        for i, p in enumerate(photos)
    ]
    for i, p in enumerate(photos):
        (told / f"{i}{p.suffix}").write_bytes(p.read_bytes())
    (told / "captions.csv").write_text("\n".join(["path,split,caption_0,label,group", *rows]))
    (root / "texts.txt").write_text("one\ntwo\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DIPTYCH_DATA", str(root))
    return root


OPENERS: dict[str, Callable[[], object]] = {
    "data": lambda: open_data("colours"),
    "data, a part": lambda: open_data("colours/test"),
    "check": lambda: check("colours"),
    "records": lambda: open_records("colours"),
    "clips": lambda: open_clips(["colours/train"], 2),
    "groups": lambda: open_grouped("told/captions.csv", "group", "label"),
    "captions": lambda: read_captions("told", "caption_*"),
    "captioned photos": lambda: open_captioned("told", text="caption_0"),
    "sentences": lambda: read_sentences("told"),
    "board of captions": lambda: open_captions("told", "caption_*", None),
    "training": lambda: open_pairs_or_classes("told", None, None),
    "stream": lambda: open_stream("texts.txt"),
}


@pytest.mark.parametrize("opens", OPENERS.values(), ids=OPENERS)
def test_every_opener_knows_the_names(sets: Path, monkeypatch: pytest.MonkeyPatch, opens: Callable[[], object]) -> None:
    assert opens()
    monkeypatch.delenv("DIPTYCH_DATA")
    with pytest.raises(UsageError):
        opens()


def test_data_keep_the_name_that_was_given(sets: Path) -> None:
    assert open_data("colours").name == "colours"
    assert open_data("colours/test").name == "colours/test", (
        "two domains of one set must not be mistaken for each other"
    )
    assert open_data(sets / "colours" / "test").name == "test"
    assert "captions" in open_pairs_or_classes("told", None, None).split("train").columns
    assert not holds_clips("colours")


def test_a_path_wins_only_where_it_cannot_be_mistaken(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    (here / "colours").mkdir()
    for opens in (open_data, find_data, located, present):
        with pytest.raises(UsageError, match=re.escape(f"./colours for the first, or {sets / 'colours'}")):
            opens("colours")
    with pytest.raises(DataError, match="No pictures"):
        find_data("./colours")
    assert located(str(here / "colours")) == here / "colours"
    assert find_data(str(sets / "colours")).name == "colours"
    monkeypatch.chdir(sets)
    assert find_data("colours").name == "colours", "both names are the one folder"


def test_what_is_absent_is_named(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert located("nowhere") == Path("nowhere")
    with pytest.raises(NotAvailable, match="nowhere is not here: set DIPTYCH_DATA"):
        find_data("nowhere")
    assert present("told", "captions.csv") == sets / "told"
    with pytest.raises(NotAvailable, match="DIPTYCH_DATA"):
        present("told", "stars.csv")
    monkeypatch.delenv("DIPTYCH_DATA")
    with pytest.raises(NotAvailable, match="DIPTYCH_DATA"):
        find_data("colours")
    assert captions_table(str(sets / "told")) == sets / "told" / "captions.csv"
    assert captions_table(str(sets / "colours")) == sets / "colours"
