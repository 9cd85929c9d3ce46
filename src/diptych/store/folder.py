"""The folder of an embedding store: its schema, upgrades, the facts of a space, and errors of the system."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diptych.core import DiptychError, UsageError
from diptych.data.files import locked, write_whole
from diptych.store.sealed import Damage

SCHEMA = 1
STEPS: Mapping[int, Callable[[Path], None]] = MappingProxyType({})
"""Schema n -> the step that turns a store's folder into schema n + 1; a step that was killed is run again from its
start.
"""


def space_id(facts: Mapping[str, Any]) -> str:
    """Return the name of a space: 32 hexadecimal digits of the SHA-256 of its facts."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:32]


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return the facts of the space in a folder; None where it is not the space that its name says."""
    try:
        facts = json.loads((folder / "space.json").read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and space_id(facts) == folder.name else None


@contextlib.contextmanager
def using(folder: Path) -> Iterator[None]:
    """Turn what the system refuses into an error with a remedy.

    Raises:
        DiptychError: the folder cannot be used: no space, no permission, no folder.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DiptychError(
            f"The embedding cache {folder} cannot be used ({reason}): free space, set its permissions, or name "
            f"another folder."
        ) from error


def settle(folder: Path, *, read_only: bool, report: Callable[[Damage], None]) -> None:
    """See to it that a folder holds a store of this schema: a new one gets its number, an older one is migrated step by
    step.

    Args:
        folder: of the store; made if absent.
        read_only: change nothing.
        report: called where the number itself is damaged; it is then written anew.

    Raises:
        UsageError: the schema is newer, older without a way from it, or older and the store is only read.
        DiptychError: the folder cannot be used.
    """
    with using(folder):
        schema = _read(folder, report)
        if schema == SCHEMA or (schema is None and read_only):
            return
        if schema is not None:
            _check_way(folder, schema, read_only)
        folder.mkdir(parents=True, exist_ok=True)
        if schema is None:
            _write(folder, SCHEMA)
            return
        with locked(folder / "lock"):  # another process may have migrated it meanwhile
            for step in range(_read(folder, report) or schema, SCHEMA):
                STEPS[step](folder)
                _write(folder, step + 1)


def _check_way(folder: Path, schema: int, read_only: bool) -> None:
    if schema > SCHEMA:
        raise UsageError(
            f"The embedding cache {folder} has schema {schema}, and this version of diptych reads schema {SCHEMA}: "
            "upgrade diptych, or name another cache folder."
        )
    if not all(step in STEPS for step in range(schema, SCHEMA)):
        raise UsageError(
            f"The embedding cache {folder} has schema {schema}, from which there is no way to schema {SCHEMA}: "
            "name another cache folder, or delete this one (its embeddings can be made again)."
        )
    if read_only:
        raise UsageError(
            f"The embedding cache {folder} has the older schema {schema}: open it once for writing, which brings it "
            f"to {SCHEMA}."
        )


def _read(folder: Path, report: Callable[[Damage], None]) -> int | None:
    path = folder / "store.json"
    if not path.exists():
        return None
    try:
        schema = json.loads(path.read_bytes())["schema"]
        if type(schema) is int:
            return schema
    except (ValueError, KeyError, TypeError):
        pass
    report(Damage(path, "not the description of a store"))
    return None


def _write(folder: Path, schema: int) -> None:
    write_whole(folder / "store.json", json.dumps({"schema": schema}), overwrite=True, sync=False)
