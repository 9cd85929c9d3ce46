"""What people have, as samples and as labelled tables: paths, pictures, arrays, tensors, lists of these, data frames,
and datasets of Hugging Face and torchvision. Loads none of these packages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from diptych.core import DataError, Samples, Subset, Table, UnreadableItem, UsageError
from diptych.core.wording import columns_there, number_of
from diptych.data.folders import ImageFiles
from diptych.data.formats.weighted import CAPTION_WEIGHTS, caption_columns
from diptych.data.images import SUFFIXES, decode_image
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, LabelledData, NamedTable, label_column
from diptych.data.load import open_data
from diptych.data.memory import InMemory, is_array, pictures_of
from diptych.data.named_sets import absent
from diptych.data.rows import CAPTION_COLUMNS, LABEL_COLUMNS, PATH_COLUMNS, columns_of

TAKEN = (
    "a path, a folder, a table, demo:photos, a PIL picture, the bytes of a file, an array (H, W, 3), a tensor "
    "(3, H, W), a list of any of these, a data frame with a column of paths, or a dataset of Hugging Face or "
    "torchvision"
)

PICTURE_COLUMNS = ("image", "img", "picture", "photo")
"""Names of columns of pictures in datasets."""


def as_samples(x: object, keys: FileKeys | None = None) -> Samples[Any]:
    """Return photos as samples, whatever they come as.

    Args:
        x: samples; a table, or a data set of one split; the path of a picture, a folder or a table, or "demo:photos"; a
            PIL picture; an open file, or its bytes; an array (H, W), (H, W, 3) or (N, H, W, 3), or a tensor (3, H, W)
            or (N, 3, H, W), each uint8 or float in [0, 1]; a Hugging Face dataset with a column of pictures, or rows of
            one; a dataset of torchvision, whose items begin with a picture; a data frame of pandas, polars or pyarrow
            with a column of ``PATH_COLUMNS``; or a list, an iterator, a series or an array of objects of any of these.
        keys: remembers content keys of files.

    Raises:
        UsageError: it is none of these, or a path leads nowhere.
        DataError: an array or tensor of another shape or range, or several splits.

    Example:
        >>> import numpy as np
        >>> photos = as_samples([np.zeros((4, 6, 3), np.uint8), Image.new("L", (3, 3))])
        >>> [p.size for p in (photos[0], photos[1])], photos.name(1)
        ([(6, 4), (3, 3)], '1')
        >>> as_samples(3.5)
        Traceback (most recent call last):
        ...
        diptych.core.errors.UsageError: Photos cannot be of the type float: give a path, ...
    """
    if isinstance(x, Samples):
        return x
    if _is_frame(x):
        return as_samples(_cells(x, _frame_column(x, PATH_COLUMNS, "of paths")), keys)
    if _is_stream(x):
        x = list(x)  # type: ignore[call-overload]
    elif hasattr(x, "to_list") and not (hasattr(x, "tolist") or _is_dataset(x)):
        x = x.to_list()  # a series of polars
    elif hasattr(x, "tolist") and (not is_array(x) or getattr(getattr(x, "dtype", None), "kind", "") in ("O", "U")):
        x = x.tolist()  # a series, or an array of paths
    if isinstance(x, (str, os.PathLike)):
        return open_data(x, keys, need="photos").whole().items
    if isinstance(x, Table):
        return x.items
    if isinstance(x, Mapping) and (column := next((c for c in PICTURE_COLUMNS if c in x), None)) is not None:
        return as_samples(x[column] if isinstance(x[column], Sequence) else [x[column]], keys)  # rows of a dataset
    if isinstance(x, Mapping) and "bytes" in x:
        return as_samples([x["bytes"] or x["path"]], keys)  # a picture as Hugging Face stores it
    if isinstance(x, (LabelledData, Mapping)):
        return _one_split(x, keys)
    if isinstance(x, (bytes, bytearray)) or hasattr(x, "read"):
        data: Any = x.read() if hasattr(x, "read") else x
        return InMemory([decode_image(bytes(data), "the picture")], ("picture",))
    if isinstance(x, Image.Image) or is_array(x):
        pictures = pictures_of(x, "the picture")
        return InMemory(pictures, () if len(pictures) > 1 else ("picture",))
    if _is_dataset(x):
        return DatasetPictures(x, _image_column(x))
    if _is_pairs(x):
        return DatasetPictures(x, 0)
    if isinstance(x, Sequence):
        return _listed(x, keys)
    if isinstance(x, Set):
        raise UsageError("Photos cannot be a set, which has no order: give sorted(...) of it.")
    if hasattr(x, "dataset") or hasattr(x, "collect"):
        remedy = "its .dataset, since a loader may shuffle" if hasattr(x, "dataset") else "its .collect()"
        raise UsageError(f"Photos cannot be of the type {type(x).__name__}: give {remedy}.")
    raise UsageError(f"Photos cannot be of the type {type(x).__name__}: give {TAKEN}.")


def as_data(x: object, keys: FileKeys | None = None) -> LabelledData:
    """Return a data set: one that is open, a path (see ``data.load.open_data``), what ``as_table`` takes, or a
    dictionary of these by the names of the splits.

    Raises:
        UsageError, DataError: as ``open_data`` and ``as_table`` do.
    """
    if isinstance(x, LabelledData):
        return x
    if isinstance(x, (str, os.PathLike)):
        return open_data(x, keys)
    if _is_frame(x) and "split" in _column_names(x):
        whole, rows = as_table(x, keys), dict[str, list[int]]()
        for i, split in enumerate(_cells(x, "split")):
            rows.setdefault(SPLIT_NAMES.get(str(split).lower(), str(split)), []).append(i)
        return LabelledData("data", whole.classes, {name: whole.take(members) for name, members in rows.items()})
    parts = {SPLIT_NAMES.get(str(n).lower(), str(n)): t for n, t in x.items()} if isinstance(x, Mapping) else {"": x}
    tables = {name or "test": as_table(part, keys) for name, part in parts.items()}
    classes = next((t.classes for t in tables.values() if t.classes), ())
    if any(t.classes not in ((), classes) for t in tables.values()):
        raise DataError("The splits have different classes: give them one order of names.")
    return LabelledData("data", classes, dict(tables))


def as_table(x: object, keys: FileKeys | None = None, names: Sequence[str] = ()) -> NamedTable:
    """Return a table of photos, with labels where there are some.

    Args:
        x: a table; a path or a data set of one split; a dataset of Hugging Face or torchvision; a data frame whose
            columns have the names in ``data.rows``; a pair (photos, labels), the labels positions in ``names`` or names
            themselves; or photos without labels, see ``as_samples``.
        keys: remembers content keys of files.
        names: of the classes, in order, where ``x`` does not bring them.

    Raises:
        UsageError, DataError: as ``as_samples`` does, or a label that names no class.
    """
    if isinstance(x, Table):
        return x if isinstance(x, NamedTable) else NamedTable(x.items, x.columns, tuple(names))
    if isinstance(x, (str, os.PathLike)):
        x = open_data(x, keys)
    if isinstance(x, LabelledData) and len(x) == 1:
        return x[next(iter(x))]
    if isinstance(x, tuple) and len(x) == 2 and not isinstance(x[1], (str, os.PathLike, Image.Image)):
        return _labelled(as_samples(x[0], keys), x[1], names)
    if _is_dataset(x):
        return _framed(x, as_samples(x, keys), _label_column(x), classes_of(x) or names)
    if _is_frame(x):
        return _framed(x, as_samples(x, keys), next(iter(columns_of(_column_names(x), LABEL_COLUMNS)), None), names)
    if _is_pairs(x):
        labels = getattr(x, "targets", None)
        known = classes_of(x) or tuple(names)
        return _labelled(as_samples(x), [x[i][1] for i in range(len(x))] if labels is None else labels, known)  # type: ignore[index,arg-type]
    return NamedTable(as_samples(x, keys), {}, ())


def openable(samples: Samples[Any]) -> tuple[Subset[Any], list[UnreadableItem]]:
    """Return the items that can be read, in order, and why the others cannot."""
    readable, failed = [], []
    for i in range(len(samples)):
        try:
            samples[i]
            readable.append(i)
        except UnreadableItem as error:
            failed.append(error)
    return Subset(samples, tuple(readable)), failed


def need_photos(samples: Samples[Any]) -> None:
    """Refuse samples of which there are none.

    Raises:
        DataError: there is none.
    """
    if len(samples) == 0:
        raise DataError("No photos: give a folder, a table or files that hold some.")


def need_readable(samples: Samples[Any]) -> None:
    """Refuse samples of which none can be opened; items are opened until one can be.

    Raises:
        DataError: there is none.
    """
    first: UnreadableItem | None = None
    for i in range(len(samples)):
        try:
            samples[i]
        except UnreadableItem as error:
            first = first or error
        else:
            return
    reason = f" ({first})" if first else ""
    raise DataError(f"No photo can be read{reason}: give files or a folder that hold some.")


def classes_of(x: object) -> tuple[str, ...]:
    """Return the class names that photos bring: those of a table, or of a dataset of Hugging Face or torchvision."""
    if _is_dataset(x) and (column := _label_column(x)) is not None:
        return tuple(getattr(x.features[column], "names", ()))  # type: ignore[attr-defined]
    known: Sequence[str] = getattr(x, "classes", ()) or getattr(getattr(x, "dataset", None), "classes", ())
    return tuple(known)  # the second of a torch Subset


@dataclass(frozen=True)
class DatasetPictures:
    """The pictures of a dataset of Hugging Face or torchvision, decoded when they are asked for.

    Args:
        rows: the dataset: has a length, and gives a row as a dictionary or a tuple.
        column: with the pictures, by its name or position.
    """

    rows: Any
    column: str | int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Image.Image:
        try:
            value = self.rows[index][self.column]
        except (OSError, ValueError) as error:
            raise UnreadableItem(self.name(index), str(error)) from None
        if value is None:
            raise UnreadableItem(self.name(index), "the row has no picture")
        picture: Image.Image = as_samples([value])[0]
        return picture

    def key(self, index: int, /) -> str:
        """Return the hash of the pixels."""
        return InMemory((self[index],)).key(0)

    def name(self, index: int, /) -> str:
        """Return the number of the row."""
        return f"row {index}"


def _one_split(x: LabelledData | Mapping[Any, Any], keys: FileKeys | None) -> Samples[Any]:
    if len(x) != 1:
        splits, first = ", ".join(map(str, x)), next(iter(x))
        raise DataError(f"These data have the splits {splits}: give one of them, such as open_data(data)[{first!r}].")
    return as_samples(x[next(iter(x))], keys)


def _listed(x: Sequence[Any], keys: FileKeys | None) -> Samples[Any]:
    """Return a list as samples: files as files, pictures in memory, anything else as samples of its own."""
    if address := next((e for e in x if isinstance(e, str) and e.startswith(("http://", "https://"))), None):
        raise absent(address)
    if x and all(_is_file(e) for e in x):
        return ImageFiles(x, keys)
    if all(isinstance(e, Image.Image) or (is_array(e) and e.ndim < 4) for e in x):
        return InMemory([pictures_of(e, f"picture {i}")[0] for i, e in enumerate(x)])
    parts: list[Samples[Any]] = []
    for i, e in enumerate(x):
        if isinstance(e, (int, float)) or e is None:
            raise UsageError(f"Item {i} of these photos is {e!r}: give {TAKEN}.")
        inside = as_samples(e, keys) if not _is_file(e) else ImageFiles([e], keys)
        single = isinstance(inside, InMemory) and len(inside) == 1
        parts.append(InMemory(inside.items, (str(i),)) if single and isinstance(inside, InMemory) else inside)
    return Joined(tuple(parts))


def _is_stream(x: object) -> bool:
    """Whether this can be read once and in order: a generator, or an iterable dataset of Hugging Face."""
    return hasattr(x, "__iter__") and not any(hasattr(x, name) for name in ("__len__", "read", "shape"))


def _is_file(x: object) -> bool:
    return isinstance(x, (str, os.PathLike)) and Path(x).suffix.lower() in SUFFIXES and not Path(x).is_dir()


def _is_frame(x: object) -> bool:
    """Whether this is a data frame of pandas or polars, or a table of pyarrow."""
    return all(hasattr(x, name) for name in ("columns", "shape", "__getitem__"))


def _column_names(x: Any) -> list[str]:
    return [str(name) for name in getattr(x, "column_names", None) or x.columns]


def _cells(x: Any, column: str) -> list[Any]:
    values = x[column]
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values)


def _frame_column(x: Any, wanted: Sequence[str], what: str) -> str:
    columns = columns_of(_column_names(x), wanted)
    if not columns:
        raise DataError(
            f"The data frame has no column {what} ({' or '.join(wanted)}), only "
            f"{columns_there(_column_names(x))}: rename one."
        )
    return columns[0]


def _framed(x: Any, items: Samples[Any], label: str | None, names: Sequence[str]) -> NamedTable:
    """Return the rows of a data frame or dataset, with labels and captions where it has them."""
    names_of = _column_names(x)
    cells = {c: _cells(x, c) for c in (*columns_of(names_of, CAPTION_COLUMNS), *columns_of(names_of, CAPTION_WEIGHTS))}
    table = NamedTable(items, {}, ()) if label is None else _labelled(items, _cells(x, label), names)
    columns = {**table.columns, **caption_columns(cells, range(len(items)), "the data frame")}
    return NamedTable(items, columns, table.classes)


def _is_pairs(x: object) -> bool:
    """Whether this is a dataset of torch: items of a picture and a label, with a length."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.utils.data.Dataset) and hasattr(x, "__len__")


def _is_dataset(x: object) -> bool:
    return all(hasattr(x, name) for name in ("features", "column_names", "__len__", "__getitem__"))


def _image_column(x: Any) -> str:
    for name, feature in (x.features or {}).items():
        if type(feature).__name__ == "Image":
            return str(name)
    for name in x.column_names:
        if name in PICTURE_COLUMNS:
            return str(name)
    raise DataError(f"The dataset has no column of pictures, only {columns_there(x.column_names)}: cast one to Image.")


def _label_column(x: Any) -> str | None:
    named = [n for n, feature in (x.features or {}).items() if type(feature).__name__ == "ClassLabel"]
    return "label" if "label" in x.column_names else str(named[0]) if named else None


def _is_missing(label: object) -> bool:
    """Return whether a label is None, NaN, or the missing value of pandas."""
    return label is None or type(label).__name__ == "NAType" or (isinstance(label, float) and label != label)


def _labelled(items: Samples[Any], labels: Any, names: Sequence[str]) -> NamedTable:
    """Return a table of items and their labels: names, or positions in ``names``."""
    values = [v.item() if hasattr(v, "item") else v for v in labels]
    if len(values) != len(items):
        remedy = "give one per photo; embeddings go to diptych.sklearn.EmbeddingClassifier"
        raise DataError(f"There are {len(values)} labels for {len(items)} photos: {remedy}.")
    classes = tuple(names) or tuple(sorted({str(v) for v in values if isinstance(v, str)}))
    if missing := [i for i, v in enumerate(values) if _is_missing(v)]:
        raise DataError(
            f"{number_of(len(missing), 'photo has', 'photos have')} no label, the first at position {missing[0]} "
            f"({values[missing[0]]!r}): leave such photos out, or name their classes."
        )
    if not names and classes and (numbers := [v for v in values if not isinstance(v, str)]):
        raise DataError(
            f"Labels are names, such as {classes[0]!r}, or positions in names=[...], and {numbers[0]!r} stands beside "
            f"names: write it as one."
        )
    if not classes:
        raise UsageError("These labels are numbers, and nothing names them: give names=[...] in their order.")
    wrong = [v for v in values if v not in classes and not (isinstance(v, int) and 0 <= v < len(classes))]
    if wrong:
        raise DataError(
            f"The label {wrong[0]!r} is none of the {len(classes)} classes {', '.join(classes[:3])} ...: give "
            f"names, or positions from 0 to {len(classes) - 1}."
        )
    labels = [v if isinstance(v, str) else classes[v] for v in values]
    return NamedTable(items, {"label": label_column(labels, classes)}, classes)
