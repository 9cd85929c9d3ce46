"""Photos that were deleted since they were indexed are no answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import Run
from diptych.data.load import open_records
from diptych.search_index.opening import index_at
from diptych.search_index.rows import Entry
from diptych.tasks.search.ask import Answer, search
from diptych.tasks.search.index import index
from diptych.tasks.search.present import is_there
from diptych.tasks.search.term import Term
from tests.support.colours import ColourBackbone

REDS = [(255, 0, 0), (250, 4, 4), (246, 8, 8), (242, 12, 12), (238, 16, 16), (234, 20, 20)]


@pytest.fixture(params=["idx", "lance:idx"])
def photos(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param.startswith("lance:"):
        pytest.importorskip("lance")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for n, colour in enumerate(REDS):
        Image.new("RGB", (9, 9), colour).save(folder / f"{n}.png")
    monkeypatch.setattr("tests.tasks.search.test_present.INDEX", Path(request.param))
    index(open_records(str(folder)), ColourBackbone(), Run(), INDEX)
    return folder


INDEX = Path("idx")


def asked(k: int) -> tuple[list[str], Answer]:
    answer = search(INDEX, [Term("red", 1.0)], ColourBackbone(), Run(), k=k)
    return [Path(hit.path).stem for hit in answer.results], answer


def test_deleted_photos_are_left_out_and_counted_and_the_next_ones_take_their_places(photos: Path) -> None:
    order, whole = asked(6)
    assert (len(order), whole.missing, whole.left_out) == (6, (), "")
    for name in (order[0], order[2]):
        (photos / f"{name}.png").unlink()
    names, answer = asked(2)
    assert names == [order[1], order[3]]
    assert [Path(name).stem for name in answer.missing] == [order[0], order[2]]
    assert answer.as_dict()["missing"] == list(answer.missing)
    assert answer.left_out.startswith("2 entries are left out: their photos are no longer there (")
    assert f"--out {INDEX} --prune" in answer.left_out
    names, answer = asked(1)  # what lies behind the last answer is not counted
    assert (names, [Path(name).stem for name in answer.missing]) == ([order[1]], [order[0]])
    assert answer.left_out.startswith("1 entry is left out: its photo is no longer there (")
    names, answer = asked(5)
    assert names == [order[1], *order[3:]]


def test_where_all_photos_were_deleted_there_is_no_answer(photos: Path) -> None:
    for path in photos.iterdir():
        path.unlink()
    names, answer = asked(2)
    assert (names, len(answer.missing), answer.nothing) == ([], 6, "No other entry answers.")


def test_on_a_machine_without_the_photos_the_index_alone_answers_and_says_so(photos: Path) -> None:
    order, _ = asked(2)
    photos.rename(photos.parent / "elsewhere")
    names, answer = asked(2)
    assert (names, answer.missing) == (order, ())
    assert answer.left_out.startswith("None of these photos is there now, such as photos/")


def test_entries_of_one_deleted_folder_are_left_out_while_others_are_there(tmp_path: Path) -> None:
    for folder, colour in (("holiday", "red"), ("home", "blue")):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (9, 9), colour).save(tmp_path / "photos" / folder / f"{n}.png")
    index(open_records(str(tmp_path / "photos")), ColourBackbone(), Run(), tmp_path / "idx")
    for path in (tmp_path / "photos" / "holiday").iterdir():
        path.unlink()
    (tmp_path / "photos" / "holiday").rmdir()
    answer = search(tmp_path / "idx", [Term("red", 1.0)], ColourBackbone(), Run(), k=2)
    assert [Path(hit.path).parent.name for hit in answer.results] == ["home", "home"]
    assert len(answer.missing) == 3


@pytest.mark.parametrize(
    ("name", "stamp", "there"),
    [
        ("{0}/a.png", "1-1", True),
        ("{0}/b.png", "1-1", False),
        ("{0}/b.png", "", True),  # what had no file when it was indexed
        ("b.png", "1-1", True),  # relative: to what is not known
        ("s3://bucket/b.png", "1-1", True),
        ("{0}/a.png[0,0,9,9]", "1-1", True),
        ("{0}/b.png[0,0,9,9]", "1-1", False),
        ("{0}/a.png!inside/b.png", "1-1", True),
        ("{0}/b.tar!inside/b.png", "1-1", False),
        ("{0}/a.png/below", "1-1", False),
        ("{0}/[1]/b.png", "1-1", False),  # the folder is no file that could hold it
        ("{0}/\0", "1-1", False),
        ("/" + "x" * 999, "1-1", True),  # nothing can be said of it
    ],
)
def test_a_file_is_there_or_that_of_which_it_is_a_part(tmp_path: Path, name: str, stamp: str, there: bool) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    assert is_there(Entry(name.format(tmp_path), stamp)) is there


def test_names_are_spread_over_the_index(tmp_path: Path) -> None:
    with index_at(_filled(tmp_path / "idx", 10)) as opened:
        assert opened.spread(3) == ["0", "4", "8"]
        opened.delete([str(n) for n in range(1, 9)])
        assert opened.spread(64) == ["0", "9"]
        opened.delete(["0", "9"])
        assert opened.spread(64) == []


def _filled(folder: Path, count: int) -> Path:
    from diptych.search_index.index import Index

    made = Index.create(folder, {"fingerprint": "f", "dim": 2})
    made.add([Entry(str(n)) for n in range(count)], {"image": (np.arange(count), np.ones((count, 2), np.float32))})
    made.close()
    return folder
