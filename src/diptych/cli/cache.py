"""``diptych cache``: what the cache folder holds, how to make it smaller, how to move it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli.console import Display, say, show, show_json, show_table
from diptych.cli.flags import Cache, Json, option
from diptych.cli.offers import Steps
from diptych.core import UnreadableItem, UsageError
from diptych.core.wording import first_of
from diptych.tasks.runs import EMBEDDINGS, ENGINES, KEYS, cache_folder

if TYPE_CHECKING:
    from diptych.backbones.engines.exports import Export
    from diptych.store.housekeeping import Space

app = typer.Typer(
    cls=Steps,
    help="List, check, shrink or move the cached embeddings.",
    no_args_is_help=True,
    add_completion=False,
)

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}

Idle = Annotated[float, option("--idle", help="Spaces used within so many minutes may be in use and stay.", min=0.0)]


@app.callback()
def _cache() -> None:
    """List, check, shrink or move the cached embeddings."""


@app.command("list")
def cache_list(cache: Cache = None, json: Json = False) -> None:
    """Show every space (one encoder, precision and view draw) and prepared encoder, the least recently used first."""
    from diptych.backbones.engines.exports import list_exports
    from diptych.store.housekeeping import foreign, list_spaces

    folder = cache_folder(cache) / EMBEDDINGS
    spaces = list_spaces(folder) if folder.exists() else []
    others = foreign(folder) if folder.exists() else []
    engines = cache_folder(cache) / ENGINES
    exports = list_exports(engines)
    if json:
        total = sum(s.bytes for s in spaces)
        prepared = [e.as_dict() for e in exports]
        show_json(
            {
                "folder": str(folder),
                "bytes": total,
                "spaces": [s.as_dict() for s in spaces],
                "foreign": [str(p) for p in others],
                "engines": prepared,
            }
        )
        return
    if spaces:
        columns = ["space", "encoder", "of", "width", "precision", "views", "vectors", "size", "last used"]
        show_table(columns, [_row(s) for s in spaces], right=(3, 6, 7), spare=(3, 5, 4, 2, 8))
    show(f"{_spaces(spaces)} in {folder}")
    if exports:
        show_table(
            ["encoder", "prepared", "size", "last used"], [_prepared(e) for e in exports], right=(2,), spare=(3,)
        )
        show(f"{len(exports)} prepared, {sized(sum(e.bytes for e in exports))} in {engines}")
    if old := [e for e in exports if e.outdated]:
        show(f"Outdated, which 'diptych cache prune' deletes: {len(old)}, {sized(sum(e.bytes for e in old))}")
        for e in old:
            show(f"  {e.encoder[:12]} {e.what}: {e.outdated}")
    _say_foreign(others)


@app.command("prune")
def cache_prune(
    max_size: Annotated[
        str | None,
        option("--max-size", help="Size to shrink to, such as 20GB, 500MB or 0 (default: only outdated encoders go)."),
    ] = None,
    dry_run: Annotated[bool, option("--dry-run", help="Only list what would be deleted.")] = False,
    idle: Idle = 10.0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Delete prepared encoders of other versions, then the least recently used parts until the rest fits; a later run
    makes them again. Exit code 3: something is in use.
    """
    from diptych.backbones.engines.exports import Export, list_exports, remove_exports
    from diptych.store.housekeeping import Space, foreign, in_use, list_spaces, oldest, remove

    folder, limit = cache_folder(cache) / EMBEDDINGS, None if max_size is None else size_of(max_size)
    engines = cache_folder(cache) / ENGINES
    spaces = list_spaces(folder) if folder.exists() else []
    exports = list_exports(engines)
    both: list[Space | Export] = [*spaces, *exports]
    old = [e for e in exports if e.outdated]
    rest = [s for s in both if s not in old]
    taken = [*old, *([] if limit is None else oldest(rest, limit))]
    chosen, dropped = [s for s in taken if isinstance(s, Space)], [e for e in taken if isinstance(e, Export)]
    in_use_now: list[Space | Export] = [
        *(in_use(chosen, 60 * idle) if dry_run else remove(folder, chosen, idle=60 * idle))
    ]
    in_use_now += in_use(dropped, 60 * idle) if dry_run else remove_exports(engines, dropped, idle=60 * idle)
    gone, undone = [s for s in chosen if s not in in_use_now], [e for e in dropped if e not in in_use_now]
    removed: list[Space | Export] = [*gone, *undone]
    left = sum(s.bytes for s in both) - sum(s.bytes for s in removed)
    if json:
        show_json(
            {
                "folder": str(folder),
                "dry_run": dry_run,
                "removed": [s.as_dict() for s in removed],
                "in_use": [s.as_dict() for s in in_use_now],
                "bytes_left": left,
            }
        )
    else:
        for space in gone:
            show(
                f"{'would remove' if dry_run else 'removed'} {space.name[:12]}, {space.vectors} vectors, "
                f"{sized(space.bytes)}"
            )
        for export in undone:
            show(
                f"{'would remove' if dry_run else 'removed'} {export.encoder[:12]} {export.what}, {sized(export.bytes)}"
            )
        show(f"{sized(left)} {'would stay' if dry_run else 'left'} in {folder.parent}")
    _say_foreign(foreign(folder) if folder.exists() else [])
    _say_spared(in_use_now, "prune")


@app.command("move")
def cache_move(
    target: Annotated[Path, typer.Argument(help="The new cache folder.")],
    dry_run: Annotated[bool, option("--dry-run", help="Only list what would be moved.")] = False,
    idle: Idle = 10.0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Move embeddings and content keys to another folder; after an interruption, run it again. Exit code 3: some are
    in use.
    """
    from diptych.data.keys import move_keys
    from diptych.store.housekeeping import foreign, in_use, list_spaces, move

    source, target = cache_folder(cache), target.expanduser()
    folder = source / EMBEDDINGS
    spaces = list_spaces(folder)
    if dry_run:
        in_use_now = in_use(spaces, 60 * idle)
    else:
        with Display().bar("move", len(spaces)) as bar:
            in_use_now = move(folder, target / EMBEDDINGS, idle=60 * idle, done=lambda space: bar.advance())
        if not in_use_now:
            move_keys(source / KEYS, target / KEYS)
    gone = [s for s in spaces if s not in in_use_now]
    if json:
        moved, busy = [s.as_dict() for s in gone], [s.as_dict() for s in in_use_now]
        show_json({"folder": str(source), "target": str(target), "dry_run": dry_run, "moved": moved, "in_use": busy})
    else:
        show(f"{'would move' if dry_run else 'moved'} {_spaces(gone)}, from {source} to {target}")
        if not dry_run:
            show(f"To use it, set DIPTYCH_CACHE={shlex.quote(str(target.absolute()))}")
    _say_foreign(foreign(folder))
    _say_spared(in_use_now, "move")


def size_of(text: str) -> int:
    """Return the bytes of "500MB" (a million each), "2GiB" (2 ** 30 each), "1.5T" or "0".

    Raises:
        UsageError: it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?I?)B?", text.strip().upper())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"--max-size takes a size such as 20GB, 500MB or 0, not {text!r}.")
    return int(float(match[1]) * _UNITS[match[2]])


def sized(count: int) -> str:
    """Return bytes for a reader, in powers of a thousand."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _spaces(spaces: list[Space]) -> str:
    return f"{len(spaces)} space{'s' if len(spaces) != 1 else ''}, {sized(sum(s.bytes for s in spaces))}"


def _row(space: Space) -> tuple[str, ...]:
    facts = space.facts
    views = f"{facts['views']} {facts['draw']}" if facts.get("views") else "-"
    used = datetime.fromtimestamp(space.used).strftime("%Y-%m-%d %H:%M")
    encoder, modality, precision = (str(facts.get(name, "?")) for name in ("encoder", "modality", "precision"))
    return (
        space.name[:12],
        encoder[:12],
        modality,
        str(facts["dim"]),
        precision,
        views,
        str(space.vectors),
        sized(space.bytes),
        used,
    )


def _prepared(export: Export) -> tuple[str, ...]:
    used = datetime.fromtimestamp(export.used).strftime("%Y-%m-%d %H:%M")
    return (export.encoder[:12], export.what, sized(export.bytes), used)


def _say_foreign(paths: list[Path]) -> None:
    if paths:
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        say(f"Not of the cache, and left alone: {', '.join(map(str, paths[:3]))}{more}")


def _say_spared(in_use_now: Sequence[Space | Export], verb: str) -> None:
    if in_use_now:
        names = first_of(s.name[:12] for s in in_use_now)
        say(f"{len(in_use_now)} used just now and left: {names}; {verb} again later, or say --idle 0 if nothing runs.")
        raise typer.Exit(UnreadableItem.exit_code)
