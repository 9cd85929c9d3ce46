r"""The one writer of files: readers see the old file or the whole new one, never a half, and no name stops a write.

Everything that diptych writes goes through ``drafted`` (files and folders that appear in one step), ``append`` (files
that grow) or SQLite. Names of files need not be UTF-8: Python holds such bytes as surrogates, and text is written with
each of them as ``\udcXX``, which JSON reads back as it was.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from diptych.core import DataError, DiptychError, UsageError

Content: TypeAlias = bytes | str | Callable[[Path], object]
"""Of a file: bytes, text, or what writes it to the path that it is given."""
_ADDRESS = re.compile(r"(s3|gs|gcs|hdfs|viewfs|abfs|abfss|file):/+(.*)", re.DOTALL)
_DATABASES = ("s3", "gs", "qdrant", "qdrants")
_DRAFT = re.compile(r"\.(.{1,40})\.([0-9a-f]{32})\.tmp", re.DOTALL)
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""Of the system, in the words of libraries such as safetensors, whose own errors are no OSError."""
_OLD = 24 * 3600.0  # seconds after which a draft of another machine is nobody's work in progress
_NAMED = 40  # characters of the name that a draft shows; file systems allow 255 bytes


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON data: tuples become lists, NaN and infinities null, paths strings."""
    return {str(k): _plain(v) for k, v in data.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def escaped(text: str) -> str:
    r"""Return text that every encoder takes: bytes of a name that are no UTF-8 stand as ``\udcXX``.

    >>> escaped("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def address_of(spec: str | os.PathLike[str]) -> str | None:
    """Return the address that a word is, or that became a path; None where it is a path.

    Example:
        >>> address_of("s3://bucket/a.tar"), address_of(Path("s3://bucket/a.tar")), address_of("photos/a.tar")
        ('s3://bucket/a.tar', 's3://bucket/a.tar', None)
    """
    match = _ADDRESS.fullmatch(os.fspath(spec))
    if match is None:
        return None
    return f"{match[1]}://{'/' if match[1] == 'file' else ''}{match[2]}"


def database_address(spec: str | os.PathLike[str]) -> str | None:
    """Return the address of a search index in a vector database, also where it became a path; None where it is none.

    Example:
        >>> database_address(Path("qdrant://host:6333/pets")), database_address("lance:pets"), database_address("pets")
        ('qdrant://host:6333/pets', 'lance:pets', None)
    """
    kind, _, rest = os.fspath(spec).partition(":")
    path = rest.strip("/")
    if kind in _DATABASES and path and rest.startswith("/"):
        return f"{kind}://{path}"
    return f"lance:{rest[: rest.startswith('/')]}{path}" if kind == "lance" and path else None


def named(path: str | os.PathLike[str]) -> str:
    """Return a path as users wrote it: an address that became a path has two slashes again.

    >>> named(Path("s3://bucket/vectors")), named(Path("out/vectors"))
    ('s3://bucket/vectors', 'out/vectors')
    """
    return address_of(path) or database_address(path) or os.fspath(path)


def refuse(path: Path, overwrite: bool) -> None:
    """Refuse to write where something lies.

    Raises:
        UsageError: the path exists and ``overwrite`` is False.
    """
    if not overwrite and path.exists():
        raise UsageError(f"{path} exists: give another {{out}} or {{overwrite}}.")


def try_to_write(folder: Path) -> str:
    """Return why no file can be written in a folder, in the system's words; "" where one can, or for an address. What
    the trial makes is removed.
    """
    if address_of(folder) is not None or database_address(folder) is not None:
        return ""
    absent = absent_folders(folder / "trial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
    finally:
        remove_empty(absent)


def absent_folders(path: Path) -> list[Path]:
    """Return the folders above a path that are not there, the lowest first."""
    return list(itertools.takewhile(lambda folder: not os.path.lexists(folder), path.parents))


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of the folders that are empty, in their order."""
    for folder in folders:
        with suppress(OSError):  # not empty, never made, or removed by another process
            folder.rmdir()


@contextmanager
def drafted(path: Path, *, overwrite: bool = False, sync: bool = True, durable: bool = False) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; after the block, what was written there takes the place of ``path``.

    Args:
        path: a file, or a folder: the block writes a file, or makes a folder, at the path that it is given.
        overwrite: replace what is there; of a folder, all.
        sync: force the content to the disk first; without, a power cut (not a kill) may tear it, and a checksum must
            tell.
        durable: force the entry in the folder to the disk too: after the block a power cut leaves the new file.

    Raises:
        UsageError: the path exists and ``overwrite`` is False; or it is an address of object storage.
        OSError: the system refuses; then, and whatever else the block raises, ``path`` is as before, and the draft and
            folders that were made for it are gone.
    """
    if address_of(path) is not None:
        raise UsageError(f"{address_of(path)} is an address, and this writes files: give a path, and copy them.")
    old = path.with_name(f".{path.name}.diptych-old")
    if os.path.isdir(old):  # of a process that was killed while it replaced a folder
        _discard(old) if path.exists() else move(old, path)
    refuse(path, overwrite)
    absent = absent_folders(path)
    draft, moved = _draft(path), False
    try:
        if absent:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        for part in (draft, *draft.rglob("*")) if draft.is_dir() else (draft,):
            _open_to_others(part)
            if sync:
                _sync(part)
        if os.path.isdir(draft) and path.is_dir() and any(path.iterdir()):  # no system renames a folder over a full one
            move(path, old)
            try:
                move(draft, path)
            except BaseException:
                move(old, path)
                raise
            _discard(old)
        else:
            move(draft, path)
        moved = True
    except OSError as error:
        if isinstance(error.filename, str):  # people know the path, not the draft
            error.filename = error.filename.replace(str(draft), str(path))
        raise
    except Exception as error:
        refused = _RUST_ERROR.search(str(error))
        if refused is None or isinstance(error, DiptychError):
            raise
        number = int(refused[1])
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        if not moved:
            _discard(draft)
            remove_empty(absent)
    if durable:
        _sync(path.parent)


def write_whole(
    path: Path, content: Content, *, overwrite: bool = False, sync: bool = True, durable: bool = False
) -> None:
    """Write a file in one step; see ``drafted``."""
    with drafted(path, overwrite=overwrite, sync=sync, durable=durable) as draft:
        _fill(draft, content)


def write_json(path: Path, data: Any, *, overwrite: bool = False) -> None:
    """Write plain data as indented JSON in one step; see ``drafted``."""
    write_whole(path, json.dumps(_plain(data), indent=2, ensure_ascii=False) + "\n", overwrite=overwrite)


def append(path: Path, content: bytes | str, at: int | None = None) -> None:
    """Write at the end of a file, which is made if absent, and force it to the disk.

    Args:
        path: the file.
        content: what is added.
        at: bytes of the file that count: what a killed writer left behind them goes. None: all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        if at is not None:
            file.truncate(at)
        _add(file, _bytes(content))
    _sync(path)


def move(path: Path, target: Path) -> None:
    """Rename a file, over another one if need be, or a folder to where nothing or an empty folder is."""
    os.replace(path, target)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the only lock of a file; the system gives it back when the process dies, however it dies."""
    from filelock import FileLock  # its import takes longer than a cached answer

    with FileLock(path).acquire(poll_interval=0.01):
        yield


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: the file is absent or holds no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({type(error).__name__}): give one that diptych wrote, or fetch it again."
        ) from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no JSON object: give a file that diptych wrote, or fetch it again.")
    return data


def remove_stale_drafts(folder: Path, name: str = "", *, depth: int = 0) -> None:
    """Remove drafts of processes that no longer live.

    Args:
        folder: where they are looked for; it need not exist.
        name: of what they are drafts; "": anything.
        depth: levels of folders below that are looked through too.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if (match := _DRAFT.fullmatch(entry.name)) and (not name or match[1] == name[:_NAMED]):
            if _is_stale(Path(entry.path), match[2]):
                _discard(Path(entry.path))
        elif depth and entry.is_dir(follow_symlinks=False):
            remove_stale_drafts(Path(entry.path), name, depth=depth - 1)


def _draft(path: Path) -> Path:
    """Return the path of a draft, whose name says which process of which machine writes it."""
    return path.with_name(f".{path.name[:_NAMED]}.{_machine()}{os.getpid():08x}{uuid.uuid4().hex[:16]}.tmp")


def _is_stale(draft: Path, mark: str) -> bool:
    """Return whether the process that wrote a draft is gone; of one of another machine, whether it is old."""
    if mark[:8] == _machine() and sys.platform != "win32":  # where asking for a process would end it
        try:
            os.kill(int(mark[8:16], 16), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass
        return False
    with suppress(OSError):
        return time.time() - draft.stat().st_mtime > _OLD
    return False


@functools.cache
def _machine() -> str:
    """Return eight hexadecimal digits of the machine since it was started, and of the names that its processes have."""
    facts = [platform.node()]
    reads: tuple[Callable[[], str], ...] = (
        Path("/proc/sys/kernel/random/boot_id").read_text,
        lambda: os.readlink("/proc/self/ns/pid"),
    )
    for read in reads:
        with suppress(OSError):
            facts.append(read())
    return hashlib.sha256("".join(facts).encode()).hexdigest()[:8]


def _fill(draft: Path, content: Content) -> None:
    if callable(content):
        content(draft)
    else:
        with open(draft, "wb") as file:
            file.write(_bytes(content))


def _add(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _bytes(content: bytes | str) -> bytes:
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content


def _discard(draft: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink(missing_ok=True)


def _open_to_others(path: Path) -> None:
    """Give a file the permissions of any other one: safetensors makes its files for their owner alone."""
    if path.is_file() and stat.S_IMODE(path.stat().st_mode) == 0o600:
        path.chmod(0o666 & ~_umask())


def _umask() -> int:
    """Return the bits that new files lack; asking the process itself would change them for its other threads."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077


def _sync(path: Path) -> None:
    if path.is_dir() and sys.platform == "win32":  # which opens no folder
        return
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
