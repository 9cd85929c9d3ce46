"""What a file that was given as weights is instead, by its first bytes: a page, a pointer, an archive, another format.

Nothing is decoded or run. A failed download is most often the web page of a host under the name of the weights.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from diptych.core import DataError, UsageError
from diptych.core.wording import first_of

_START = 1024
"""Bytes that are looked at."""
_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR",
             b"\x28\xb5\x2f\xfd": "zstd"}  # fmt: skip
_POINTER = b"version https://git-lfs"
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f"))


def check_weight_file(path: Path) -> None:
    """Refuse a file that is recognised as something else than weights in the format that its name states.

    Args:
        path: of a .safetensors file, or of a torch file by any other name.

    Raises:
        UsageError: there is no such file, or it is a folder.
        DataError: it is empty, a web page, other text, a git-lfs pointer, an archive, or the other of the two formats.

    Example:
        >>> check_weight_file(Path(__file__))
        Traceback (most recent call last):
        diptych.core.errors.DataError: ...file_kinds.py is text, not weights: download the weight file again.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a weight file: give the file in it.")
    if not path.is_file():
        raise UsageError(f"There is no weight file {path}: check the path.")
    if path.suffix == ".npz":
        return  # arrays, which ``weights.read_state`` refuses with a remedy of their own
    with path.open("rb") as file:
        start = file.read(_START)
    if kind := _other_kind(path, start):
        raise DataError(f"{path} is {kind}.")


def check_folder(folder: Path) -> None:
    """Refuse the folder of a model whose files are pointers of git-lfs, as in a repository that was cloned without it.

    Args:
        folder: an existing one; folders in it are not looked at.

    Raises:
        DataError: a file in it is such a pointer.
    """
    pointers = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size < _START:
            with path.open("rb") as file:
                if file.read(len(_POINTER)) == _POINTER:
                    pointers.append(path.name)
    if pointers:
        raise DataError(
            f"{folder} has git-lfs pointers in the place of {first_of(pointers)}: run 'git lfs pull' there, or "
            f"download the files themselves."
        )


def _other_kind(path: Path, start: bytes) -> str:
    """Return what a file is and what to do, for a sentence; "": weights, or nothing that is known here."""
    if not start:
        return "empty: download it again"
    if archive := next((name for magic, name in _ARCHIVES.items() if start.startswith(magic)), ""):
        return f"a {archive} archive, not weights: unpack it, and give the weight file in it"
    named = path.suffix == ".safetensors"
    if _is_safetensors(start, path.stat().st_size):
        return "" if named else "a safetensors file by another name: rename it to end in .safetensors"
    if start.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive_of_torch:
            names = archive_of_torch.namelist()
        if not any(name.endswith("data.pkl") for name in names):
            first = f" that holds {names[0]}" if names else ""
            return f"a zip archive{first}, not weights: unpack it, and give the weight file in it"
    if start.startswith((b"PK", b"\x80")) and named:
        return "a torch file, not safetensors: rename it to end in .pt"
    return _text(start)


def _is_safetensors(start: bytes, size: int) -> bool:
    """Return whether a file begins with the length of a header that fits in it, and with that header."""
    return len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8


def _text(start: bytes) -> str:
    """Return what a file of text is and what to do; "": it is none."""
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if words.startswith(_POINTER):
        return "a git-lfs pointer, not the weights: run 'git lfs pull' in its repository, or download the file itself"
    if start.translate(None, _CONTROLS) != start:
        return ""
    if words.startswith((b"<!doctype html", b"<html")) or (words.startswith(b"<") and b"<html" in words):
        return (
            "a web page, not weights, as a host answers that asks for a login or a click: open the link in a browser, "
            "and download the file itself"
        )
    if words.startswith((b"<", b"{", b"[")):
        return "the answer of a server in XML or JSON, not weights: read its text for the reason, and download again"
    return "text, not weights: download the weight file again"
