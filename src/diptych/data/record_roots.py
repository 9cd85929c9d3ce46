"""Which records of an index come from a source, by their names alone."""

from __future__ import annotations

import os

from diptych.core.errors import UsageError
from diptych.data.named_sets import located
from diptych.data.records import pictures_column
from diptych.data.rows import PATH_COLUMNS, SUFFIXES, columns_of, header


def root(spec: str, image: str | None = None) -> str:
    """Return the path with which the names of all records of a source begin, also of those that it no longer holds.

    Args:
        spec: as for ``open_records``, or clips.
        image: column of a table with the picture's path, as there.

    Raises:
        UsageError: it is a table that names pictures, whose records are called by the pictures' paths and not by the
            table.
    """
    path = located(spec)
    kind = path.suffix.lower()
    holds = kind == ".parquet" and image is None and pictures_column(path) is not None
    table = path.is_file() and kind in (*SUFFIXES, ".jsonl") and not holds
    if table and (image is not None or columns_of(header(path), PATH_COLUMNS)):
        raise UsageError(
            f"--prune cannot tell which pictures {spec} no longer names, since entries of a table are called by "
            f"their pictures: delete them with --remove, or index again in a new folder."
        )
    return os.path.abspath(path)
