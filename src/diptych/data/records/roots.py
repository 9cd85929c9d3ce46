"""Which records of an index come from a source, by their names."""

from __future__ import annotations

import os

from diptych.core import UsageError
from diptych.data.named_sets import located
from diptych.data.records.records import pictures_column
from diptych.data.rows import PATH_COLUMNS, SUFFIXES, columns_of, header


def root(spec: str, image: str | None = None) -> str:
    """Return the path with which the names of all present and past records of a source begin.

    Args:
        spec: as for ``open_records``, or clips.
        image: column of a table with the picture's path, as for ``open_records``.

    Raises:
        UsageError: the source is a table of pictures, whose records have the paths of the pictures as names.
    """
    path = located(spec)
    kind = path.suffix.lower()
    holds = kind == ".parquet" and image is None and pictures_column(path) is not None
    table = path.is_file() and kind in (*SUFFIXES, ".jsonl") and not holds
    if table and (image is not None or columns_of(header(path), PATH_COLUMNS)):
        raise UsageError(
            f"{{prune}} cannot tell which pictures {spec} no longer names, since entries of a table are called by "
            f"their pictures: delete them with {{remove}}, or index again in a new folder."
        )
    return os.path.abspath(path)
