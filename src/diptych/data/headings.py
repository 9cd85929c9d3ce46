"""Which columns a table has, for sentences that say which one it lacks."""

from __future__ import annotations

from pathlib import Path

from diptych.core.wording import columns_there
from diptych.data.rows import SUFFIXES, header

_USUAL = ("metadata.csv", "metadata.jsonl", "labels.csv", "captions.csv")


def heading_of(path: Path) -> str:
    """Return the names of the columns of the table that a path is, or that lies in the folder; "" without one.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "metadata.csv").write_text("file_name,breed")
        ...     heading_of(Path(folder))
        '; metadata.csv has the columns file_name, breed'
    """
    table = _table_in(path) if path.is_dir() else path
    names = header(table) if table is not None and table.suffix.lower() in SUFFIXES and table.is_file() else ()
    if table is None or not any(names):
        return ""
    return f"; {table.name} has the column{'s' if names[1:] else ''} {columns_there(names)}"


def _table_in(folder: Path) -> Path | None:
    if (usual := next((folder / name for name in _USUAL if (folder / name).is_file()), None)) is not None:
        return usual
    tables = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    return tables[0] if len(tables) == 1 else None
