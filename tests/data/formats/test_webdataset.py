from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.data.folders import class_folder
from diptych.data.formats.webdataset import TarImages, read_tar_folder
from diptych.data.load import open_data
from diptych.data.words.templates import read_templates
from tests.support.tars import by_webdataset


def encoded(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(out, "PNG")
    return out.getvalue()


def folder(root: Path, retrieval: bool = False) -> Path:
    """Two test shards and one train shard of three items each; item n of a split is grey n, or shows class n % 2."""
    for split, count in (("train", 1), ("test", 2)):
        place = root / split
        place.mkdir(parents=True)
        (place / "nshards.txt").write_text(str(count))
        for shard in range(count):
            with webdataset.TarWriter(str(place / f"{shard}.tar")) as writer:
                for i in range(3 * shard, 3 * shard + 3):
                    beside = {"txt": f"one {i}\ntwo {i}"} if retrieval else {"cls": str(i % 2)}
                    writer.write({"__key__": f"s{i}", "png": encoded((i, i, i)), **beside})
    (root / "classnames.txt").write_text("cat\nsea horse\n")
    (root / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\na {c}.\n")
    if retrieval:
        (root / "dataset_type.txt").write_text("retrieval\n")
    return root


def test_same_as_webdataset_reads_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "wds")
    data = open_data(root)
    assert data.classes == ("cat", "sea horse")
    assert read_templates(root / "zeroshot_classification_templates.txt") == ("a photo of a {}.", "a {}.")
    found = by_webdataset([root / "test/0.tar", root / "test/1.tar"])
    rows = [(Image.open(io.BytesIO(item["png"])), int(item["cls"])) for item in found]
    table = data.splits["test"]
    assert {s: len(t) for s, t in data.splits.items()} == {"train": 3, "test": 6}
    assert table.labels().tolist() == [label for _, label in rows]
    assert [table.items[i].tobytes() for i in range(6)] == [image.tobytes() for image, _ in rows]


def test_retrieval_gives_captions(tmp_path: Path) -> None:
    data = read_tar_folder(folder(tmp_path, retrieval=True))
    assert data.classes == ()
    assert data.splits["test"].columns["captions"].values[4] == ("one 4", "two 4")


def test_keys_are_those_of_files(tmp_path: Path) -> None:
    data = read_tar_folder(folder(tmp_path / "wds"))
    for split, table in data.splits.items():
        for i in range(len(table)):
            place = tmp_path / "plain" / split / ("cat", "sea horse")[i % 2] / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encoded((i, i, i)))
    assert data.hash == class_folder(tmp_path / "plain").hash


def test_without_names_the_classes_are_numbers(tmp_path: Path) -> None:
    (folder(tmp_path) / "classnames.txt").unlink()
    assert read_tar_folder(tmp_path).classes == ("0", "1")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no train or test folder with an nshards"):
        read_tar_folder(tmp_path)
    root = folder(tmp_path)
    (root / "classnames.txt").write_text("cat\n")
    with pytest.raises(DataError, match=r"holds label 1, and classnames\.txt has 1"):
        read_tar_folder(root)
    whole = (root / "test/1.tar").read_bytes()
    (root / "test/1.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match="is compressed"):
        read_tar_folder(root)
    (root / "test/1.tar").write_bytes(whole[:900])
    with pytest.raises(UnreadableItem, match=r"1\.tar.*truncated"):
        read_tar_folder(root)
    (root / "test/1.tar").unlink()
    with pytest.raises(DataError, match=r"1\.tar is missing"):
        read_tar_folder(root)
    (root / "test/nshards.txt").write_text("many")
    with pytest.raises(DataError, match="says 'many'"):
        read_tar_folder(root)


@pytest.mark.parametrize(
    ("members", "message"),
    [({"png": b"x"}, r"has no \.cls"), ({"cls": "1"}, "no picture"), ({"png": b"x", "cls": "cat"}, "label 'cat'")],
)
def test_items_that_lack_something(tmp_path: Path, members: dict[str, bytes | str], message: str) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test/nshards.txt").write_text("1")
    with webdataset.TarWriter(str(tmp_path / "test/0.tar")) as writer:
        writer.write({"__key__": "a", **members})
    with pytest.raises(DataError, match=message):
        read_tar_folder(tmp_path)


def test_a_tar_that_shrinks_later_is_named(tmp_path: Path) -> None:
    items = read_tar_folder(folder(tmp_path)).splits["test"].items
    assert isinstance(items, TarImages)
    (tmp_path / "test/0.tar").write_bytes(b"")
    with pytest.raises(UnreadableItem, match=r"0\.tar!s1\.png: the tar ends"):
        items[1]
    (tmp_path / "test/0.tar").unlink()
    with pytest.raises(UnreadableItem, match="No such file"):
        items.key(1)


def damaged(root: Path) -> Path:
    """Three tars of two pictures each: the second is cut in its second picture, the third has what is refused too."""
    root.mkdir()
    for shard in range(3):
        with webdataset.TarWriter(str(root / f"{shard:05d}.tar")) as writer:
            for i in range(2):
                noise = np.random.default_rng(10 * shard + i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
                out = io.BytesIO()
                Image.fromarray(noise).save(out, "PNG")
                writer.write({"__key__": f"{shard}{i}", "png": out.getvalue(), "txt": f"a cat number {i} of {shard}"})
    whole = (root / "00001.tar").read_bytes()
    (root / "00001.tar").write_bytes(whole[: len(whole) // 2])
    with tarfile.open(root / "00002.tar", "a") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        for name in ("../above.png", "text.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return root


def test_what_cannot_be_read_is_an_item_that_says_so(tmp_path: Path) -> None:
    root = damaged(tmp_path / "tars")
    items = open_data(root, need="photos").splits["test"].items
    read, refused, names = [], dict[str, str](), list[str]()
    for i in range(len(items)):
        try:
            read.append((items.name(i), items.key(i), items[i].size))
        except UnreadableItem as error:
            refused[error.name] = error.reason
            names.append(items.name(i))
    assert [name.rpartition("/")[2] for name, _, _ in read] == [
        f"{tar}!{name}" for tar, name in (("00000.tar", "00.png"), ("00000.tar", "01.png"),
        ("00001.tar", "10.png"), ("00002.tar", "20.png"), ("00002.tar", "21.png"))
    ]  # fmt: skip
    assert names == list(refused)
    assert refused == {
        f"{root}/00001.tar!11.png": "the tar ends before it",
        f"{root}/00001.tar": "damaged or truncated tar (unexpected end of data)",
        f"{root}/00002.tar!link.png": "a link, device or sparse file, which is refused",
        f"{root}/00002.tar!../above.png": "its name leads outside the tar",
        f"{root}/00002.tar!text": "has no picture",
    }
