"""Finished results that are kept in files at once, so that a run that was killed goes on from them.

A result lies in a file whose name holds the hash of all that decides it: its system, settings, code, data, backbone and
seeds. What lies there under that name is the result, whoever made it; what is damaged is made again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import ismethod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from diptych.core import Backbone, DamagedStore, DataError, Run, Table, UnreadableItem
from diptych.data.files import read_json, write_json, write_whole

R = TypeVar("R")


class Unwritten(OSError):
    """A finished result cannot be kept, such as on a full disk: no fault of the system that it is of."""


def read_or_make(
    path: Path | None, load: Callable[[Path], R], make: Callable[[], R], save: Callable[[Path, R], None]
) -> R:
    """Return the result that lies in a file, or make it and keep it there.

    Args:
        path: its file; None: nothing is kept.
        load: reads it; raises DataError or DamagedStore where it is damaged.
        make: makes it.
        save: writes it; the file at ``path`` comes last, for its presence says that the result is whole.

    Raises:
        Unwritten: it cannot be written.
    """
    if path is not None and path.exists():
        try:
            return load(path)
        except (DataError, DamagedStore):
            pass
    result = make()
    if path is not None:
        try:
            save(path, result)
        except OSError as error:
            raise Unwritten(error.errno, error.strerror, str(path)) from error
    return result


def row_file(out: Path | None, stem: Iterable[str], inputs: str) -> Path | None:
    """Return the file of a finished row of a board; None where nothing is kept.

    Args:
        out: folder of the board.
        stem: what a reader knows the row by; parts that are empty are left out.
        inputs: hash of all that decides the row.
    """
    name = "-".join(filter(None, stem)).replace("/", "_")[:100]
    return None if out is None else out / "rows" / f"{name}-{inputs[:12]}.json"


def read_or_measure(
    path: Path | None,
    make: Callable[[], R],
    to_file: Callable[[R], tuple[Mapping[str, Any], Mapping[str, Any]]],
    of_file: Callable[[dict[str, Any], dict[str, Any]], R],
) -> R:
    """Return the row of a board that lies in two files, or measure it and keep it there: plain data as JSON, and beside
    them arrays by name as .npz.

    Args:
        path: of the JSON, see ``row_file``; None: nothing is kept.
        make: measures the row.
        to_file: a row -> its plain data and arrays.
        of_file: makes the row of these again.

    Raises:
        Unwritten: it cannot be written.
    """

    def load(file: Path) -> R:
        data = read_json(file)
        try:
            return of_file(data, read_arrays(file.with_suffix(".npz")))
        except Exception as error:  # np.load raises OSError, ValueError, KeyError, BadZipFile, EOFError ...
            raise DamagedStore(f"{file} does not hold a row of a board: delete it and run again.") from error

    def save(file: Path, row: R) -> None:
        data, arrays = to_file(row)
        write_arrays(file.with_suffix(".npz"), arrays)
        write_json(file, data, overwrite=True)

    return read_or_make(path, load, make, save)


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an .npz by name; raises many kinds of error where it is absent or damaged."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:  # np.load leaves a damaged file open
        return {name: file[name] for name in file.files}


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as .npz, atomically, over an older file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue(), overwrite=True)


def digest(value: Any) -> str:
    """Return the SHA-256 of what decides a result, as ``described`` tells it."""
    return hashlib.sha256(json.dumps(described(value), sort_keys=True).encode()).hexdigest()


def described(value: Any) -> Any:
    """Return plain data that are equal in every process for equal values.

    - Numbers, texts, lists and mappings are themselves; of sets the order is lost.
    - Arrays and tensors are their bytes, samples the keys of their items.
    - A backbone is its fingerprint, a run its seed, precision and device.
    - A dataclass is its fields that are compared, another object its attributes; a function is its name,
      and a method its name and its object.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Backbone):
        return value.fingerprint
    if isinstance(value, Run):
        return [value.seed, value.precision, value.device]
    if isinstance(value, Table):
        return [described(value.items), described(value.columns)]
    if hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        whole = array.tolist() if array.dtype == object else hashlib.sha256(array.tobytes()).hexdigest()
        return [str(array.dtype), list(array.shape), described(whole)]
    if hasattr(value, "key") and hasattr(value, "__len__"):
        return hashlib.sha256("".join(_keys(value)).encode()).hexdigest()
    if isinstance(value, Sequence):  # also one that reads its items on demand, such as masks
        return [described(item) for item in value]
    if isinstance(value, Mapping):
        return sorted(([str(name), described(item)] for name, item in value.items()), key=lambda pair: pair[0])
    if isinstance(value, (set, frozenset)):
        return sorted(map(digest, value))
    if isinstance(value, partial):
        return described([value.func, value.args, value.keywords])
    if ismethod(value):
        return described([value.__func__, value.__self__])
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (Path, BaseException)):
        return str(value)
    compared = {f.name: getattr(value, f.name) for f in fields(value) if f.compare} if is_dataclass(value) else None
    return [
        f"{type(value).__module__}.{type(value).__qualname__}",
        described(vars(value) if compared is None else compared),
    ]


def _keys(items: Any) -> Iterable[str]:
    """Yield the key of every item, or the name of one that cannot be read."""
    for i in range(len(items)):
        try:
            yield items.key(i)
        except UnreadableItem as error:
            yield error.name
