"""What people have, as samples and as labelled tables: paths, pictures, arrays, tensors, lists of these, and objects of
Hugging Face's ``datasets``. Loads neither torch nor ``datasets``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core.data import Samples, Table
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.images import SUFFIXES, decode_image, upright_rgb
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, LabelledData, NamedTable, label_column
from diptych.data.load import open_data
from diptych.data.memory import InMemory

TAKEN = (
    "a path, a folder, a table, demo:photos, a PIL picture, an array (H, W, 3), a tensor (3, H, W), a list of any of "
    "these, or a Hugging Face dataset with a column of pictures"
)


def as_samples(x: object, keys: FileKeys | None = None) -> Samples[Any]:
    """Return photos as samples, whatever they come as.

    Args:
        x: samples; a table, or a data set of one split; the path of a picture, a folder or a table, or "demo:photos"; a
            PIL picture; an array (H, W), (H, W, 3) or (N, H, W, 3), or a tensor (3, H, W) or (N, 3, H, W), each uint8
            or float in [0, 1]; a Hugging Face dataset with a column of pictures; or a list of any of these.
        keys: remembers content keys of files.

    Raises:
        UsageError: it is none of these, or a path leads nowhere.
        DataError: an array or tensor of another shape or range, or several splits.

    Example:
        >>> photos = as_samples([np.zeros((4, 6, 3), np.uint8), Image.new("L", (3, 3))])
        >>> [p.size for p in (photos[0], photos[1])], photos.name(1)
        ([(6, 4), (3, 3)], '1')
        >>> as_samples(3.5)
        Traceback (most recent call last):
        ...
        diptych.core.errors.UsageError: Photos cannot be a float: give a path, ...
    """
    if isinstance(x, Samples):
        return x
    if isinstance(x, (str, os.PathLike)):
        return open_data(x, keys, need="photos").whole().items
    if isinstance(x, Table):
        return x.items
    if isinstance(x, (LabelledData, Mapping)):
        return _one_split(x, keys)
    if isinstance(x, Image.Image) or _is_array(x):
        pictures = _pictures(x, "the picture")
        return InMemory(pictures, () if len(pictures) > 1 else ("picture",))
    if _is_dataset(x):
        return DatasetPictures(x, _image_column(x))
    if isinstance(x, Sequence):
        return _listed(x, keys)
    raise UsageError(f"Photos cannot be a {type(x).__name__}: give {TAKEN}.")


def as_data(x: object, keys: FileKeys | None = None) -> LabelledData:
    """Return a data set: one that is open, a path (see ``data.load.open_data``), a labelled table, or a Hugging Face
    dataset or dictionary of datasets with columns of pictures and of labels.

    Raises:
        UsageError, DataError: as ``open_data`` and ``as_table`` do.
    """
    if isinstance(x, LabelledData):
        return x
    if isinstance(x, (str, os.PathLike)):
        return open_data(x, keys)
    parts = {SPLIT_NAMES.get(str(n).lower(), str(n)): t for n, t in x.items()} if isinstance(x, Mapping) else {"": x}
    tables = {name or "test": as_table(part, keys) for name, part in parts.items()}
    classes = next((t.classes for t in tables.values() if t.classes), ())
    if any(t.classes not in ((), classes) for t in tables.values()):
        raise DataError("The splits have different classes: give them one order of names.")
    return LabelledData("data", classes, dict(tables))


def as_table(x: object, keys: FileKeys | None = None, names: Sequence[str] = ()) -> NamedTable:
    """Return a table of photos, with labels where there are some.

    Args:
        x: a table; a path or a data set of one split; a Hugging Face dataset; a pair (photos, labels), the labels
            positions in ``names`` or names themselves; or photos without labels, see ``as_samples``.
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
    if _is_dataset(x) and (column := _label_column(x)) is not None:
        return _labelled(as_samples(x, keys), x[column], tuple(getattr(x.features[column], "names", names)))  # type: ignore[index,attr-defined]
    return NamedTable(as_samples(x, keys), {}, ())


@dataclass(frozen=True)
class DatasetPictures:
    """The pictures of a Hugging Face dataset, decoded when they are asked for.

    Args:
        rows: the dataset: has a length, and gives a row as a dictionary.
        column: with the pictures.
    """

    rows: Any
    column: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Image.Image:
        try:
            value = self.rows[index][self.column]
        except (OSError, ValueError) as error:
            raise UnreadableItem(self.name(index), str(error)) from None
        if isinstance(value, Mapping):
            value = decode_image(value["bytes"], self.name(index)) if value.get("bytes") else value.get("path")
        return as_samples([value])[0]

    def key(self, index: int, /) -> str:
        """Return the hash of the pixels."""
        return InMemory((self[index],)).key(0)

    def name(self, index: int, /) -> str:
        """Return the number of the row."""
        return f"row {index}"


def _one_split(x: LabelledData | Mapping[Any, Any], keys: FileKeys | None) -> Samples[Any]:
    if len(x) != 1:
        raise DataError(f"These data have the splits {', '.join(map(str, x))}: give one of them, such as data['test'].")
    return as_samples(x[next(iter(x))], keys)


def _listed(x: Sequence[Any], keys: FileKeys | None) -> Samples[Any]:
    """Return a list as samples: files as files, pictures in memory, anything else as samples of its own."""
    if x and all(_is_file(e) for e in x):
        return ImageFiles(x, keys)
    if all(isinstance(e, Image.Image) or (_is_array(e) and e.ndim < 4) for e in x):
        return InMemory([_pictures(e, f"picture {i}")[0] for i, e in enumerate(x)])
    parts: list[Samples[Any]] = []
    for i, e in enumerate(x):
        inside = as_samples(e, keys) if not _is_file(e) else ImageFiles([e], keys)
        single = isinstance(inside, InMemory) and len(inside) == 1
        parts.append(InMemory(inside.items, (str(i),)) if single and isinstance(inside, InMemory) else inside)
    return Joined(tuple(parts))


def _is_file(x: object) -> bool:
    return isinstance(x, (str, os.PathLike)) and Path(x).suffix.lower() in SUFFIXES and not Path(x).is_dir()


def _is_array(x: object) -> bool:
    """Whether this is an array or a tensor; a tensor can only be one where torch is loaded."""
    torch = sys.modules.get("torch")
    return isinstance(x, np.ndarray) or (torch is not None and isinstance(x, torch.Tensor))


def _pictures(x: Any, name: str) -> list[Any]:
    """Return the pictures of a PIL picture, an array or a tensor."""
    if isinstance(x, Image.Image):
        try:
            return [upright_rgb(x)]
        except (OSError, ValueError) as error:
            raise UnreadableItem(name, str(error)) from None
    shape = tuple(x.shape)
    if isinstance(x, np.ndarray):
        values, last = x, len(shape) == 2 or shape[-1:] in ((1,), (3,), (4,))
        wanted = "(H, W, 3) or (N, H, W, 3)"
    else:
        values, last = x.detach().cpu().numpy(), len(shape) in (3, 4) and shape[-3] in (1, 3)
        values = np.moveaxis(values, -3, -1) if last else values
        wanted = "(3, H, W) or (N, 3, H, W)"
    if not last or values.ndim not in (2, 3, 4):
        raise DataError(f"A{'n array' if isinstance(x, np.ndarray) else ' tensor'} of photos is {wanted}, not {shape}.")
    values = _bytes(values)
    return [_rgb(v) for v in values] if values.ndim == 4 else [_rgb(values)]


def _rgb(values: NDArray[np.uint8]) -> Image.Image:
    return upright_rgb(Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values))


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"Pixels are uint8, or float in [0, 1], not {values.dtype}: convert them.")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not 0 <= low <= high <= 1:
        raise DataError(
            f"Float pixels lie in [0, 1], and these in [{low:.3g}, {high:.3g}]: give photos before they are normalised."
        )
    return np.round(values * 255).astype(np.uint8)


def _is_dataset(x: object) -> bool:
    return all(hasattr(x, name) for name in ("features", "column_names", "__len__", "__getitem__"))


def _image_column(x: Any) -> str:
    for name, feature in (x.features or {}).items():
        if type(feature).__name__ == "Image":
            return str(name)
    for name in x.column_names:
        if name in ("image", "img", "picture", "photo"):
            return str(name)
    raise DataError(
        f"The dataset has no column of pictures, only {', '.join(x.column_names)[:200]}: cast one to Image."
    )


def _label_column(x: Any) -> str | None:
    named = [n for n, feature in (x.features or {}).items() if type(feature).__name__ == "ClassLabel"]
    return str(named[0]) if named else "label" if "label" in x.column_names else None


def _labelled(items: Samples[Any], labels: Any, names: Sequence[str]) -> NamedTable:
    """Return a table of items and their labels: names, or positions in ``names``."""
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != len(items):
        raise DataError(f"There are {len(values)} labels for {len(items)} photos: give one a photo.")
    classes = tuple(names) or tuple(sorted({str(v) for v in values if isinstance(v, str)}))
    if not classes:
        raise UsageError("These labels are numbers, and nothing names them: give names=[...] in their order.")
    wrong = [v for v in values if v not in classes and not (isinstance(v, int) and 0 <= v < len(classes))]
    if wrong:
        raise DataError(f"The label {wrong[0]!r} is none of the {len(classes)} classes {', '.join(classes[:3])} ...")
    told = [v if isinstance(v, str) else classes[v] for v in values]
    return NamedTable(items, {"label": label_column(told, classes)}, classes)
