from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from PIL import Image

import diptych
from diptych.api.model import Model
from diptych.core import DiptychError, Run
from diptych.verbs.search import _plain
from tests.support.colours import ColourBackbone

MODEL = Model(ColourBackbone(), Run())


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("red", "green", "blue"):
        Image.new("RGB", (30, 20), name).save(folder / f"{name}.png")
    return folder


def test_an_index_without_a_folder_can_be_searched_and_goes_with_its_object(photos: Path, tmp_path: Path) -> None:
    index = diptych.index(photos, model=MODEL)
    assert (len(index), index.added) == (3, 3)
    assert Path(index.search("red", top=1).paths[0]).name == "red.png"
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]
    folder = index.folder
    assert folder.is_dir()
    del index
    assert not folder.exists()


def test_remarks_and_errors_name_the_arguments_of_python(photos: Path) -> None:
    diptych.index(photos, "idx", MODEL)
    with pytest.warns(UserWarning, match=r"^Nothing meets the conditions\.$"):
        assert len(diptych.search("idx", "red", MODEL, where="name=none")) == 0
    with pytest.raises(DiptychError, match=r"^captions= must be in \[0, 1\], got 2"):
        diptych.search("idx", "red", MODEL, captions=2)
    with pytest.raises(DiptychError, match=r"^where= takes conditions"):
        diptych.search("idx", "red", MODEL, where="year")
    with pytest.raises(DiptychError, match=r"^Nothing to do: give photos to index, remove= PATTERN"):
        diptych.index(out="idx", model=MODEL)
    with pytest.raises(DiptychError, match="An existing index has a folder: give it as out="):
        diptych.index(remove="*", model=MODEL)


def test_a_query_that_says_what_shall_not_be_there_is_answered_with_the_argument_for_it(photos: Path) -> None:
    diptych.index(photos, "idx", MODEL)
    with pytest.warns(UserWarning, match=r'hardly read "not", so .*: give the words for that to minus=\.$'):
        diptych.search("idx", "not red", MODEL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diptych.search("idx", "red", MODEL, minus=["not green"])


def test_an_index_and_a_query_that_are_swapped_are_understood(photos: Path) -> None:
    index = diptych.index(photos, "idx", MODEL)
    for found in (diptych.search("red", "idx", MODEL, top=1), diptych.search(index, "red", MODEL, top=1)):
        assert Path(found.paths[0]).name == "red.png"
    assert Path(diptych.search("red", index, MODEL, top=1).paths[0]).name == "red.png"


def test_a_score_of_nothing_has_no_sign() -> None:
    assert [_plain(score) for score in (-0.0004, 0.0004, -0.0006, 0.25)] == ["0.000", "0.000", "-0.001", "0.250"]


@pytest.mark.parametrize("name", ["demo:photos", "photos"])
def test_photos_in_the_place_of_an_index_are_answered_with_how_to_make_one(photos: Path, name: str) -> None:
    for arguments in ((name, "a cat"), ("a cat", name)):
        with pytest.raises(DiptychError, match=f"an index, and {name} holds none: make one with 'diptych index {name}"):
            diptych.search(*arguments, MODEL)


def test_an_answer_has_the_names_of_its_json(photos: Path) -> None:
    first = diptych.index(photos, model=MODEL).search("red", top=1)
    row = first.data["results"][0]
    assert (first[0].path, first[0].caption, first[0].metadata) == (row["path"], row["caption"], row["metadata"])


def test_captions_of_an_index_without_any_are_refused(photos: Path) -> None:
    index = diptych.index(photos, model=MODEL)
    for share in (0.5, 1):
        with pytest.raises(DiptychError, match=r"^No entry of .* has a caption: leave out captions=\.$"):
            index.search("red", captions=share)
    assert len(index.search("red", captions=0)) == 3


def test_a_query_longer_than_a_file_name_may_be_is_words(photos: Path) -> None:
    words = "red things on a table in the house of my uncle " * 12
    index = diptych.index(photos, model=Model(ColourBackbone(), Run()))
    assert len(diptych.search(index, words, Model(ColourBackbone(), Run()), top=1)) == 1


def test_a_folder_is_no_query(photos: Path) -> None:
    index = diptych.index(photos, model=MODEL)
    with pytest.raises(DiptychError, match="photos/ is a folder: look for words"):
        index.search(Path("photos"))  # the same without Path is a word
    assert len(index.search("photos")) == 3
