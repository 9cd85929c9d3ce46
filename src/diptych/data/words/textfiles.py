"""Small text files of users: read whole, as UTF-8, up to 16 MiB."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from diptych.core import DataError, UsageError

MAX_BYTES = 16 * 2**20


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Return the text of a file, without a byte order mark.

    Args:
        path: file of at most 16 MiB.
        what: its content, for error messages, such as "class names".

    Raises:
        UsageError: there is no such file.
        DataError: too large, unreadable or not UTF-8.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no file {file} with {what}: check the spelling, or give an absolute path.")
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{file} has more than {MAX_BYTES // 2**20} MiB, too much for {what}: is it the right file?"
            )
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text: save it again as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): check its permissions.") from None


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Return the value of a JSON file.

    Arguments and errors are those of ``read_text``; DataError too where the file is no JSON.
    """
    try:
        return json.loads(read_text(path, what))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}): check it, or give a text file with one entry per line."
        ) from None
