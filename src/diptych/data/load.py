"""The one door to data: a folder, a table, a single photo or a demo that ships with the package."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from diptych.core.data import Table
from diptych.core.errors import UsageError
from diptych.data import images, rows, tables
from diptych.data.folders import ImageFiles, class_folder
from diptych.data.formats.anomaly import is_mvtec, read_mvtec
from diptych.data.formats.coop import read_coop_split
from diptych.data.formats.huggingface import (
    is_metadata_folder,
    is_parquet_folder,
    read_metadata_folder,
    read_parquet_folder,
)
from diptych.data.formats.parquet import holds_images
from diptych.data.formats.webdataset import is_tar_folder, is_tars, read_tar_folder, read_tars
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.named_sets import located, present

DEMOS = ("photos", "clothes")


def open_data(spec: str | Path, keys: FileKeys | None = None) -> LabelledData:
    """Open a data set.

    Args:
        spec: a folder of pictures (see ``class_folder``), a .csv, .tsv or .parquet table (see ``read_table``), one
            picture file, tars of a WebDataset (``read_tars``: one, a brace range, or a folder of them),
            "demo:photos" (a few photos without labels) or "demo:clothes" (10 classes with train and test). Known by
            what they hold, and read by the function named: CLIP_benchmark's tars (``read_tar_folder``), Hugging Face
            folders and Parquet files with pictures in them (``read_metadata_folder``, ``read_parquet_folder``), MVTec
            folders with ground_truth (``read_mvtec``), and split_zhou_*.json (``read_coop_split``). Other formats have
            readers in ``data.formats`` that must be told more than a path. A name in the folder of DIPTYCH_DATA stands
            for the path there, see ``located``; the data keep that name.
        keys: remembers content keys; None remembers them in the returned data only.

    Returns:
        Its splits. Photos without labels, one picture, and classes without split folders form the split "test".

    Raises:
        UsageError: nothing is there, or it is neither folder, table, picture nor demo.
        DataError: the folder or table cannot be used; the message says what to change.
    """
    if isinstance(spec, str) and spec.startswith("demo:"):
        return replace(class_folder(demo_folder(spec.removeprefix("demo:")), keys=keys), name=spec)
    path = located(spec)
    return _open(path, keys) if path == Path(spec) else replace(_open(path, keys), name=str(spec))


def _open(path: Path, keys: FileKeys | None) -> LabelledData:
    if path.is_dir():
        return _open_folder(path, keys)
    if is_tars(path):
        return read_tars(path)
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}: check the spelling, or try demo:photos or demo:clothes.")
    if path.suffix.lower() == ".parquet" and holds_images(path):
        return read_parquet_folder(path)
    if path.name.startswith("split_zhou_") and path.suffix == ".json":
        return read_coop_split(path, keys=keys)
    if path.suffix.lower() in rows.SUFFIXES:
        return tables.read_table(path, keys)
    if path.suffix.lower() in images.SUFFIXES:
        return LabelledData(path.stem, (), {"test": Table(ImageFiles([path], keys))})
    raise UsageError(f"{path} is neither a folder, a table (.csv, .tsv, .parquet) nor a picture: give one of these.")


def _open_folder(path: Path, keys: FileKeys | None) -> LabelledData:
    if is_tar_folder(path):
        return read_tar_folder(path)
    if is_metadata_folder(path):
        return read_metadata_folder(path, keys)
    if is_parquet_folder(path):
        return read_parquet_folder(path)
    if is_mvtec(path):
        return read_mvtec(path, keys)
    if is_tars(path):
        return read_tars(path)
    return class_folder(path, keys=keys)


def find_data(name: str, keys: FileKeys | None = None) -> LabelledData:
    """Open a data set as ``open_data`` does, where one that is absent is no mistake of the caller, such as a
    development set.

    Raises:
        NotAvailable: nothing of that name is here or in the folder of DIPTYCH_DATA.
        DataError, UsageError: see ``open_data``.
    """
    if not name.startswith("demo:"):
        present(name)
    return open_data(name, keys)


def demo_folder(name: str) -> Path:
    """Return the folder of a demo that ships with the package: "photos" or "clothes".

    Raises:
        UsageError: there is no such demo.
    """
    if name not in DEMOS:
        raise UsageError(f"There is no demo {name!r}: choose {' or '.join(f'demo:{d}' for d in DEMOS)}.")
    return Path(str(files("diptych"))) / "assets" / name
