"""Search indexes by their location: a folder of this machine, or the address of a vector database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.data.files import database_address
from diptych.search_index.database import Database
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.index import Index

AnyIndex = Index | DatabaseIndex


def database_at(location: Path | str) -> Database | None:
    """Return the database of an address; None for a folder.

    Raises:
        MissingExtra: its client is not installed.
        UsageError: the address is not complete.
        DataError: the database does not answer.
    """
    address = database_address(location)
    if address is None:
        return None
    if address.startswith("qdrant"):
        from diptych.search_index.qdrant_database import QdrantDatabase

        return QdrantDatabase(address)
    from diptych.search_index.lance_database import LanceDatabase

    return LanceDatabase(address)


def index_at(location: Path | str) -> AnyIndex:
    """Open an index.

    Raises:
        UsageError, DataError: there is none, see ``Index`` and ``database_at``.
    """
    database = database_at(location)
    return Index(Path(location)) if database is None else DatabaseIndex(database)


def create_at(location: Path | str, facts: Mapping[str, Any]) -> AnyIndex:
    """Create an empty index, or open an existing one of the same facts; see ``Index.create``."""
    database = database_at(location)
    return Index.create(Path(location), facts) if database is None else DatabaseIndex.create(database, facts)


def holds_index(location: Path | str) -> bool:
    """Return whether there is an index."""
    database = database_at(location)
    return (Path(location) / "index.json").is_file() if database is None else bool(database.notes("facts"))
