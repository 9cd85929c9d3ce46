"""Records: a picture, a text or both, with metadata; the input of ``index`` and ``link``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from diptych.core import DataError, Samples, UnreadableItem
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles, image_files, tar_files
from diptych.data.format import Format, Request
from diptych.data.formats.huggingface import metadata_files
from diptych.data.formats.parquet import image_column, parquet_images, schema_of
from diptych.data.formats.tars import DAMAGE, MAX_MEMBER, damage, headers, opened, refusal, split_name
from diptych.data.formats.webdataset import TarImages
from diptych.data.images import SUFFIXES as PICTURES
from diptych.data.inside import inside
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.rows import PATH_COLUMNS, TEXT_COLUMNS, columns_of, read_columns
from diptych.data.rows import SUFFIXES as TABLES
from diptych.data.skipped import report_unnamed

Fact = str | int | float
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_LIMIT = 2**20  # bytes of a text or JSON member of a tar


class NoPictures(DataError):
    """A tar holds other files only."""


@dataclass(frozen=True)
class Record:
    """One record.

    Args:
        image: its picture; None without one.
        text: its text; None without one.
    """

    image: Image.Image | None = None
    text: str | None = None


@dataclass(frozen=True)
class Records:
    """N records as samples. Pictures are read on demand; texts and metadata are in memory.

    Args:
        images: M pictures.
        places: (N,) positions in ``images``; None: no picture.
        texts: (N,) texts; None: no text.
        facts: (N,) metadata.
        failed: members of a tar that are no records, and why; a tar that is damaged ends with its damage.
    """

    names: tuple[str, ...]
    images: Samples[Image.Image]
    places: tuple[int | None, ...]
    texts: tuple[str | None, ...]
    facts: tuple[Mapping[str, Fact], ...] = field(default=(), repr=False)
    failed: tuple[UnreadableItem, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Record:
        position = self.places[index]
        return Record(None if position is None else self.images[position], self.texts[index])

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the picture's key and the text."""
        position, text = self.places[index], self.texts[index]
        parts = [
            "" if position is None else self.images.key(position),
            "" if text is None else hashlib.sha256(text.encode()).hexdigest(),
        ]
        return hashlib.sha256("/".join(parts).encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the name of the record for users."""
        return self.names[index]

    def take(self, indices: Sequence[int]) -> Records:
        """Return the given records, in that order."""
        rows = [int(i) for i in indices]
        facts = tuple(self.facts[i] for i in rows) if self.facts else ()
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            places=tuple(self.places[i] for i in rows),
            texts=tuple(self.texts[i] for i in rows),
            facts=facts,
        )

    def distinct(self) -> Records:
        """Return the last record of each name.

        Sources may overlap: folders within folders, or a table of the pictures of a folder.
        """
        last = {name: i for i, name in enumerate(self.names)}
        return self if len(last) == len(self) else self.take(sorted(last.values()))

    def only(self, what: str) -> Records:
        """Return the records with only their picture ("image") or only their text ("text")."""
        none = (None,) * len(self)
        return replace(self, texts=none) if what == "image" else replace(self, places=none)


def joined(parts: Sequence[Records]) -> Records:
    """Return all records one after the other."""
    if len(parts) == 1:
        return parts[0]
    start, positions = 0, list[int | None]()
    for part in parts:
        positions += [None if p is None else start + p for p in part.places]
        start += len(part.images)
    return Records(
        tuple(n for p in parts for n in p.names),
        Joined(tuple(p.images for p in parts)),
        tuple(positions),
        tuple(t for p in parts for t in p.texts),
        tuple(f for p in parts for f in (p.facts or ({},) * len(p))),
        tuple(e for p in parts for e in p.failed),
    )


def stamp(name: str) -> str:
    """Return size and time of the file with a picture, as text; "" where there is no file.

    An equal stamp means that the file is unchanged.
    """
    try:
        status = os.stat(name)
    except (OSError, ValueError):  # a member of a tar, or a row of a table
        for path in (name.partition("!")[0], name.rpartition("[")[0]):
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(path)
                break
        else:
            return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _files(paths: Sequence[str], root: str, keys: FileKeys | None) -> Records:
    """Return the records of absolute paths below an absolute folder."""
    below = {folder: Path(os.path.relpath(folder, root)).as_posix() for folder in {os.path.dirname(p) for p in paths}}
    facts = tuple({"folder": below[os.path.dirname(p)]} for p in paths)
    return Records(tuple(paths), ImageFiles(paths, keys), tuple(range(len(paths))), (None,) * len(paths), facts)


def _folder(root: Path, keys: FileKeys | None) -> Records:
    base = os.path.abspath(root)
    paths = image_files(base)
    tars = [records for path in tar_files(base) if (records := _tar_below(Path(path))) is not None]
    if tars:
        return joined([*([_files(paths, base, keys)] if paths else []), *tars])
    if not paths:
        remedy = "give a folder that holds some, or a table"
        if (root / "img_emb").is_dir():
            remedy = "it holds embeddings, so give the photos; vectors that are cached are not computed again"
        raise DataError(f"No pictures below {root}: {remedy}.")
    return _files(paths, base, keys)


def _table(path: Path, keys: FileKeys | None, image: str, text: str) -> Records:
    columns = read_columns(path)
    for requested in (image, text):
        if requested and not columns_of(columns, (), requested):
            raise DataError(
                f"{path} has no column {requested!r}, only {columns_there(columns)}: name one that is there."
            )
    at = next(iter(columns_of(columns, PATH_COLUMNS, image)), None)
    text_column = next(iter(columns_of([c for c in columns if c != at], TEXT_COLUMNS, text)), None)
    if at is None and text_column is None:
        raise DataError(
            f"{path} has neither a picture nor a text, only the columns {columns_there(columns)}: name columns "
            f"{PATH_COLUMNS[0]} and caption, or say which hold them."
        )
    n = len(next(iter(columns.values()), ()))
    if not n:
        raise DataError(f"{path} has no rows: give at least one record.")
    cells = [str(v or "") for v in columns[at]] if at else [""] * n
    files = [inside(path.parent, c, f"Row {i} of {path}") if c else None for i, c in enumerate(cells, 1)]
    present = [f for f in files if f is not None]
    order = iter(range(len(present)))
    positions = tuple(None if f is None else next(order) for f in files)
    facts = facts_of({c: values for c, values in columns.items() if c not in (at, text_column)}, n)
    base = os.path.abspath(path)
    names, named = list[str](), set[str]()
    for i, f in enumerate(files):  # several rows may name one picture
        name = f if f is not None and f not in named else f"{base}[{i}]"
        named.add(name)
        names.append(name)
    texts = tuple(text_of(v) for v in columns[text_column]) if text_column else (None,) * n
    return Records(tuple(names), ImageFiles(present, keys), positions, texts, facts)


def text_of(cell: Any) -> str | None:
    """Return the first text of a cell; None for an empty one."""
    first = cell[0] if isinstance(cell, (list, tuple)) and cell else cell
    return str(first) if first not in (None, "", []) else None


def facts_of(columns: Mapping[str, Sequence[Any]], n: int) -> tuple[Mapping[str, Fact], ...]:
    """Return the N cells of some columns as metadata, without empty ones."""
    typed = {name: _typed(values) for name, values in columns.items()}
    return tuple({name: cell for name, v in typed.items() if (cell := v[i]) is not None} for i in range(n))


def _typed(values: Sequence[Any]) -> list[Fact | None]:
    """Return a column as numbers where all its cells are numbers, else as text; "007" is text."""
    written = [None if v in (None, "") else str(v) for v in values]
    if all(w is None or _NUMBER.fullmatch(w) for w in written):
        return [None if w is None else int(w) if w.lstrip("-").isdigit() else float(w) for w in written]
    return list(written)


def pictures_column(path: Path) -> str | None:
    """Return the column of a Parquet file with encoded pictures; None where there is none, or no such file.

    Raises:
        DataError: the file is damaged.
    """
    return image_column(schema_of(path)) if path.is_file() else None


def _parquet(path: Path, text: str) -> Records:
    column = pictures_column(path)
    assert column is not None
    images = parquet_images([(os.path.abspath(path), column)])
    columns = read_columns(path, lambda name: name != column)
    text_column = next(iter(columns_of(columns, TEXT_COLUMNS, text)), None)
    n = len(images)
    plain = {
        c: v
        for c, v in columns.items()
        if c != text_column and all(isinstance(x, (str, int, float, type(None))) for x in v)
    }
    facts = facts_of(plain, n)
    texts = tuple(text_of(v) for v in columns[text_column]) if text_column else (None,) * n
    return Records(tuple(images.name(i) for i in range(n)), images, tuple(range(n)), texts, facts)


def _tar_below(path: Path) -> Records | None:
    """Return the records of a tar below a folder; None of one without pictures, and a damaged one as its failure."""
    try:
        return _tar(path)
    except NoPictures:
        return None
    except DataError as error:
        name = os.path.abspath(path)
        reason = str(error).removeprefix(f"{path} ").rstrip(".")
        return Records((), TarImages(()), (), (), (), (UnreadableItem(name, reason),))


def _tar(path: Path) -> Records:
    shard = os.path.abspath(path)
    members: dict[str, tuple[str, str, int, int]] = {}
    texts: dict[str, str] = {}
    facts: dict[str, dict[str, Fact]] = {}
    failed: dict[str, UnreadableItem] = {}  # by the members' common name
    try:
        with opened(shard) as tar:
            if tar.compressed:
                raise DataError(f"{path} is compressed, so its pictures cannot be found one by one: unpack the .gz.")
            for info in headers(tar):
                common, end = split_name(info.name)
                picture = f".{end}" in PICTURES
                if not picture and end not in ("txt", "json"):
                    continue
                if trouble := refusal(shard, info, MAX_MEMBER if picture else _LIMIT):
                    failed.setdefault(common, trouble)
                    continue
                if picture:
                    members.setdefault(common, (shard, info.name, info.offset_data, info.size))
                    continue
                content = tar.extractfile(info).read()  # type: ignore[union-attr]
                try:
                    if end == "txt":
                        texts[common] = content.decode("utf-8-sig").strip()
                    elif isinstance(data := json.loads(content.decode("utf-8-sig")), dict):
                        facts[common] = {k: v for k, v in data.items() if isinstance(v, (str, int, float))}
                except (ValueError, RecursionError):
                    what = "UTF-8 text" if end == "txt" else "JSON"
                    failed.setdefault(common, UnreadableItem(f"{shard}!{info.name}", f"is no {what}"))
    except DAMAGE as error:
        failed[shard] = UnreadableItem(shard, damage(error))
    members = {common: member for common, member in members.items() if common not in failed}
    if not members and failed:
        raise DataError(f"{path} holds no picture that can be read; the first: {next(iter(failed.values()))}.")
    if not members:
        raise NoPictures(f"{path} holds no pictures: give a tar of .jpg, .png and the like.")
    images = TarImages(tuple(members.values()))
    names = tuple(images.name(i) for i in range(len(images)))
    return Records(
        names,
        images,
        tuple(range(len(images))),
        tuple(texts.get(c) or None for c in members),
        tuple(facts.get(c, {}) for c in members),
        tuple(failed.values()),
    )


def _metadata(root: Path) -> dict[str, Path]:
    """Return split -> metadata table, in split folders as of Hugging Face data sets or else in the folder itself, where
    it has a column of pictures.
    """
    return metadata_files(root, PATH_COLUMNS)


def _metadata_rows(root: Path, request: Request) -> Records:
    """Return the rows of the metadata tables of a folder, with their split as metadata where these are several."""
    files = _metadata(root)
    parts = {split: _table(file, request.keys, request.image, request.text) for split, file in files.items()}
    images = [part.images for part in parts.values()]
    report_unnamed(root, image_files(root), (some.name(i) for some in images for i in range(len(some))))
    if all(file.parent == root for file in files.values()):
        return joined(list(parts.values()))
    marked = [
        replace(part, facts=tuple({"split": split, **facts} for facts in part.facts)) for split, part in parts.items()
    ]
    return joined(marked)


def _is_table(path: Path, request: Request) -> bool:
    return path.is_file() and path.suffix.lower() in (*TABLES, ".jsonl")


def _is_parquet(path: Path, request: Request) -> bool:
    return path.suffix.lower() == ".parquet" and not request.image and pictures_column(path) is not None


def _picture(path: Path, request: Request) -> Records:
    return _files([os.path.abspath(path)], os.path.abspath(path.parent), request.keys)


RECORDS: tuple[Format[Records], ...] = (
    Format("", lambda path, request: bool(_metadata(path)), _metadata_rows),
    Format("a folder", lambda path, request: path.is_dir(), lambda path, request: _folder(path, request.keys)),
    Format(
        "a .tar",
        lambda path, request: path.is_file() and path.suffix.lower() == ".tar",
        lambda path, request: _tar(path),
    ),
    Format("", _is_parquet, lambda path, request: _parquet(path, request.text)),
    Format("a table", _is_table, lambda path, request: _table(path, request.keys, request.image, request.text)),
    Format("a picture", lambda path, request: path.is_file() and path.suffix.lower() in PICTURES, _picture),
)
"""Formats of records, in the order in which they are tried."""
