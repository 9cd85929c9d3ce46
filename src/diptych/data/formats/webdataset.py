"""CLIP_benchmark's folders of WebDataset tars as tables. The tars are indexed once, and items are read in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diptych.core import Column, DataError, Table, UnreadableItem, UsageError
from diptych.data.format import Format
from diptych.data.formats.encoded import EncodedImages
from diptych.data.formats.tars import (
    DAMAGE,
    ENDINGS,
    MAX_MEMBER,
    damage,
    headers,
    open_tars,
    opened,
    refusal,
    split_name,
)
from diptych.data.images import SUFFIXES
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData
from diptych.data.memory import packed
from diptych.data.words.classnames import read_names
from diptych.data.words.textfiles import read_text

_TEXT_LIMIT = 2**20


@dataclass(frozen=True)
class TarImages(EncodedImages):
    """Pictures inside uncompressed tars.

    Args:
        members: N (shard, name of the member, first byte, number of bytes).
        broken: position -> why what stands there cannot be read: a member, or the rest of a damaged tar. Its entry in
            ``members`` is not looked at.
    """

    members: Sequence[tuple[str, str, int, int]] = field(repr=False)
    broken: Mapping[int, UnreadableItem] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.members)

    def read(self, index: int) -> bytes:
        """Return the bytes of a picture.

        Raises:
            UnreadableItem: the tar is missing, damaged or has become shorter, or the member is refused.
        """
        if (known := self.broken.get(range(len(self))[index])) is not None:
            raise UnreadableItem(known.name, known.reason)
        shard, _, start, size = self.members[index]
        try:
            with open(shard, "rb") as file:
                file.seek(start)
                data = file.read(size)
        except OSError as error:
            raise UnreadableItem(self.name(index), f"cannot be read ({error.strerror})") from None
        if len(data) < size:
            raise UnreadableItem(self.name(index), "the tar ends before it")
        return data

    def name(self, index: int, /) -> str:
        """Return the shard's path, "!" and the member's name; of the rest of a damaged tar, its path."""
        if (error := self.broken.get(range(len(self))[index])) is not None:
            return error.name
        return "!".join(self.members[index][:2])


def is_tar_folder(root: Path) -> bool:
    """Return whether a folder has CLIP_benchmark's layout: a split folder with an nshards.txt."""
    return any((root / name / "nshards.txt").is_file() for name in SPLIT_NAMES)


def read_tar_folder(root: str | os.PathLike[str]) -> LabelledData:
    """Read CLIP_benchmark's layout.

    - ``root/{train,test}/nshards.txt`` has the number of shards.
    - 0.tar, 1.tar, ... beside it have the items: a picture with .cls (class position) or .txt (one caption per line).
    - ``root/classnames.txt`` has the names of the classes.
    - ``root/zeroshot_classification_templates.txt`` may have templates, for ``read_templates``.

    Returns:
        Splits with a "label" column, or with a "captions" column where ``root/dataset_type.txt`` says "retrieval".
        Without classnames.txt the classes are "0", "1", ...

    Raises:
        UsageError: no split folder with an nshards.txt.
        DataError: a shard is missing, damaged or compressed, or an item has no picture, label or captions.
    """
    base = Path(root)
    if not is_tar_folder(base):
        raise UsageError(
            f"{base} has no train or test folder with an nshards.txt: give a CLIP_benchmark folder, or open_tars a "
            f"range."
        )
    kind = base / "dataset_type.txt"
    retrieval = kind.is_file() and read_text(kind, "the data set's type").strip().lower() == "retrieval"
    ending = "txt" if retrieval else "cls"
    indexed = {
        SPLIT_NAMES[f.name]: _index(f, ending)
        for f in sorted(base.iterdir())
        if f.name in SPLIT_NAMES and (f / "nshards.txt").is_file()
    }
    splits: dict[str, Table[object]] = {}
    classes: tuple[str, ...] = ()
    if retrieval:
        columns = {
            s: Column("captions", tuple(tuple(t.splitlines()) for t in texts)) for s, (_, texts) in indexed.items()
        }
    else:
        labels = {s: _labels(images, texts) for s, (images, texts) in indexed.items()}
        count = 1 + max((int(v.max()) for v in labels.values() if v.size), default=-1)
        names = base / "classnames.txt"
        classes = read_names(names) if names.is_file() else tuple(map(str, range(count)))
        if count > len(classes):
            raise DataError(
                f"{base} holds label {count - 1}, and classnames.txt has {len(classes)} names: name every class."
            )
        columns = {s: Column("label", v) for s, v in labels.items()}
    for split in SPLITS:
        if split in indexed:
            splits[split] = Table(indexed[split][0], {columns[split].kind: columns[split]})
    return LabelledData(base.resolve().name, classes, splits)


def is_tars(spec: str | os.PathLike[str]) -> bool:
    """Return whether ``spec`` is one tar, a brace range of tars, or a folder of tars."""
    name = os.fspath(spec)
    if os.path.isdir(name):
        return any(entry.lower().endswith(ENDINGS) for entry in os.listdir(name))
    return name.lower().endswith(ENDINGS)


def read_tars(spec: str | os.PathLike[str]) -> LabelledData:
    """Read plain tars of a WebDataset as photos without labels: the split "test".

    What cannot be read is an item that says so when it is read: a link, a name that leads outside, an item without a
    picture, and what lies behind the damage of a tar.

    Raises:
        UsageError: as for ``open_tars``.
        DataError: a tar is compressed, or no item of any can be read.
    """
    broken: dict[int, UnreadableItem] = {}
    members = packed(_members(open_tars(spec).shards, broken))
    if broken and len(broken) == len(members):
        raise DataError(f"No picture of {os.fspath(spec)} can be read: {broken[0]}.")
    return LabelledData(os.fspath(spec), (), {"test": Table(TarImages(members, broken))})


def _members(shards: Iterable[str], broken: dict[int, UnreadableItem]) -> Iterator[tuple[str, str, int, int]]:
    position = 0
    for shard in shards:
        refused: list[UnreadableItem] = []
        for common, (member, _) in _items(shard, None, refused).items():
            if member is None:
                refused.append(UnreadableItem(f"{shard}!{common}", "has no picture"))
            else:
                yield member
                position += 1
        for error in refused:
            broken[position] = error
            yield shard, "", 0, 0
            position += 1


def _labels(images: TarImages, texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    for i, text in enumerate(texts):
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise DataError(
                f"{images.name(i)} has the label {text[:40]!r} in its .cls: write the position of its class, from 0."
            )
    return np.array([int(t) for t in texts], dtype=np.int64)


def _index(folder: Path, ending: str) -> tuple[TarImages, list[str]]:
    """Return the pictures of a split and the text of each item's member ``ending``."""
    count = read_text(folder / "nshards.txt", "the number of shards").strip()
    if not (count.isascii() and count.isdigit() and len(count) < 8):
        raise DataError(f"{folder / 'nshards.txt'} says {count[:40]!r}: write the number of shards.")
    members: list[tuple[str, str, int, int]] = []
    texts: list[str] = []
    for number in range(int(count)):
        shard = str(folder / f"{number}.tar")
        if not Path(shard).is_file():
            raise DataError(f"{folder} should hold {count} shards, and {number}.tar is missing: fetch it again.")
        for common, (member, text) in _items(shard, ending).items():
            if member is None or text is None:
                raise DataError(
                    f"{shard}!{common} has no {'picture' if member is None else '.' + ending}: write both for every "
                    f"item."
                )
            members.append(member)
            texts.append(text)
    return TarImages(packed(members)), texts


def _items(
    shard: str, ending: str | None, refused: list[UnreadableItem] | None = None
) -> dict[str, tuple[tuple[str, str, int, int] | None, str | None]]:
    """Return common name -> (picture, text of the member ``ending``) of a tar.

    Args:
        shard: path of the tar.
        ending: of the members with a text; None: no text is read.
        refused: takes the errors of members that must not be read, and of the rest of a damaged tar. None: the first
            is raised.
    """
    items: dict[str, tuple[tuple[str, str, int, int] | None, str | None]] = {}
    outside: set[str] = set()  # common names of refused members, which are reported once
    try:
        with opened(shard) as tar:
            if tar.compressed:
                raise DataError(
                    f"{shard} is compressed, so its items cannot be found one by one: unpack the .gz, or use open_tars."
                )
            for info in headers(tar):
                common, end = split_name(info.name)
                if f".{end}" not in SUFFIXES and end != ending:
                    if ending is None and end:
                        items.setdefault(common, (None, None))
                    continue
                if trouble := refusal(shard, info, MAX_MEMBER if end != ending else _TEXT_LIMIT):
                    if refused is None:
                        raise trouble
                    refused.append(trouble)
                    outside.add(common)
                    continue
                member, text = items.get(common, (None, None))
                if end == ending:
                    text = tar.extractfile(info).read().decode("utf-8-sig").strip()  # type: ignore[union-attr]
                elif member is None:
                    member = (shard, info.name, info.offset_data, info.size)
                items[common] = (member, text)
    except DAMAGE as error:
        if refused is None:
            raise UnreadableItem(shard, damage(error)) from None
        refused.append(UnreadableItem(shard, damage(error)))
    return {common: item for common, item in items.items() if item[0] is not None or common not in outside}


TAR_FOLDER = Format(
    "", lambda path, request: path.is_dir() and is_tar_folder(path), lambda path, request: read_tar_folder(path)
)
TARS = Format("", lambda path, request: is_tars(path), lambda path, request: read_tars(path))
