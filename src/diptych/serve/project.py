"""What a folder of a project holds: indexes, exported classifiers, and pages of boards, audits and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diptych.core import DataError, UsageError
from diptych.tasks.model import ABOUT

DEPTH = 3
"""Folders below the project in which things are looked for."""


@dataclass(frozen=True)
class Project:
    """What was found.

    Args:
        indexes: folders of ``diptych index``.
        classifiers: folders of ``diptych board classify --export``.
        reports: path below the project -> a page that a verb wrote; requests name these and no other files.
    """

    indexes: tuple[Path, ...] = ()
    classifiers: tuple[Path, ...] = ()
    reports: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Project:
        """Look for what is served, without following links out of the folder.

        Raises:
            UsageError: there is no such folder.
            DataError: it holds nothing that is served.
        """
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}: name that of a project.")
        base = folder.resolve()
        every = [folder, *(p for depth in range(1, DEPTH + 1) for p in sorted(folder.glob("/".join("*" * depth))))]
        inside = [p for p in every if p.resolve().is_relative_to(base)]
        project = cls(
            tuple(p for p in inside if (p / "index.json").is_file() and (p / "rows.sqlite").is_file()),
            tuple(p for p in inside if (p / ABOUT).is_file()),
            {p.relative_to(folder).as_posix(): p for p in inside if p.suffix == ".html" and p.is_file()},
        )
        if project == cls():
            raise DataError(f"{folder} holds no index, no exported classifier and no page: make one, or name another.")
        return project


def by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the last part of a path -> the path.

    Raises:
        UsageError: two folders have one name.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        known = named.setdefault(folder.resolve().name, folder)
        if known.resolve() != folder.resolve():
            raise UsageError(f"{known} and {folder} would be served under one name: rename one.")
    return named
