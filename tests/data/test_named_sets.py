"""Names of data sets: the folder of DIPTYCH_DATA stands behind every opener."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from diptych.core import DataError, NotAvailable, UsageError
from diptych.data.captions import read_sentences
from diptych.data.formats.item_folders import holds_clips
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data, open_records, open_stream
from diptych.data.named_sets import all_present, located, present
from diptych.evaluation.boards.caption import captioned_photos
from diptych.tasks.check import check
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


def measured(spec: str) -> LabelledData:
    return open_data(spec, need="classes")


OPENERS: dict[str, Callable[[], object]] = {
    "data": lambda: open_data("colours"),
    "data, a part": lambda: open_data("colours/test"),
    "check": lambda: check("colours"),
    "records": lambda: open_records("colours"),
    "clips": lambda: open_data("colours/train", need="clips", frames=2),
    "groups": lambda: open_data("told/captions.csv", need="groups", group="group", label="label"),
    "captions": lambda: open_data("told", need="captions", text="caption_*"),
    "captioned photos": lambda: open_data("told", need="captions", text="caption_0").whole(),
    "sentences": lambda: read_sentences("told"),
    "board of captions": lambda: captioned_photos("told", "caption_*", None),
    "training": lambda: open_data("told", need="captions or classes"),
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
    assert "captions" in open_data("told", need="captions or classes").split("train").columns
    assert not holds_clips("colours")


def test_a_path_wins_only_where_it_cannot_be_mistaken(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    (here / "colours").mkdir()
    for opens in (open_data, measured, located, present):
        with pytest.raises(UsageError, match=re.escape(f"./colours for the first, or {sets / 'colours'}")):
            opens("colours")
    with pytest.raises(DataError, match="No pictures"):
        measured("./colours")
    assert located(str(here / "colours")) == here / "colours"
    assert measured(str(sets / "colours")).name == "colours"
    monkeypatch.chdir(sets)
    assert measured("colours").name == "colours", "both names are the one folder"


def test_what_is_absent_is_named(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert located("nowhere") == Path("nowhere")
    assert located("~/nowhere") == Path.home() / "nowhere"
    with pytest.raises(UsageError, match="no file or folder nowhere"):
        measured("nowhere")
    assert present("told", "captions.csv") == sets / "told"
    with pytest.raises(NotAvailable, match="DIPTYCH_DATA"):
        present("told", "stars.csv")
    monkeypatch.delenv("DIPTYCH_DATA")
    with pytest.raises(UsageError, match="no file or folder colours"):
        measured("colours")
    all_present(["demo:clothes", "colours", str(sets)])
    with pytest.raises(NotAvailable, match="data set cifar10_small is not here"):
        all_present(["demo:clothes", "halves:cifar10_small"])


@pytest.mark.parametrize("root", ["", "/"])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("data:image/png;base64," + "A" * 3000, "base64.b64decode"),
        ("data:image/png;base64,AAAA", "base64.b64decode"),
        ("x" * 3000, r"There is no file or folder x{60}\.\.\. of 3,000 characters: check the spelling"),
    ],
)
def test_names_that_no_file_can_have_get_a_sentence(
    name: str, sentence: str, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diptych.data.samples import as_samples

    monkeypatch.setenv("DIPTYCH_DATA", root)
    for given in (name, [name], [name, name]):
        with pytest.raises(UsageError, match=sentence) as raised:
            as_samples(given)[0]
        assert len(str(raised.value)) < 300
