"""CoOp's splits: split_zhou_*.json, and few-shot pickles, which are read without running code in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.core import DataError, Table, UsageError
from diptych.data.files import write_whole
from diptych.data.folders import ImageFiles
from diptych.data.format import Format
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLITS, LabelledData, label_column
from diptych.data.words.textfiles import MAX_BYTES, read_json

Entry = tuple[str, int, str]  # path of the picture, class position, class name

# Plain values, containers, and the construction of one object: no calls, no imports by extension code, and no reads
# outside the file.
_OPCODES = frozenset(
    {
        "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINPUT", "LONG_BINPUT",
        "MEMOIZE", "BINGET",
    }
    | {
        "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
        "LONG_BINGET",
    }
    | {
        "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT",
        "SETITEM", "SETITEMS",
    }
    | {"GLOBAL", "STACK_GLOBAL", "NEWOBJ", "BUILD"}
)  # fmt: skip


def read_coop_split(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, keys: FileKeys | None = None
) -> LabelledData:
    """Read a ``split_zhou_<Data>.json``: {"train" | "val" | "test": [[path, label, class name], ...]}.

    Args:
        path: the file; files of ``convert_coop_shots`` have the same form.
        images: folder of the relative paths of pictures. None (default): the file's folder, or the one folder directly
            below it with the first picture.
        keys: cache of content keys.

    Returns:
        The splits, in the file's order; classes in the order of the labels, with the names of the file ("_" stays).

    Raises:
        UsageError: no such file or folder.
        DataError: the file is not of this form, a label has two names or none, a path leads outside, or the pictures
            are not found.
    """
    entries = _checked(read_json(path, "a CoOp split"), path)
    base = _images(Path(path), entries) if images is None else Path(images)
    if not base.is_dir():
        raise UsageError(f"There is no folder {base}: give the folder from which the paths in {path} start.")
    return _data(Path(path).stem, entries, base, path, keys)


def read_coop_shots(
    path: str | os.PathLike[str], images: str | os.PathLike[str], keys: FileKeys | None = None
) -> LabelledData:
    """Read a few-shot pickle ``shot_<k>-seed_<s>.pkl`` of CoOp or Dassl, {"train": [Datum, ...], "val": [Datum, ...]},
    without running code in it; ``images`` is the folder of the pictures.

    Its paths are absolute on the author's disk. The same number of leading folders is removed from all, until the first
    picture is found below ``images``.

    Returns:
        As ``read_coop_split``, with train and val.

    Raises:
        UsageError: no such file or folder.
        DataError: the pickle holds anything but such lists of Dassl's Datum, or the pictures are not found.
    """
    if not Path(images).is_dir():
        raise UsageError(f"There is no folder {images}: give the folder that holds the pictures.")
    return _data(Path(path).stem, _relocated(read_shots_pickle(path), Path(images), path), Path(images), path, keys)


def convert_coop_shots(
    path: str | os.PathLike[str], images: str | os.PathLike[str], out: str | os.PathLike[str]
) -> None:
    """Convert a few-shot pickle to JSON of the form of ``split_zhou_*.json``, with paths relative to ``images``.

    Raises:
        UsageError: no such pickle, or ``out`` exists.
        DataError: as for ``read_coop_shots``.
    """
    entries = _relocated(read_shots_pickle(path), Path(images), path)
    if Path(out).exists():
        raise UsageError(f"{out} exists already: remove it, or choose another name.")
    write_whole(Path(out), json.dumps(entries, ensure_ascii=False))


def read_shots_pickle(path: str | os.PathLike[str]) -> dict[str, list[Entry]]:
    """Return the entries of a few-shot pickle, with its paths.

    An operation of the file outside a small set raises before anything is loaded. The only class that can be loaded is
    a replacement of Dassl's Datum.

    Raises:
        UsageError: no such file.
        DataError: too large, damaged, or anything but lists of Datum.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no pickle {file}: check the spelling.")
    if file.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{file} has more than {MAX_BYTES // 2**20} MiB, too much for few-shot lists: is it the right file?"
        )
    data = file.read_bytes()
    try:
        for operation, argument, _ in pickletools.genops(data):
            slot = int(argument or 0) if operation.name in ("BINPUT", "LONG_BINPUT") else 0
            if operation.name not in _OPCODES or slot > len(data):
                raise pickle.UnpicklingError(f"it holds the operation {operation.name}")
        value = _DatumUnpickler(io.BytesIO(data)).load()
        if not isinstance(value, dict):
            raise pickle.UnpicklingError("it holds no lists by split")
        entries = {split: [d.entry() for d in rows] for split, rows in value.items()}
    # a damaged pickle raises all kinds of exceptions: UnpicklingError, EOFError, IndexError, AttributeError, ...
    except Exception as error:
        raise DataError(
            f"{file} is no few-shot pickle of CoOp and is not loaded ({str(error)[:100]}): give the JSON split instead."
        ) from None
    return _checked(entries, path)


class _Datum:
    """Replacement of Dassl's class of the same name."""

    def __init__(self) -> None:
        self.state: Mapping[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an entry is none")
        self.state = state

    def entry(self) -> Entry:
        return self.state["_impath"], self.state["_label"], self.state["_classname"]


class _DatumUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> type[_Datum]:
        if name == "Datum" and module.split(".")[0] in ("dassl", "datasets"):
            return _Datum
        raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:80])

    def persistent_load(self, pid: Any, /) -> Any:
        raise pickle.UnpicklingError("it asks for something outside the file")


def _checked(value: Any, path: str | os.PathLike[str]) -> dict[str, list[Entry]]:
    """Return the entries by split; DataError where a value has another form."""
    if not isinstance(value, dict) or not any(value.get(s) for s in SPLITS):
        raise DataError(f"{path} holds none of train, val and test: give a split_zhou_*.json.")
    names: dict[int, str] = {}
    entries: dict[str, list[Entry]] = {}
    for split in (s for s in SPLITS if s in value):
        entries[split] = []
        for row in value[split] if isinstance(value[split], list) else [None]:
            match row:
                case (str(picture), int(label), str(name)) if (
                    picture and 0 <= label < 2**31 and not isinstance(label, bool)
                ):
                    if names.setdefault(label, name) != name:
                        raise DataError(f"{path} calls class {label} both {names[label]!r} and {name!r}: correct it.")
                    entries[split].append((picture, label, name))
                case _:
                    raise DataError(
                        f"{path} has an entry in {split} that is not [path, label, class name]: {str(row)[:80]}."
                    )
    missing = next((k for k in range(max(names) + 1) if k not in names), None)
    if missing is not None:
        raise DataError(
            f"{path} has no picture of class {missing}, and labels up to {max(names)}: number the classes from 0."
        )
    return entries


def _data(
    name: str, entries: Mapping[str, Sequence[Entry]], base: Path, path: str | os.PathLike[str], keys: FileKeys | None
) -> LabelledData:
    names = {label: c for rows in entries.values() for _, label, c in rows}
    classes = tuple(names[k] for k in range(len(names)))
    if len(set(classes)) < len(classes):
        raise DataError(f"{path} gives two classes one name: make the names differ.")
    splits = {}
    for split, rows in entries.items():
        paths = [inside(base, picture, f"Entry {i + 1} of {split} in {path}") for i, (picture, _, _) in enumerate(rows)]
        splits[split] = Table(ImageFiles(paths, keys), {"label": label_column([c for _, _, c in rows], classes)})
    return LabelledData(name, classes, splits)


def _images(path: Path, entries: Mapping[str, Sequence[Entry]]) -> Path:
    first = next(picture for rows in entries.values() for picture, _, _ in rows)
    folders = [
        f
        for f in [path.parent, *sorted(path.parent.iterdir())]
        if f.is_dir() and Path(inside(f, first, str(path))).is_file()
    ]
    if len(folders) != 1:
        raise DataError(
            f"{first} of {path} is found in {len(folders)} folders here: give the folder from which its paths start."
        )
    return folders[0]


def _relocated(entries: dict[str, list[Entry]], images: Path, path: str | os.PathLike[str]) -> dict[str, list[Entry]]:
    rows = [picture.replace("\\", "/").split("/") for group in entries.values() for picture, _, _ in group]
    for cut in range(len(rows[0])):
        tail = "/".join(rows[0][cut:])
        if tail and ".." not in rows[0][cut:] and not tail.startswith("/") and (images / tail).is_file():
            front = rows[0][:cut]
            if any(parts[:cut] != front for parts in rows):
                raise DataError(f"The pictures in {path} start in several folders: give the JSON split instead.")
            return {
                s: [("/".join(p.replace("\\", "/").split("/")[cut:]), k, c) for p, k, c in group]
                for s, group in entries.items()
            }
    raise DataError(
        f"{'/'.join(rows[0])[:200]} of {path} is not found below {images}: give the folder that holds the pictures."
    )


COOP = Format(
    "",
    lambda path, request: path.is_file() and path.name.startswith("split_zhou_") and path.suffix == ".json",
    lambda path, request: read_coop_split(path, keys=request.keys),
)
