"""Fitted spaces as folders, which any extender writes and every verb reads; see ``features.portable`` for the files.

Example:
    A clip space of the smallest backbone, saved and loaded again:

    >>> import tempfile
    >>> from diptych.backbones.sources.load import load
    >>> from diptych.features.clips import ClipSpace
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_space(ClipSpace(load("tiny"), frames=2), Path(folder) / "clips")
    ...     load_space(Path(folder) / "clips").spec.name
    'tiny+frames2'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import DataError, Kit, Space, UsageError
from diptych.features import portable


@dataclass(frozen=True)
class StoredSpace:
    """A space alone, as the content of a folder."""

    space: Space


def save_space(space: Space, folder: Path) -> None:
    """Write a fitted space to a new folder, whole or not at all.

    Raises:
        UsageError: the folder exists, or the space is a backbone, which ``backbones.sources.save`` writes.
    """
    if space.unwrapped.parts() is None:
        raise UsageError(f"{space.spec.name} is a backbone and no fitted space: save it with backbones.sources.save.")
    portable.save(StoredSpace(space), folder)


def load_space(folder: Path, kit: Kit | None = None, *, device: str = "cpu") -> Space:
    """Read the space of a folder, which is treated as untrusted: nothing in it is run.

    Args:
        folder: that ``save_space`` or ``diptych extend`` wrote.
        kit: holds the backbone round which the space was fitted; None loads it by the name in the folder.
        device: of the backbone that is loaded by its name.

    Raises:
        UsageError: the kit holds another backbone, or the folder was written by an earlier version.
        DataError: the folder holds no space, or its files do not belong together.
        NotAvailable: the backbone is not on this machine.
    """
    held = portable.load(folder, kit or kit_of(folder, device))
    space = getattr(held, "space", None)
    if not isinstance(space, Space):
        raise DataError(
            f"{folder} holds a {type(held).__name__} and no space: give a folder that 'diptych extend' wrote."
        )
    return space


def kit_of(folder: Path, device: str = "cpu") -> Kit:
    """Load the backbones of which a folder of ``portable.save`` says that its content was fitted on them.

    Raises:
        DataError: the folder holds nothing that was saved.
        NotAvailable: a backbone is not on this machine.
    """
    from diptych.backbones.sources.load import load

    names = dict.fromkeys(backbones_of(stated(folder)))
    return Kit({name: load(name, device=device) for name in names})


def stated(folder: Path) -> Mapping[str, Any]:
    """Return the description of what a folder holds; {} where it holds nothing that was saved. Loads nothing."""
    path = Path(folder) / portable.DESCRIPTION
    try:
        facts = json.loads(path.read_bytes()) if path.stat().st_size <= portable.LARGEST else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def fingerprints_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fingerprints of the backbones and other parts in a description."""
    spaces = facts.get("spaces")
    every = spaces.values() if isinstance(spaces, dict) else ()
    return tuple(str(s["fingerprint"]) for s in every if isinstance(s, dict) and "fingerprint" in s)


def backbones_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the backbones in a description."""
    spaces = facts.get("spaces")
    specs = [s.get("spec") for s in spaces.values() if isinstance(s, dict)] if isinstance(spaces, dict) else []
    return tuple(str(spec["name"]) for spec in specs if isinstance(spec, dict) and "name" in spec)
