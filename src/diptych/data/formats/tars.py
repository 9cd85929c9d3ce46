"""WebDataset tars: members with a common name are one item, and brace ranges name several shards.

Members are read in memory and never written to disk. Names that lead outside, links and devices raise.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from PIL import Image

from diptych.core import UnreadableItem, UsageError
from diptych.data.addresses import files_at, is_file_at, opened_at
from diptych.data.braces import expand_braces
from diptych.data.files import address_of
from diptych.data.format import Format, Request
from diptych.data.formats.outcomes import SHARD, ShardStream
from diptych.data.formats.tar_columns import TarColumns
from diptych.data.formats.weighted import check_shares
from diptych.data.images import SUFFIXES, decode_image

MAX_MEMBER = 256 * 2**20
"""Largest member in bytes, checked before it is read."""

ENDINGS = (".tar", ".tar.gz", ".tgz")
"""File endings of tars."""

DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError)
"""Exceptions from reading a damaged tar."""


@dataclass(frozen=True)
class TarItem:
    """One item of a tar, which is decoded on demand, in the workers.

    Args:
        name: the shard's path, "!" and the members' common name.
        members: ending in lower case ("jpg", "txt", "cls", "seg.png") -> bytes.
        fields: where a training finds captions, see ``tar_columns.TarColumns``; (): in the .txt member.
        shares: weight of each field; (): there are none.
    """

    name: str
    members: Mapping[str, bytes] = field(repr=False)
    fields: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def columns(self) -> Mapping[str, Any]:
        """Columns of the item for a training; an access may raise UnreadableItem."""
        return TarColumns(self, self.fields, self.shares)

    def image(self) -> Image.Image:
        """Return the picture of the first member that is one.

        Raises:
            UnreadableItem: there is none, or it is damaged.
        """
        ending = self._picture()
        return decode_image(self.members[ending], f"{self.name}.{ending}")

    def key(self) -> str:
        """Return the SHA-256 of the picture's bytes; raises UnreadableItem where there is none."""
        return hashlib.sha256(self.members[self._picture()]).hexdigest()

    def _picture(self) -> str:
        ending = next((e for e in self.members if f".{e}" in SUFFIXES), None)
        if ending is None:
            raise UnreadableItem(self.name, f"has no picture, only {', '.join(self.members)}")
        return ending

    def text(self, ending: str = "txt") -> str:
        """Return the text of a member.

        Raises:
            UnreadableItem: it is missing or not UTF-8.
        """
        try:
            return self.members[ending].decode("utf-8-sig").strip()
        except KeyError:
            raise UnreadableItem(
                self.name, f"has no .{ending}" + (f", only {', '.join(self.members)}" if self.members else "")
            ) from None
        except UnicodeDecodeError:
            raise UnreadableItem(f"{self.name}.{ending}", "is not UTF-8 text") from None

    def record(self, ending: str = "json") -> Any:
        """Return the value of a JSON member.

        Raises:
            UnreadableItem: it is missing or no JSON.
        """
        try:
            return json.loads(self.text(ending))
        except (ValueError, RecursionError):
            raise UnreadableItem(f"{self.name}.{ending}", "is not valid JSON") from None


@dataclass(frozen=True)
class TarStream(ShardStream[TarItem]):
    """Items of WebDataset tars (.tar, .tar.gz or .tgz), see ``open_tars``, with one item in memory.

    An error is that of an item, or of the rest of its shard; the cause of the latter is the exception of the read.

    Args:
        max_member: largest member in bytes.
        endings: endings of the members to read, such as "txt"; None: all.
        fields, shares: of its items.
    """

    max_member: int = MAX_MEMBER
    endings: frozenset[str] | None = None
    fields: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    def items(self, shard: str, skip: int) -> Generator[tuple[int, TarItem | UnreadableItem], None, None]:
        """Yield (number, item or error) of a tar."""
        with contextlib.closing(shard_items(shard, skip, self.max_member, self.endings)) as items:
            for number, item in items:
                if self.fields and isinstance(item, TarItem):
                    yield number, replace(item, fields=self.fields, shares=self.shares)
                else:
                    yield number, item

    def source(self, pairs: Sequence[tuple[int, Any]]) -> str:
        """Return what tells some items: the tars that hold them, as ``settled``, and which members are read."""
        files = self.settled([position for position, _ in pairs])
        return files and "\0".join((files, str(self.max_member), *sorted(self.endings or ())))

    def seek(self, position: int) -> Self:
        """Return the stream that starts at ``position``.

        Raises:
            UsageError: no shard has this position.
        """
        if not 0 <= position < max(1, len(self.shards)) * SHARD:
            raise UsageError(
                f"These {len(self.shards)} tars have no position {position}: give one that this stream counted."
            )
        return super().seek(position)


def open_tars(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    broken: Callable[[UnreadableItem], None] | None = None,
) -> TarStream:
    """Open WebDataset tars as a stream.

    Args:
        spec: a tar, a brace range such as "shards/{00000..00329}.tar", several of them joined by "::", a list of them,
            or a folder of tars; each may be an address of object storage, see ``data.addresses``.
        broken: see ``TarStream``.

    Raises:
        UsageError: a shard is missing, a range is not valid, there are no shards, or they are web addresses or pipes.
        DataError: the storage does not answer.
    """
    specs = [spec] if isinstance(spec, (str, os.PathLike)) else list(spec)
    shards = tuple(itertools.chain.from_iterable(_shards(os.fspath(s)) for s in specs))
    if not shards:
        raise UsageError(
            f"There are no tars in {spec}: give a folder that holds .tar files, or a range such as "
            f"'shards/{{0..9}}.tar'."
        )
    missing = next((s for s in shards if not (is_file_at(s) if address_of(s) else Path(s).is_file())), None)
    if missing is not None:
        raise UsageError(f"There is no tar {missing}: check the range {spec}, or fetch what is missing.")
    return TarStream(shards, broken)


def _shards(spec: str) -> list[str]:
    if address_of(spec) is not None:
        named = [address_of(name) or name for part in spec.split("::") for name in expand_braces(part)]
        folder = len(named) == 1 and not named[0].lower().endswith(ENDINGS)
        return files_at(named[0], ENDINGS) if folder else named
    if spec.startswith("pipe:") or "://" in spec:
        raise UsageError(
            f"{spec} is a command or a web address, and diptych reads files and object storage: fetch the tars first."
        )
    if spec and Path(spec).is_dir():
        return sorted(os.path.join(spec, name) for name in os.listdir(spec) if name.lower().endswith(ENDINGS))
    return [name for part in spec.split("::") for name in expand_braces(part)]


def shard_items(
    shard: str, skip: int = 0, max_member: int = MAX_MEMBER, endings: frozenset[str] | None = None
) -> Generator[tuple[int, TarItem | UnreadableItem], None, None]:
    """Yield (number, item or error) of the items of one tar, without reading the first ``skip`` items; ``endings`` are
    those of the members to read, None reads all.
    """
    number, common, members, sizes = -1, None, dict[str, bytes](), dict[str, int]()
    trouble: UnreadableItem | None = None
    try:
        with opened(shard, max_member) as tar:
            for info in headers(tar):
                prefix, ending = split_name(info.name)
                if not ending and info.isreg():
                    continue
                if prefix != common:
                    if number >= skip:
                        yield number, trouble or TarItem(f"{shard}!{common}", members)
                    number, common, members, sizes, trouble = number + 1, prefix, {}, {}, None
                if number >= skip and trouble is None:
                    trouble = refusal(shard, info, max_member - sum(sizes.values()))
                    if trouble is None and ending in sizes:
                        trouble = UnreadableItem(f"{shard}!{info.name}", "occurs twice in the tar")
                    if trouble is None:
                        sizes[ending] = info.size
                        if endings is None or ending in endings:
                            members[ending] = tar.extractfile(info).read()  # type: ignore[union-attr]
                    elif info.size > max_member and tar.compressed:
                        break  # not skipped, since it may be endless
            if number >= skip:
                yield number, trouble or TarItem(f"{shard}!{common}", members)
    except DAMAGE as error:
        trouble = UnreadableItem(shard, damage(error))
        trouble.__cause__ = error.with_traceback(None)  # the traceback refers to the members read so far
        yield max(number, 0), trouble


def damage(error: Exception) -> str:
    """Return a short description of the damage of a tar."""
    return f"damaged or truncated tar ({(str(error) or type(error).__name__)[:80]})"


def refusal(shard: str, info: tarfile.TarInfo, max_member: int) -> UnreadableItem | None:
    """Return the error of a member that must not be read; None where it may be."""
    name = f"{shard}!{info.name[:200]}"
    if info.name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", info.name) or "\0" in info.name:
        return UnreadableItem(name, "its name leads outside the tar")
    if not info.isreg() or info.sparse is not None:
        return UnreadableItem(name, "a link, device or sparse file, which is refused")
    if info.size > max_member:
        return UnreadableItem(name, f"{info.size:,} bytes, more than the limit of {max_member:,}")
    return None


def split_name(name: str) -> tuple[str, str]:
    """Return (common name, ending in lower case) of a member.

    The name is split at the first dot after the last "/", as in webdataset.
    """
    folder, _, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return (f"{folder}/{stem}" if folder else stem, ending.lower()) if stem else (name, "")


@contextlib.contextmanager
def opened(shard: str, max_member: int = MAX_MEMBER) -> Iterator[OpenTar]:
    """Open a tar whose single reads, of members or of extensions of headers, are bounded."""
    with (
        opened_at(shard) if address_of(shard) else open(shard, "rb") as plain,
        gzip.GzipFile(fileobj=plain) as unpacked,
    ):
        compressed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        bounded = _Bounded(shard, unpacked if compressed else plain, max_member + tarfile.BLOCKSIZE)
        tar = OpenTar(fileobj=bounded, mode="r")  # type: ignore[arg-type]
        tar.compressed = compressed
        yield tar


def headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of files and links in order, without storing them.

    Raises:
        tarfile.ReadError: the tar is damaged, or ends without its end mark. The standard library takes both as the
            end.
    """
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        if not info.isdir():
            yield info
    last = tar.fileobj.last  # type: ignore[attr-defined]
    if len(last) < tarfile.BLOCKSIZE or last.strip(b"\0"):
        raise tarfile.ReadError("ends without its end mark")


class OpenTar(tarfile.TarFile):
    """A tar with a mark whether it is compressed."""

    compressed = False


class _Bounded:
    """A file that raises at large reads and stores the last one."""

    def __init__(self, name: str, file: BinaryIO | gzip.GzipFile, limit: int) -> None:
        self.name, self.file, self.limit, self.last = name, file, limit, b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.limit:
            raise tarfile.ReadError(f"asks for {size:,} bytes at once")
        self.last = self.file.read(size)
        return self.last


def read_tar_stream(path: str | os.PathLike[str], request: Request) -> TarStream:
    """Open tars as ``open_tars``; their texts alone where no more is needed."""
    fields = tuple(f for part in request.text.split(",") if (f := part.strip()))
    check_shares(request.shares, fields, (), os.fspath(path))
    stream = replace(open_tars(path), fields=fields, shares=request.shares)
    return replace(stream, endings=frozenset({"txt"})) if request.need == "texts" else stream


TAR_STREAM = Format(
    "tars of a WebDataset (.tar)",
    lambda path, request: path.suffix.lower() == ".tar" or (path.is_dir() and any(path.glob("*.tar"))),
    read_tar_stream,
    frozenset(("photos", "texts")),
)
