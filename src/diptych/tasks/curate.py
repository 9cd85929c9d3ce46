"""Plan and apply a curation over text files, tables and tars: bounded memory, resumable, shards that merge.

OUT/part-00000.parquet, ...   position, score and text (and picture, of tables) of the kept items, a part every ``PART`` items looked at
OUT/curate.json               what was asked, and how far it is
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core.curate import Curator, Plan, Verdict
from diptych.core.data import Stream
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.places import located
from diptych.data.textlines import open_lines
from diptych.tasks.record import plain, read_json, write_json

PART = 100_000
"""Items that are looked at between two parts of the result; what a killed run must do again."""


def open_stream(source: str, images: str = "filepath", texts: str = "title") -> Stream[Any]:
    """Open what a curator reads.

    Args:
        source: a .txt file with one text a line, a .csv or .tsv table, or tars of a WebDataset (a brace range is several).
        images: column of the table with the picture.
        texts: column of the table with the text.

    Raises:
        UsageError: there is no such file, or it is of another kind.
    """
    from diptych.data.formats.pairs import open_pairs
    from diptych.data.formats.tars import open_tars

    source = str(located(source))
    suffix = Path(source).suffix.lower()
    if suffix == ".txt":
        return open_lines(source)
    if suffix in (".csv", ".tsv"):
        return open_pairs(source, images, texts)
    if suffix == ".tar":
        return open_tars(source)
    raise UsageError(f"{source} is no .txt, .csv, .tsv or .tar: curate reads texts one a line, tables, and tars of a WebDataset.")


def plan_shards(curator: Curator, kit: Kit, streams: Sequence[Stream[Any]], run: Run, pool: Executor | None = None) -> Plan:
    """Plan over every shard and merge.

    Args:
        curator: any.
        kit: what it needs.
        streams: shards of one pool, at least one.
        run: of each shard.
        pool: any executor, such as concurrent.futures.ProcessPoolExecutor or one over Ray; None: one shard after the other.

    Raises:
        UsageError: there is no shard.
    """
    if not streams:
        raise UsageError("There is nothing to plan over: give at least one file.")
    if pool is None:
        return functools.reduce(lambda a, b: a.merge(b), (curator.plan(kit, s, run) for s in streams))
    futures = [pool.submit(curator.plan, kit, s, run) for s in streams]
    return functools.reduce(lambda a, b: a.merge(b), (f.result() for f in futures))


@dataclass(frozen=True)
class Curated:
    """How a pass of ``apply`` ended.

    Args:
        seen, kept, broken: items.
        parts: files written.
    """

    seen: int
    kept: int
    broken: int
    parts: int


def apply_plan(
    curator: Curator,
    kit: Kit,
    plan: Plan,
    stream: Stream[Any],
    run: Run,
    out: Path,
    *,
    about: Mapping[str, Any],
    resume: bool = False,
    part: int = PART,
    shard: int | None = None,
) -> Curated:
    """Keep or drop every item and write what is kept, part by part.

    Args:
        curator: the one that planned.
        kit: what it needs.
        plan: of the same pool, or of a larger one.
        stream: the pool.
        run: its seed draws.
        out: folder of the result.
        about: what was asked, as plain data; a run is resumed only where it is the same.
        resume: go on behind the last whole part; where there is none, start.
        part: items that are looked at between two parts.
        shard: number of the shard that ``stream`` is; its files have it in their names. None: the stream is the whole pool.

    Raises:
        DataError: ``out`` says nothing of how far it is.
        UsageError: ``out`` holds a result and ``resume`` is False, or that of another question.
    """
    name = "" if shard is None else f"-{shard:05d}"
    state, asked = out / f"curate{name}.json", plain({**about, "seed": run.seed})
    done = read_state(state, asked, resume)
    if done["complete"]:
        return Curated(*(done[what] for what in ("seen", "kept", "broken", "parts")))
    # the source is read once: what the curator has read ahead of the verdicts is bounded by its chunks
    source, copy = itertools.tee(_behind(stream, done["position"]))
    judged = zip(source, curator.apply(kit, plan, _Once(copy), run), strict=True)
    with run.track("curate") as bar:
        while some := list(itertools.islice(judged, part)):
            kept = [_row(item, verdict) for (_, item), verdict in some if verdict.keep]
            if kept:
                _write_part(out / f"part{name}-{done['parts']:05d}.parquet", kept)
            done = {
                "position": some[-1][1].position,
                "seen": done["seen"] + len(some),
                "kept": done["kept"] + len(kept),
                "broken": done["broken"] + sum(bool(v.reason) for _, v in some),
                "parts": done["parts"] + bool(kept),
                "complete": False,
            }
            write_json(state, {"asked": asked, "done": done}, overwrite=True)
            bar.advance(len(some))
    write_json(state, {"asked": asked, "done": {**done, "complete": True}}, overwrite=True)
    return Curated(done["seen"], done["kept"], done["broken"], done["parts"])


def read_state(state: Path, asked: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """Return how far a curation is; raises as ``apply_plan``."""
    done: dict[str, Any] = {"position": None, "seen": 0, "kept": 0, "broken": 0, "parts": 0, "complete": False}
    if not state.exists():
        return done
    held, out = read_json(state), state.parent
    if not resume:
        raise UsageError(f"{out} holds a curation: give another --out, or --resume to go on with it.")
    if held.get("asked") != asked:
        raise UsageError(f"{out} holds a curation of something else: give another --out, or ask the same as then.")
    if not isinstance(held.get("done"), dict) or held["done"].keys() != done.keys():
        raise DataError(f"{state} does not say how far the curation is: remove {out} and start again.")
    found: dict[str, Any] = held["done"]
    return found


@dataclass(frozen=True)
class _Once:
    """A stream that is under way; it cannot be sought in."""

    items: Iterator[tuple[int, Any]]

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self.items

    def seek(self, position: int) -> Stream[Any]:
        raise UsageError("This stream is under way and has one place only: seek before it is read.")


def _behind(stream: Stream[Any], position: int | None) -> Iterator[tuple[int, Any]]:
    """Items behind a position; a stream is sought at an item it has, so that one is passed over."""
    return iter(stream) if position is None else itertools.islice(stream.seek(position), 1, None)


def _row(item: Any, verdict: Verdict) -> dict[str, Any]:
    text = item if isinstance(item, str) else item.text()
    name = {} if isinstance(item, str) else {"filepath": item.name}
    return {"position": verdict.position, **name, "title": text, "score": verdict.score}


def _write_part(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    pq.write_table(pa.Table.from_pylist(rows), hidden)
    hidden.replace(path)
