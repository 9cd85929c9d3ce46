from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
from PIL import Image

from diptych.core import DataError, Samples, UnreadableItem, UsageError
from diptych.data.folders import ImageFiles, class_folder, image_files, image_paths, photo_folder
from diptych.data.keys import FileKeys, hash_file
from tests.support.image_files import photo


def build(root: Path, *places: str) -> Path:
    for seed, place in enumerate(places):
        photo(root / place, seed)
    return root


def test_image_files_are_samples(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    items = ImageFiles([path, str(tmp_path / "absent.png")])
    assert isinstance(items, Samples)
    assert (len(items), items[0].size, items.name(0)) == (2, (40, 30), str(path))
    assert items.key(0) == hash_file(path)
    for ask in (items.__getitem__, items.key):
        with pytest.raises(UnreadableItem, match="no such file"):
            ask(1)
    assert pickle.loads(pickle.dumps(items)).key(0) == items.key(0)


def test_split_folders(tmp_path: Path) -> None:
    build(
        tmp_path,
        "train/dog/1.png",
        "train/cat/2.png",
        "train/cat/1.png",
        "validation/cat/3.png",
        "Test/emu/4.png",
        "notes/x.png",
    )
    (tmp_path / "labels.csv").write_text("not read")
    (tmp_path / "train/.hidden").mkdir()
    (tmp_path / "train/cat/readme.txt").write_text("not a picture")
    data = class_folder(tmp_path)
    assert data.classes == ("cat", "dog", "emu")
    assert list(data.splits) == ["train", "val", "test"]
    names = [Path(data.splits["train"].items.name(i)).relative_to(tmp_path).as_posix() for i in range(3)]
    assert names == ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png"]
    assert [t.labels().tolist() for t in data.splits.values()] == [[0, 0, 1], [0], [2]]


def test_plain_class_folders_are_a_test_split(tmp_path: Path) -> None:
    build(tmp_path, "dog/deep/er/1.png", "cat/2.PNG")
    data = class_folder(tmp_path)
    assert list(data.splits) == ["test"]
    assert data.splits["test"].labels().tolist() == [0, 1]


def test_photos_without_labels(tmp_path: Path) -> None:
    build(tmp_path, "b.png", "a.png")
    data = class_folder(tmp_path)
    assert data.classes == ()
    assert [Path(data.splits["test"].items.name(i)).name for i in range(2)] == ["a.png", "b.png"]
    with pytest.raises(DataError, match="no label column"):
        data.splits["test"].labels()


def test_all_photos_at_any_depth(tmp_path: Path) -> None:
    build(tmp_path, "2023/b.png", "a.png", ".trash/c.png", "__MACOSX/d.png")
    assert image_paths(tmp_path) == [tmp_path / "a.png", tmp_path / "2023/b.png"]


def test_split_folders_may_mix_photos_and_classes(tmp_path: Path) -> None:
    data = class_folder(build(tmp_path, "train/dog/1.png", "test/1.png"))
    assert "label" not in data.splits["test"].columns
    assert len(data.hash) == 64


@pytest.mark.parametrize(
    ("places", "folders", "message"),
    [
        ([], [], "No pictures below"),
        ([], ["cat"], "No pictures below"),
        (["cat/1.png"], ["dog"], "No pictures of dog"),
        (["cat/1.png", "stray.png"], [], "lies beside the class folders"),
        (["val/cat/1.png", "valid/cat/1.png"], [], "which are one split"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, places: list[str], folders: list[str], message: str) -> None:
    build(tmp_path, *places)
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match=message):
        class_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["part-00000.parquet", "part-00001.parquet"], r"give a table in it, such as .*part-00000\.parquet"),
        (["dataset_info.json", "data-00000-of-00001.arrow"], "a saved dataset of Hugging Face"),
    ],
)
def test_a_folder_of_tables_is_no_folder_of_photos(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        class_folder(tmp_path)


def test_places_that_are_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a file"):
        class_folder(photo(tmp_path / "a.png"))
    for ask in (class_folder, image_paths):
        with pytest.raises(UsageError, match="There is no folder"):
            ask(tmp_path / "absent")


def test_empty_classes_on_request(tmp_path: Path) -> None:
    build(tmp_path, "cat/1.png")
    (tmp_path / "dog").mkdir()
    assert class_folder(tmp_path, allow_empty=True).classes == ("cat", "dog")


def test_hash_knows_content_class_and_split_but_no_place(tmp_path: Path) -> None:
    one = build(tmp_path / "one", "train/cat/1.png", "train/dog/2.png", "test/cat/3.png")
    two = tmp_path / "two"
    shutil.copytree(one, two)
    (two / "train/cat/1.png").rename(two / "train/cat/renamed.png")
    want = class_folder(one).hash
    with FileKeys(tmp_path / "keys.sqlite") as keys:
        assert class_folder(two, keys=keys).hash == want
    (two / "train/cat/renamed.png").rename(two / "train/dog/renamed.png")
    (two / "train/cat").rmdir()
    assert class_folder(two).hash != want
    shutil.copytree(one, tmp_path / "three")
    (tmp_path / "three/test").rename(tmp_path / "three/val")
    assert class_folder(tmp_path / "three").hash != want


def test_missing_split_is_named(tmp_path: Path) -> None:
    data = class_folder(build(tmp_path, "cat/1.png"))
    with pytest.raises(DataError, match="no train split, only test"):
        data.split("train")


def test_domains_of_the_same_classes_are_not_taken_for_classes(tmp_path: Path) -> None:
    build(tmp_path, "photo/cat/1.png", "photo/dog/2.png", "sketch/cat/3.png", "sketch/dog/4.png")
    with pytest.raises(DataError, match=r"holds the folders cat, dog.*give one of them, such as .*photo"):
        class_folder(tmp_path)
    assert class_folder(tmp_path / "photo").classes == ("cat", "dog")
    build(tmp_path, "sketch/emu/5.png")  # other folders: photos of a class may be sorted further, as by year
    assert class_folder(tmp_path).classes == ("photo", "sketch")


def test_a_link_to_itself_is_one_broken_picture(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    items = class_folder(tmp_path).splits["test"].items
    assert [Path(items.name(i)).name for i in range(len(items))] == ["good.png", "self.png"]
    with pytest.raises(UnreadableItem):
        items.key(1)


def test_raw_photos_videos_and_files_without_a_suffix_are_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(tmp_path, "dog/1.png", "cat/2.png")
    for name in (
        "a.cr2",
        "cat/b.NEF",
        "cat/deep/c.dng",
        "cat/d.mp4",
        "dog/e",
        "dog/f",
        "dog/g.txt",
        ".h",
        "dog/.i.mov",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    for read in (class_folder, photo_folder, image_files, image_files):
        read(tmp_path)
    assert caplog.messages == [f"Left out of {tmp_path}: 3 raw photos, 1 video, 2 files without a suffix."]


def test_photos_in_folders_of_any_depth_count_what_lies_between(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(tmp_path, "1.png", "deep/2.png")
    (tmp_path / "deep/3.arw").write_bytes(b"")
    assert len(photo_folder(tmp_path).splits["test"]) == 2
    assert caplog.messages == [f"Left out of {tmp_path}: 1 raw photo."]


def test_a_folder_of_raw_photos_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "1.cr2").write_bytes(b"")
    (tmp_path / "2").write_bytes(b"")
    for read in (class_folder, photo_folder):
        with pytest.raises(DataError, match="only 1 raw photo, 1 file without a suffix: give a folder"):
            read(tmp_path)
