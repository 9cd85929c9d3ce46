"""Whatever people have becomes the same samples, or one sentence that names its type."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from diptych.core import DataError, Table, UnreadableItem, UsageError
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.samples import as_data, as_samples, as_table, classes_of

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


class Pairs(Dataset[Any]):
    """A dataset as torchvision has them; some of those have ``targets`` and ``classes``."""

    targets: list[int]
    classes: list[str]

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def held(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def forms(photo: Path) -> dict[str, Any]:
    chw = torch.from_numpy(PIXELS).permute(2, 0, 1)
    return {
        "path": str(photo),
        "Path": photo,
        "folder": photo.parent,
        "PIL": held(photo),
        "uint8": PIXELS,
        "float32": (PIXELS / 255).astype(np.float32),
        "batch": PIXELS[None],
        "tensor": chw.float() / 255,
        "uint8 tensor": chw,
        "tensor batch": chw[None],
        "list of paths": [photo],
        "list of PIL": [held(photo)],
        "list of arrays": [PIXELS],
        "list of a folder": [str(photo.parent)],
        "tuple": (photo,),
        "iterator": photo.parent.glob("*.png"),
        "bytes": photo.read_bytes(),
        "open file": BytesIO(photo.read_bytes()),
        "array of paths": np.array([str(photo)]),
        "series": pd.Series([photo]),
        "frame": pd.DataFrame({"path": [str(photo)], "label": ["a"]}),
        "dataset of torch": Pairs([(held(photo), 0)]),
        "samples": as_samples(photo),
        "table": Table(as_samples(photo)),
        "data": open_data(photo.parent),
        "dictionary": {"test": as_samples(photo)},
    }


FORMS = (
    "path", "Path", "folder", "PIL", "uint8", "float32", "batch", "tensor", "uint8 tensor", "tensor batch",
    "list of paths", "list of PIL", "list of arrays", "list of a folder", "tuple", "iterator", "bytes", "open file",
    "array of paths", "series", "frame", "dataset of torch", "samples", "table", "data",
    "dictionary",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_photo(form: str, photo: Path) -> None:
    samples = as_samples(forms(photo)[form])
    assert len(samples) == 1
    assert np.array_equal(np.asarray(samples[0]), PIXELS)
    assert samples.key(0) == as_samples(forms(photo)[form]).key(0)


def test_half_precision_is_read_as_floats() -> None:
    pixels = torch.arange(12).reshape(1, 3, 2, 2) / 16
    for kind in (torch.float16, torch.bfloat16):
        assert np.array_equal(np.asarray(as_samples(pixels.to(kind))[0]), np.asarray(as_samples(pixels)[0]))


def test_a_frame_brings_labels_captions_and_splits(photo: Path) -> None:
    frame = pd.DataFrame({"path": [str(photo)] * 3, "label": ["b", "a", "b"], "caption": ["x", "", "y"]})
    table = as_table(frame)
    assert table.classes == ("a", "b")
    assert table.labels().tolist() == [1, 0, 1]
    assert table.columns["captions"].values == (("x",), (), ("y",))
    data = as_data(frame.assign(split=["train", "validation", "train"]))
    assert {name: len(split) for name, split in data.items()} == {"train": 2, "val": 1}
    assert data["val"].labels().tolist() == [0]
    with pytest.raises(DataError, match=r"no column of paths \(path or .*, only label: rename one"):
        as_samples(frame[["label"]])


def test_a_table_of_pyarrow_is_a_frame(photo: Path) -> None:
    frame = pa.table({"path": [str(photo)] * 2, "label": ["b", "a"], "split": ["train", "validation"]})
    assert as_table(frame).labels().tolist() == [1, 0]
    assert list(as_data(frame)) == ["train", "val"]
    with pytest.raises(DataError, match=r"only label: rename one"):
        as_samples(frame.select(["label"]))


def test_a_dataset_of_torch_brings_its_labels(photo: Path) -> None:
    pairs = Pairs([(held(photo), 1), (held(photo), 0)])
    assert as_table(pairs, names=["a", "b"]).labels().tolist() == [1, 0]
    pairs.targets, pairs.classes = [0, 0], ["cat", "dog"]
    table = as_table(pairs)
    assert (table.labels().tolist(), table.classes) == ([0, 0], ("cat", "dog"))
    part = as_table(Subset(pairs, [0]))
    assert (part.labels().tolist(), part.classes) == ([1], ("cat", "dog"))
    with pytest.raises(UsageError, match=r"type DataLoader: give its \.dataset"):
        as_samples(DataLoader(pairs))


@pytest.mark.parametrize(
    "labels",
    [
        [np.int64(1), np.int64(0)],
        np.array([1, 0]),
        torch.tensor([1, 0]),
        pd.Series(["b", "a"], dtype="category"),
        [np.True_, np.False_],
    ],
)
def test_labels_come_in_any_type(labels: Any, photo: Path) -> None:
    assert as_table(([photo, photo], labels), names=["a", "b"]).labels().tolist() == [1, 0]


def test_no_form_is_left_out(photo: Path) -> None:
    assert tuple(forms(photo)) == FORMS


def test_mixed_lists_keep_their_order(photo: Path) -> None:
    grey = np.full((4, 4), 7, np.uint8)
    samples = as_samples([grey, str(photo), Image.new("RGBA", (2, 2)), photo.parent])
    assert [samples[i].size for i in range(4)] == [(4, 4), (9, 6), (2, 2), (9, 6)]
    assert samples.name(0) == "0"
    assert samples.name(2) == "2"
    assert samples.name(1).endswith("a.png")


def test_a_picture_in_memory_is_read_as_its_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    Image.fromarray(PIXELS).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    file = as_samples(tmp_path / "turned.jpg")[0]
    with Image.open(tmp_path / "turned.jpg") as image:
        memory = as_samples(image)[0]
    assert file.size == memory.size == (6, 9)
    assert np.array_equal(np.asarray(file), np.asarray(memory))


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.repeat(np.repeat(PIXELS, 30, 0), 30, 1)).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    with Image.open(tmp_path / "b.png") as image, pytest.raises(UnreadableItem, match="picture 0"):
        as_samples([image])


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (3.5, UsageError, "cannot be of the type float"),
        (None, UsageError, "cannot be of the type NoneType"),
        ([1, 2], UsageError, "Item 0 of these photos is 1"),
        ({"a.png"}, UsageError, r"a set, which has no order: give sorted"),
        (["https://here/a.png"], UsageError, "https://here/a.png is an address of the web"),
        (np.zeros((3, 5, 6)), DataError, r"not \(3, 5, 6\): move the channels: np.moveaxis"),
        (torch.zeros(5, 7, 3), DataError, r"not \(5, 7, 3\): move the channels: x.movedim"),
        (np.zeros((0, 4, 3)), DataError, "has no pixels"),
        (np.full((4, 9), -0.2), DataError, "embeddings go to diptych.sklearn"),
        (np.zeros((3, 5, 7)), DataError, r"\(H, W, 3\) or .*, not \(3, 5, 7\)"),
        (torch.zeros(5, 7, 3), DataError, r"tensor of photos is \(3, H, W\) or .*, not \(5, 7, 3\)"),
        (torch.zeros(7), DataError, r"not \(7,\)"),
        (np.full((4, 4, 3), 255.0), DataError, r"lie in \[0, 1\], and these in \[255, 255\]: divide by 255"),
        (torch.full((3, 4, 4), -1.0), DataError, "before they are normalised"),
        (np.full((4, 4, 3), np.nan), DataError, "nan"),
        (np.zeros((4, 4, 3), np.int64), DataError, "not int64"),
        ({"train": [], "test": []}, DataError, r"splits train, test: give one"),
        ("nothing/here", UsageError, "no file or folder nothing/here"),
    ],
)
def test_what_is_no_photo_is_refused_by_its_type(bad: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        as_samples(bad)


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Rows:
    """As much of a Hugging Face dataset as is read."""

    def __init__(self, values: list[Any], labels: list[int]) -> None:
        coarse, fine = ClassLabel(["animal"]), ClassLabel(["cat", "dog"])
        self.features = {"coarse": coarse, "label": fine, "picture": type("Image", (), {})(), "caption": None}
        self.column_names = list(self.features)
        self._rows = [
            {"picture": v, "coarse": 0, "label": k, "caption": [f"a {k}", "an animal"]}
            for v, k in zip(values, labels, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: Any) -> Any:
        return [r[which] for r in self._rows] if isinstance(which, str) else self._rows[which]

    def to_list(self) -> list[Any]:
        raise AssertionError("all pictures at once")


def test_rows_of_a_dataset(photo: Path) -> None:
    rows = Rows([held(photo), {"bytes": photo.read_bytes(), "path": None}, {"bytes": None, "path": str(photo)}],
                [1, 0, 1])  # fmt: skip
    samples = as_samples(rows)
    assert [np.array_equal(np.asarray(samples[i]), PIXELS) for i in range(3)] == [True] * 3
    assert len({samples.key(i) for i in range(3)}) == 1
    assert samples.name(2) == "row 2"
    table = as_table(rows)
    assert table.classes == classes_of(rows) == ("cat", "dog")
    assert table.labels().tolist() == [1, 0, 1]
    assert table.columns["captions"].values[0] == ("a 1", "an animal")
    batch = {"picture": rows["picture"], "label": rows["label"]}
    for form in (rows[1], batch, iter(rows._rows), pd.DataFrame({"image": rows["picture"][1:]})):
        assert np.array_equal(np.asarray(as_samples(form)[0]), PIXELS)
    assert len(as_samples(batch)) == 3
    with pytest.raises(UnreadableItem, match="row 0: the row has no picture"):
        as_samples(Rows([None], [0]))[0]
    data = as_data({"train": rows, "validation": rows})
    assert list(data) == ["train", "val"]
    assert data.classes == ("cat", "dog")


def test_a_real_dataset(photo: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = datasets.Dataset.from_dict({"image": [str(photo)] * 2, "label": [1, 0]}, features=features)
    table = as_table(rows)
    assert np.array_equal(np.asarray(table.items[1]), PIXELS)
    assert (table.classes, table.labels().tolist()) == (("cat", "dog"), [1, 0])


def test_photos_with_labels() -> None:
    named = as_table(([PIXELS, PIXELS], ["dog", "cat"]))
    assert (named.classes, named.labels().tolist()) == (("cat", "dog"), [1, 0])
    counted = as_table(([PIXELS, PIXELS], np.array([1, 0])), names=["cat", "dog"])
    assert (counted.classes, counted.labels().tolist()) == (("cat", "dog"), [1, 0])
    with pytest.raises(UsageError, match="These labels are numbers"):
        as_table(([PIXELS], [0]))
    with pytest.raises(DataError, match="label 2 is none of the 2 classes"):
        as_table(([PIXELS], [2]), names=["cat", "dog"])
    with pytest.raises(DataError, match="2 labels for 1 photos"):
        as_table(([PIXELS], [0, 1]), names=["cat", "dog"])


def test_data_read_like_a_mapping(colours: Path) -> None:
    data = open_data(colours)
    assert list(data) == ["train", "test"]
    assert len(data) == 2
    assert repr(data) == "LabelledData('colours', 5 classes, train: 40 items, test: 50 items)"
    assert data["test"].classes == data.classes
    assert data["test"].take([3, 1]).classes == data.classes
    assert data["test"].take([3, 1]).labels().tolist() == data.splits["test"].labels()[[3, 1]].tolist()
    with pytest.raises(DataError, match="no val split, only train, test"):
        _ = data["val"]
    assert isinstance(data, LabelledData)
    with pytest.raises(AttributeError, match=r"A LabelledData has no 'train': use data\[\"train\"\]\."):
        _ = data.train  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="A NamedTable has no 'head': it has classes, columns, "):
        _ = data["test"].head  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"items\[i\] is a picture"):
        _ = data["test"][0]
    assert pickle.loads(pickle.dumps(data)).classes == data.classes


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([None, None], r"2 photos have no label, the first at position 0 \(None\)"),
        (["cat", float("nan")], r"1 photo has no label, the first at position 1 \(nan\)"),
        (["cat", 0], "Labels are names, such as 'cat', or positions in names=.*, and 0 stands beside names"),
        ([1, 0], "These labels are numbers, and nothing names them"),
    ],
)
def test_labels_that_are_missing_or_of_two_kinds_are_named(labels: list[Any], sentence: str) -> None:
    photos = [np.zeros((4, 4, 3), np.uint8)] * 2
    with pytest.raises((DataError, UsageError), match=sentence):
        as_table((photos, labels))
