"""Input as people have it: what a verb needs of a place decides how it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, NotAvailable, UnreadableItem, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.format import Format, Request, first
from diptych.data.images import specks
from diptych.data.inside import inside
from diptych.data.load import FORMATS, open_data, open_records
from diptych.data.memory import InMemory
from tests.support.image_files import photo


def listed(root: Path, text: str, *places: str, name: str = "labels.csv") -> Path:
    for seed, place in enumerate(places):
        photo(root / place, seed)
    (root / name).write_text(text, encoding="utf-8")
    return root


TWO = "path,class_name\nimages/a.png,cat\nimages/b.png,dog\n"


def test_formats_that_are_alternatives_themselves_are_listed_with_a_larger_separator(tmp_path: Path) -> None:
    def of(name: str) -> Format[Path]:
        return Format(name, lambda path, request: False, lambda path, request: path, frozenset(["photos"]))

    request = Request("photos")
    with pytest.raises(DataError, match=r"none of these, so give one of them: a table \(\.csv\); a slide, or a folder"):
        first([of("a table (.csv)"), of("a slide, or a folder of them")], tmp_path, request)
    with pytest.raises(DataError, match=r"is neither a table nor a picture: give one of these"):
        first([of("a table"), of("a picture")], tmp_path, request)


def test_photos_beside_folders_are_photos(tmp_path: Path) -> None:
    for seed, place in enumerate(("1.png", "trip/2.png", "trip/day/3.png", "home/4.png")):
        photo(tmp_path / place, seed)
    with pytest.raises(DataError, match="beside the class folders"):
        open_data(tmp_path)
    (table,) = open_data(tmp_path, need="photos").splits.values()
    assert len(table) == 4
    assert not table.columns
    (tmp_path / "1.png").unlink()
    assert open_data(tmp_path, need="photos").classes == ("home", "trip")


def test_a_folder_called_test_among_photos_hides_nothing(tmp_path: Path) -> None:
    for seed, place in enumerate(("1.png", "test/2.png", "trip/3.png")):
        photo(tmp_path / place, seed)
    assert len(open_data(tmp_path, need="photos").whole()) == 3


@pytest.mark.parametrize("name", ["labels.csv", "mine.csv"])
def test_a_folder_is_read_through_the_table_that_lists_it(tmp_path: Path, name: str) -> None:
    listed(tmp_path, TWO, "images/a.png", "images/b.png", "images/unlisted.png", name=name)
    for need in ("any", "classes", "photos"):
        data = open_data(tmp_path, need=need)  # type: ignore[arg-type]
        assert data.classes == ("cat", "dog")
        assert len(data.split("test")) == 2


def test_class_folders_win_over_a_table(tmp_path: Path) -> None:
    text = "path,class_name\ncat/a.png,Cat\ndog/b.png,Dog\n"
    assert open_data(listed(tmp_path, text, "cat/a.png", "dog/b.png")).classes == ("cat", "dog")


def test_two_tables_are_not_guessed_between(tmp_path: Path) -> None:
    listed(tmp_path, TWO, "images/a.png", "images/b.png", name="one.csv")
    listed(tmp_path, TWO, name="two.csv")
    assert open_data(tmp_path).classes == ("images",)


def test_one_class_is_refused_where_it_would_be_measured(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.png")
    assert open_data(tmp_path).classes == ("images",)
    with pytest.raises(DataError, match=r"one class, 'images'.*two class folders.*class_name"):
        open_data(tmp_path, need="classes")


def test_numbers_take_the_names_that_a_column_gives(tmp_path: Path) -> None:
    places = [f"{i}.png" for i in range(4)]
    text = "path,label,name\n0.png,10,crane\n1.png,9,tench\n2.png,9,tench\n3.png,11,crane\n"
    data = open_data(listed(tmp_path / "a", text, *places) / "labels.csv")
    assert data.classes == ("tench", "crane (10)", "crane (11)"), "in the order of the numbers, and none twice"
    assert data.split("test").labels().tolist() == [1, 0, 0, 2]
    text = text.replace("1.png,9,tench", "1.png,9,eel")
    assert open_data(listed(tmp_path / "b", text, *places) / "labels.csv").classes == ("9", "10", "11"), "no names"


def test_absolute_paths_below_the_tables_folder(tmp_path: Path) -> None:
    root = tmp_path / "real"
    listed(root, "", "a.png")
    (root / "labels.csv").write_text(f"path\n{root}/a.png\n")
    assert open_data(root / "labels.csv").split("test").items.name(0) == str(root / "a.png")
    (tmp_path / "link").symlink_to(root)
    assert open_data(tmp_path / "link" / "labels.csv").split("test").items[0].size
    photo(tmp_path / "secret.png")
    for place in (f"{tmp_path}/secret.png", f"{root}/../secret.png", f"{tmp_path}/link/../secret.png", "/etc/passwd"):
        (root / "labels.csv").write_text(f"path\n{place}\n")
        with pytest.raises(DataError, match=rf"leads outside .* or move the pictures below {root}"):
            open_data(root / "labels.csv")


def test_paths_below_the_folder_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table beside a script, with pictures in another folder of the project."""
    photo(tmp_path / "project" / "photos" / "a.png")
    photo(tmp_path / "secret.png")
    tables = tmp_path / "project" / "tables"
    tables.mkdir()
    monkeypatch.chdir(tmp_path / "project")
    for written in (f"{tmp_path}/project/photos/a.png", "../photos/a.png"):
        assert inside("tables", written, "Row 1") == str(tmp_path / "project" / "photos" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "project")
    assert inside(tables, f"{tmp_path}/link/photos/a.png", "Row 1") == str(tmp_path / "project" / "photos" / "a.png")
    with pytest.raises(DataError, match="run the command in a folder that holds the table and its pictures"):
        inside(tables, f"{tmp_path}/secret.png", "Row 1")
    monkeypatch.chdir("/")
    with pytest.raises(DataError, match="leads outside"):
        inside(tables, f"{tmp_path}/project/photos/a.png", "Row 1")


def test_a_link_out_of_the_folder_is_no_way_to_name_what_lies_outside(tmp_path: Path) -> None:
    photo(tmp_path / "secret.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path)
    with pytest.raises(DataError, match="leads outside"):
        inside(tmp_path / "set", f"{tmp_path}/alias/secret.png", "Row 1")
    assert inside(tmp_path / "set", f"{tmp_path}/alias/set/x.png", "Row 1") == str(tmp_path / "set" / "x.png")


def masked(root: Path, classes: str = "value,name\n0,sky\n1,cow\n") -> Path:
    listed(root, "path,mask\nimages/a.png,masks/a.png\n", "images/a.png")
    (root / "classes.csv").write_text(classes)
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(root / "masks" / "a.png")
    return root


def test_masks_are_no_photos(tmp_path: Path) -> None:
    for need in ("photos", "any", "masks", "check"):
        data = open_data(masked(tmp_path), need=need)  # type: ignore[arg-type]
        assert data.classes == ("sky", "cow")
        assert [len(t) for t in data.splits.values()] == [1]


def test_void_is_a_column_of_the_classes_or_told(tmp_path: Path) -> None:
    masked(tmp_path, "value,name,void\n0,sky,\n1,cow,0\n2,other,1\n3,rest,yes\n")
    assert open_data(tmp_path, need="masks").classes == ("sky", "cow")
    assert open_data(tmp_path, need="masks", void=(0,)).classes == ("cow",)


def test_only_data_sets_with_a_known_name_are_not_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for need in ("any", "photos", "classes", "masks", "anomalies", "clips", "curves", "groups", "captions"):
        with pytest.raises(NotAvailable, match="The data set cifar10_small is not here: set DIPTYCH_DATA"):
            open_data("cifar10_small", need=need)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no file or folder"):
            open_data("gone", need=need)  # type: ignore[arg-type]


def test_every_need_is_met_by_a_format_that_can_be_named() -> None:
    for need in {n for f in FORMATS for n in f.gives}:
        assert any(f.name for f in FORMATS if need in f.gives), need


def test_captions_in_several_columns_and_a_row_without(tmp_path: Path) -> None:
    text = "path,caption_0,caption_1\na.png,one,two\nb.png,three,\n"
    listed(tmp_path, text, "a.png", "b.png", name="captions.csv")
    whole = open_data(tmp_path, need="captions").whole()
    assert whole.columns["captions"].values == (("one", "two"), ("three",))
    assert open_data(tmp_path, need="captions", text="caption_0").whole().columns["captions"].values[0] == ("one",)
    with pytest.raises(DataError, match="no column 'said'"):
        open_data(tmp_path, need="captions", text="said")
    with pytest.raises(DataError, match=r"b\.png has no caption in caption_1"):
        open_data(tmp_path, need="captions", text="caption_1")
    assert list(open_records(tmp_path / "captions.csv").texts) == ["one", "three"]


def test_a_whole_set_keeps_order_labels_and_keys(tmp_path: Path) -> None:
    for seed, place in enumerate(("train/a/1.png", "train/b/2.png", "test/b/3.png")):
        photo(tmp_path / place, seed)
    data = open_data(tmp_path)
    whole = data.whole()
    assert whole.labels().tolist() == [0, 1, 1]
    assert whole.items.key(2) == data.split("test").items.key(0)


def test_pictures_in_memory(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    image = Image.open(path).convert("RGB")
    items = InMemory([str(path), image, np.asarray(image)])
    assert items.key(0) == ImageFiles([path]).key(0)
    assert items.key(1) == items.key(2) != items.key(0)
    assert [items.name(i) for i in range(3)] == [str(path), "1", "2"]
    assert all(np.array_equal(np.asarray(items[i]), np.asarray(image)) for i in range(3))
    assert InMemory([image], ["mine"], ["k"]).key(0) == "k"
    with pytest.raises(UnreadableItem):
        InMemory([tmp_path / "gone.png"]).key(0)


def test_specks(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    paths = [str(tmp_path / "dot.png"), str(photo(tmp_path / "a.png")), str(tmp_path / "broken.png"), "no such file"]
    assert specks(paths) == paths[:1]
