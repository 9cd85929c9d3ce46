"""Folders of clips or point clouds: in class folders or not, with or without split folders above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import DataError, Samples, Table
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column


@dataclass(frozen=True)
class ItemKind:
    """What the items are called in errors.

    Args:
        name: of one item, whose plural ends in s.
    """

    name: str
    remedy: str


def by_folders(
    root: Path, is_item: Callable[[Path], bool], samples: Callable[[list[str]], Samples[Any]], kind: ItemKind
) -> LabelledData:
    """Read items in the layout of ``class_folder``: ``root/train/CLASS/ITEM``, ``root/CLASS/ITEM`` or ``root/ITEM``.

    Returns:
        Its splits; classes are the folder names, sorted, () without class folders.

    Raises:
        DataError: there is no item, or items lie beside class folders.
    """
    parts = {
        SPLIT_NAMES[p.name.lower()]: p
        for p in visible(root)
        if p.is_dir() and p.name.lower() in SPLIT_NAMES and not is_item(p)
    }
    items_of = {split: _by_class(folder, is_item, kind) for split, folder in (parts or {"test": root}).items()}
    classes = tuple(sorted({c for by_class in items_of.values() for c in by_class if c is not None}))
    if not any(items for by_class in items_of.values() for items in by_class.values()):
        raise DataError(f"No {kind.name}s below {root}: give {kind.remedy}.")
    splits = {}
    for split in (s for s in SPLITS if s in items_of):
        pairs = [
            (item, c) for c, items in sorted(items_of[split].items(), key=lambda pair: pair[0] or "") for item in items
        ]
        labels = [c for _, c in pairs if c is not None]
        opened = samples([item for item, _ in pairs])
        splits[split] = Table(opened, {"label": label_column(labels, classes)} if labels else {})
    return LabelledData(root.resolve().name, classes, splits)


def visible(folder: Path) -> list[Path]:
    """Return the sorted paths in a folder, without hidden ones."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__")))


def _by_class(folder: Path, is_item: Callable[[Path], bool], kind: ItemKind) -> dict[str | None, list[str]]:
    """Return class -> items; the key None is items without label."""
    items = [str(p) for p in visible(folder) if is_item(p)]
    folders: dict[str | None, list[str]] = {
        p.name: [str(c) for c in visible(p) if is_item(c)] for p in visible(folder) if p.is_dir() and not is_item(p)
    }
    if items and any(folders.values()):
        raise DataError(f"{items[0]} lies beside the class folders of {folder}: move it into one of them, or out.")
    if not items and (empty := [c for c, members in folders.items() if not members]):
        raise DataError(f"No {kind.name}s of {empty[0]} below {folder}: add some, or remove the empty class folder.")
    return {None: items} if items else folders
