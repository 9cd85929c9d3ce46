"""Entries whose photos are no longer there are named, with the name that a renamed photo has now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from diptych.core import Run
from diptych.data.load import open_records
from diptych.tasks.search.gone import Gone
from diptych.tasks.search.index import Indexed, index
from tests.support.colours import ColourBackbone


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("red", "green", "blue", "white"):
        Image.new("RGB", (30, 20), name).save(folder / f"{name}.png")
    return folder


def taken(folder: Path, prune: bool = False) -> Indexed:
    records = open_records(str(folder))
    pruned = [str(folder)] if prune else []
    return index(records, ColourBackbone(), Run(), folder.parent / "idx", prune=pruned, folders=[str(folder)])


def test_a_renamed_a_removed_and_a_changed_photo_are_told_apart(photos: Path) -> None:
    assert taken(photos).gone.remarks() == []
    (photos / "red.png").rename(photos / "crimson.png")
    (photos / "green.png").unlink()
    shutil.copy(photos / "white.png", photos / "blue.png")
    red, green = str(photos / "red.png"), str(photos / "green.png")
    got = taken(photos)
    assert (got.entries, got.added, got.changed, got.unchanged, got.removed) == (5, 2, 1, 1, 0)
    assert got.gone == Gone((green, red), (), {red: str(photos / "crimson.png")}, (str(photos),))
    (said,) = got.gone.remarks()
    assert said.startswith("2 entries are of photos that are no longer there, and a search leaves them out: ")
    assert "crimson.png). {prune} deletes" in said
    again = taken(photos, prune=True)
    assert (again.entries, again.removed, again.gone.missing, again.gone.deleted) == (3, 2, (), (green, red))
    assert again.gone.remarks()[0].startswith("Deleted, because they are no longer there: ")
    assert taken(photos, prune=True).gone == Gone(folders=(str(photos),))


def test_entries_of_a_folder_that_moved_are_named_with_a_pattern_that_matches_nothing_else(photos: Path) -> None:
    taken(photos)
    moved = photos.rename(photos.parent / "moved")
    got = taken(moved)
    assert (got.added, len(got.gone.missing), len(got.gone.renamed)) == (4, 4, 4)
    assert got.gone.remarks()[0].endswith(f"Without photos, {{remove}} '{photos}/*' deletes them.")


def test_no_pattern_is_named_where_the_folder_still_has_photos(photos: Path) -> None:
    taken(photos)
    other = photos.parent / "other"
    other.mkdir()
    for name in ("red", "green"):
        (photos / f"{name}.png").rename(other / f"{name}.png")
    got = taken(other)
    assert got.gone.missing == (str(photos / "green.png"), str(photos / "red.png"))
    assert got.gone.remarks()[0].endswith("{remove} deletes each by its path.")


def test_a_photo_that_is_still_there_is_not_gone(photos: Path) -> None:
    taken(photos)
    copied = photos.parent / "copied"
    shutil.copytree(photos, copied)
    assert taken(copied).gone.missing == ()


def test_a_lance_index_names_what_is_gone_as_a_folder_does(photos: Path) -> None:
    pytest.importorskip("lance")
    out = Path(f"lance:{photos.parent / 'idx'}")
    for gone in ((), (str(photos / "green.png"),)):
        for name in gone:
            Path(name).unlink()
        got = index(open_records(str(photos)), ColourBackbone(), Run(), out, folders=[str(photos)])
        assert got.gone.missing == gone


def test_rows_of_a_table_and_members_of_an_archive_are_left_alone(photos: Path) -> None:
    gone = Gone(missing=("/x/a.png",), folders=("/x",))
    assert gone.as_dict() == {"missing": ["/x/a.png"], "deleted": [], "renamed": {}}
    from diptych.tasks.search.gone import _is_photo

    assert not any(map(_is_photo, ("/x/a.tar!b.png", "/x/t.csv[3]", "/x/a.png[0,0,9,9]", "a.png")))
    assert _is_photo("/x/a.png")
