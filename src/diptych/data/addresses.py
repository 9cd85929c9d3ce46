"""Object storage by address, through ``pyarrow.fs``: s3://BUCKET/KEY, gs://, hdfs://HOST/PATH, abfss:// and file://.

Tars are streamed from where they are; other inputs are copied once to this machine (``fetched``), and results are made
here and copied when they are whole (``published``). Credentials, regions and endpoints come from the environment as
pyarrow reads them (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_DEFAULT_REGION, GOOGLE_APPLICATION_CREDENTIALS, ...) and from
nowhere else; AWS_ENDPOINT_URL names another server with S3's protocol.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode, urlsplit

from diptych.core import DataError, UsageError
from diptych.data.braces import expand_braces
from diptych.data.files import address_of, drafted
from diptych.data.skipped import FILE as SKIPPED

BUFFER = 4 * 2**20
"""Bytes that are read ahead of a streamed file."""
_IN_BUCKETS = ("s3", "gs", "gcs")


def opened_at(address: str) -> BinaryIO:
    """Open a file for reading, with ``BUFFER`` bytes read ahead.

    Raises:
        OSError: it is absent or cannot be read; ``errno`` is always set.
    """
    system, path = _located(address)
    with _numbered(address):
        return cast(BinaryIO, io.BufferedReader(_Raw(address, system.open_input_file(path)), BUFFER))


def is_file_at(address: str) -> bool:
    """Return whether there is a file; raises DataError where the storage does not answer."""
    return bool(_info(address).is_file)


def files_at(address: str, endings: tuple[str, ...] = ("",)) -> list[str]:
    """Return the sorted addresses of the files directly in a folder, with some endings in lower case.

    Raises:
        DataError: the storage does not answer.
    """
    from pyarrow.fs import FileSelector

    system, path = _located(address)
    scheme = address.partition("://")[0]
    prefix = address[: len(address) - len(path)] if address.endswith(path) else f"{scheme}://"
    with _answering(address):
        listed = system.get_file_info(FileSelector(path.rstrip("/"), allow_not_found=True))
    return sorted(f"{prefix}{f.path}" for f in listed if f.is_file and f.path.lower().endswith(endings))


def fetched(address: str) -> Path:
    """Copy a file, or a folder with all below it, to this machine, and return where it lies.

    Copies are kept in diptych-fetched of the user's cache (XDG_CACHE_HOME, else ~/.cache). A file is copied again where
    its size or its time has changed. Of a brace range, such as s3://bucket/{00000..00329}.tar, and of several joined by
    "::", every file is copied, and the range of the copies is returned.

    Raises:
        UsageError: there is nothing at the address, or a range is not valid.
        DataError: the storage does not answer.
    """
    from pyarrow.fs import FileSelector

    if "{" in address or "::" in address:
        parts = [address_of(part) or part for part in address.split("::")]
        for name in (name for part in parts for name in expand_braces(part)):
            fetched(name) if address_of(name) else None
        return Path("::".join(str(_cached(part)) if address_of(part) else part for part in parts))
    system, path = _located(address)
    info, root = _info(address), _cached(address)
    if info.is_file:
        _copied(address, system, info, root)
        return root
    with _answering(address):
        below = system.get_file_info(FileSelector(path.rstrip("/"), recursive=True, allow_not_found=True))
    files = [f for f in below if f.is_file]
    if not files:
        raise UsageError(f"There is nothing at {address}: check the spelling, and that it may be read.")
    for each in files:
        _copied(address, system, each, root / os.path.relpath(each.path, path.rstrip("/")))
    return root


def origin(path: str) -> str:
    """Return the address of which ``fetched`` made the copy at a path; other paths as they are.

    Example:
        >>> origin(str(_cached("s3://bucket/a.tar")) + "!cat.jpg"), origin("photos/cat.jpg")
        ('s3://bucket/a.tar!cat.jpg', 'photos/cat.jpg')
    """
    copies = os.path.join(copies_folder(), "")
    if not path.startswith(copies):
        return path
    scheme, _, rest = path[len(copies) :].replace(os.sep, "/").partition("/")
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


@contextmanager
def published(out: Path, *, resume: bool = False) -> Iterator[Path]:
    """Give a path to write to; where ``out`` is an address, what was written there is copied to it after the block.

    So is a list of skipped items beside it, NAME.skipped.csv. Both are copied also where the block fails, so that a
    pass can go on from there; a process that is killed outright copies nothing. A file of a name that the storage has
    is replaced; ``resume`` brings what it has first.

    Raises:
        DataError: the storage does not answer.
    """
    address = address_of(out)
    if address is None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        local = Path(folder) / out.name
        if resume and _there(address):
            copy = fetched(address)
            shutil.copytree(copy, local) if copy.is_dir() else shutil.copy(copy, local)
        try:
            yield local
        finally:
            for path in (local, *Path(folder).glob(f"*.{SKIPPED}")):
                if path.exists():
                    _sent(path, f"{address.rpartition('/')[0]}/{path.name}")


def exists_at(path: Path) -> bool:
    """Return whether there is a file or folder at a path, which may be an address that became one.

    Raises:
        DataError: the storage does not answer.
    """
    address = address_of(path)
    return path.exists() if address is None else _there(address)


class _Raw(io.RawIOBase):
    """A file of pyarrow as Python's raw files are: a seek may go past the end, where nothing is read. So an object that
    is cut off is a damaged file, and no storage that does not answer.
    """

    def __init__(self, address: str, file: Any) -> None:
        self.address, self.file, self.position = address, file, 0
        with _numbered(address):
            self.bytes = int(file.size())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.position >= self.bytes:
            return 0
        with _numbered(self.address):
            self.file.seek(self.position)
            content = self.file.read(len(buffer))
        buffer[: len(content)] = content
        self.position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = max(0, offset + (0, self.position, self.bytes)[whence])
        return self.position

    def tell(self) -> int:
        return self.position

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()


@contextmanager
def _numbered(address: str) -> Iterator[None]:
    """Give every OSError a number: without, a storage that does not answer looks like a damaged file."""
    try:
        yield
    except OSError as error:
        if error.errno:
            raise
        raise OSError(errno.EIO, str(error)[:200], address) from None


@contextmanager
def _answering(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{address} cannot be reached ({str(error)[:160]}): check address, network and credentials."
        ) from None


@functools.lru_cache(maxsize=32)
def _system(root: str, endpoint: str) -> Any:
    from pyarrow.fs import FileSystem

    with _answering(root):
        try:
            if endpoint:
                parts = urlsplit(endpoint)
                root += "?" + urlencode({"endpoint_override": parts.netloc, "scheme": parts.scheme})
            return FileSystem.from_uri(root)[0]
        except (ValueError, NotImplementedError) as error:
            raise UsageError(f"{root} is no address that pyarrow reads ({str(error)[:160]}).") from None


def _located(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    scheme, _, rest = address.partition("://")
    if scheme == "file":
        return _system("file:///", ""), rest
    host, _, path = rest.partition("/")
    if scheme in _IN_BUCKETS:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        return _system(f"{scheme}://{host}", endpoint if scheme == "s3" else ""), f"{host}/{path}".rstrip("/")
    return _system(f"{scheme}://{host}/", ""), "/" + path


def _info(address: str) -> Any:
    system, path = _located(address)
    with _answering(address):
        return system.get_file_info(path)


def _there(address: str) -> bool:
    from pyarrow.fs import FileType

    return bool(_info(address).type != FileType.NotFound)


def _cached(address: str) -> Path:
    scheme, _, rest = address.partition("://")
    parts = [part for part in rest.split("/") if part not in ("", ".", "..")]
    return copies_folder().joinpath(scheme, *parts)


def copies_folder() -> Path:
    """Return the folder of copies of what addresses name."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "diptych-fetched"


def _copied(address: str, system: Any, info: Any, path: Path) -> None:
    """Copy one file, unless the copy has its size and time."""
    changed = info.mtime_ns or 0
    if path.is_file() and (path.stat().st_size, path.stat().st_mtime_ns) == (info.size, changed):
        return
    with (
        _answering(address),
        system.open_input_stream(info.path) as source,
        drafted(path, overwrite=True, sync=False) as draft,
        draft.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, BUFFER)
    os.utime(path, ns=(changed, changed))


def _sent(local: Path, address: str) -> None:
    """Copy a file or a folder to an address, ``*.json`` last: they say what is whole."""
    system, path = _located(address)
    files = [local] if local.is_file() else [p for p in local.rglob("*") if p.is_file()]
    for file in sorted(files, key=lambda p: (p.suffix == ".json", p)):
        target = path if file == local else f"{path.rstrip('/')}/{file.relative_to(local).as_posix()}"
        with _answering(address):
            if not address.startswith(tuple(f"{scheme}:" for scheme in _IN_BUCKETS)):
                system.create_dir(target.rpartition("/")[0], recursive=True)
            with file.open("rb") as source, system.open_output_stream(target) as stream:
                shutil.copyfileobj(source, stream, BUFFER)
