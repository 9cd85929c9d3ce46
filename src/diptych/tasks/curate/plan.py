"""Plan and apply a curation over text files, tables and tars: bounded memory, resumable, shards that merge.

OUT/part-00000.parquet, ...   position, score and text (and picture, of tables) of the kept items, a part every ``PART``
                              items looked at; labels, facts and writers where there are some
OUT/pictures/...              pictures of kept items that have no file, such as tiles of slides
OUT/skipped.csv               path and reason of the items that were dropped because they cannot be judged, if any
OUT/curate.json               what was asked, how far it is, and the first of these items

An item that cannot be read is dropped with its reason, and no curator sees it; see ``tasks.curate.stream``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core import Curator, DataError, Kit, Plan, Run, Stream, UsageError
from diptych.data.files import plain, read_json, write_json
from diptych.data.formats.slides import SlideStream
from diptych.data.skipped import FILE as SKIPPED
from diptych.tasks.curate.judged import judged
from diptych.tasks.curate.rows import row_of, write_part
from diptych.tasks.curate.stream import Skipped

PART = 100_000
"""Items that are looked at between two parts of the result; what a killed run must do again."""


@dataclass(frozen=True)
class Curation:
    """What a curator needs, by its card."""

    curator: Curator

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings by their names."""
        return {f.name: getattr(self.curator, f.name) for f in fields(self.curator)}  # type: ignore[arg-type]

    @property
    def loads(self) -> bool:
        """Whether it uses a backbone."""
        return bool(self.curator.card.needs.hooks)

    @property
    def looks(self) -> bool:
        """Whether it looks at pictures."""
        return "image" in self.curator.card.needs.hooks

    @property
    def writes(self) -> bool:
        """Whether it writes texts, with writers."""
        return "Writer" in self.curator.card.needs.parts

    def check_items(self, stream: Stream[Any]) -> None:
        """Raise UsageError where items lack the texts that the curator needs, or have some and it makes them."""
        cut, slug = isinstance(stream, SlideStream), self.curator.card.slug
        if cut and not self.curator.creates:
            raise UsageError(
                f"{slug} reads pairs, and tiles of slides have no texts: make some with pathgen, or look at photos "
                f"with 'diptych check', which finds those that look the same."
            )
        if self.curator.creates and not cut:
            raise UsageError(f"{slug} makes pairs from slides: give a folder of them, or one, such as SLIDE.svs.")


def read_plan(curator: Curator, path: Path, kind: type[Plan] = Plan) -> Plan:
    """Read the plan of a curator, see ``core.Curator.read_plan``.

    Args:
        curator: the one that planned.
        path: of the plan.
        kind: what is wanted: where the plan of another curator is of this kind, that curator can be given instead.

    Raises:
        UsageError: it is the plan of another curator, which the sentence names.
        DataError: the file is absent, damaged or no plan.
    """
    try:
        return curator.read_plan(path)
    except DataError:
        slug = curator.card.slug
        for other in catalog.of_verb("curate") if path.is_file() else ():
            with suppress(Exception):  # no plan of this one, which may also be an outsider's that cannot be loaded
                plan = catalog.find(other, Curator)().read_plan(path)
                break
        else:
            raise
    instead = f"give {{method}} {other}, or " if isinstance(plan, kind) else ""
    raise UsageError(f"{path} is a plan of {other}, and not of {slug}: {instead}write a plan of {slug}.")


@dataclass(frozen=True)
class Curated:
    """How a pass of ``apply`` ended.

    Args:
        seen, kept, broken: items.
        parts: files written.
        skipped: {"path", "reason"} of the first ``NAMED`` broken ones.
    """

    seen: int
    kept: int
    broken: int
    parts: int
    skipped: Sequence[Mapping[str, str]] = ()

    @classmethod
    def of(cls, done: Mapping[str, Any]) -> Curated:
        """Return it from what ``read_state`` gave."""
        return cls(*(done[what] for what in ("seen", "kept", "broken", "parts", "skipped")))


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
        shard: number of the shard that ``stream`` is; its files have it in their names. None: the stream is the whole
            pool.

    Raises:
        DataError: ``out`` says nothing of how far it is, or a tar cannot be read now.
        UsageError: ``out`` holds a result and ``resume`` is False, or that of another question.
    """
    name = "" if shard is None else f"-{shard:05d}"
    state, wanted = out / f"curate{name}.json", plain({**about, "seed": run.seed})
    done = read_state(state, wanted, resume)
    if done["complete"]:
        return Curated.of(done)
    position = done["position"]
    # a stream is sought at an item it has, so that one is passed over
    behind, passed = (stream, 0) if position is None else (stream.seek(position), 1)
    decisions, skipped = (
        judged(curator, kit, plan, behind, run, part, passed),
        Skipped(done["broken"], done["skipped"], out / listed_in(shard), done["listed"]),
    )
    with run.track("curate") as bar:
        while True:
            rows, seen = list[dict[str, Any]](), 0
            while seen < part and (some := next(decisions, None)) is not None:
                count, position, decided = some
                seen += count
                for item, verdict in decided:  # of an item, with the bytes of its picture, its row alone is kept
                    if verdict.reason:
                        skipped.add(str(getattr(item, "name", verdict.position)), verdict.reason)
                    if verdict.keep:
                        rows.append(row_of(item, verdict, out))
            if not seen:
                break
            if rows:
                write_part(out / f"part{name}-{done['parts']:05d}.parquet", rows)
            skipped.flush()
            done = {
                "position": position, "seen": done["seen"] + seen, "kept": done["kept"] + len(rows),
                "broken": skipped.count, "parts": done["parts"] + bool(rows), "complete": False,
                "skipped": skipped.first, "listed": skipped.bytes,
            }  # fmt: skip
            write_json(state, {"asked": wanted, "done": done}, overwrite=True)
            bar.advance(seen)
    write_json(state, {"asked": wanted, "done": {**done, "complete": True}}, overwrite=True)
    return Curated.of(done)


@dataclass(frozen=True)
class Kept:
    """The items of a stream that a curator keeps, as a stream: a training filters and balances while it reads."""

    curator: Curator
    kit: Kit
    plan: Plan
    stream: Stream[Any]
    run: Run

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        decisions = judged(self.curator, self.kit, self.plan, self.stream, self.run, pictures=True)
        return ((verdict.position, item) for _, _, some in decisions for item, verdict in some if verdict.keep)

    def seek(self, position: int) -> Kept:
        """Return the stream that starts at ``position``."""
        return replace(self, stream=self.stream.seek(position))


def read_state(state: Path, wanted: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """Return how far a curation is; raises as ``apply_plan``."""
    done: dict[str, Any] = {
        "position": None, "seen": 0, "kept": 0, "broken": 0, "parts": 0, "complete": False, "skipped": [], "listed": 0,
    }  # fmt: skip
    if not state.exists():
        return done
    held, out = read_json(state), state.parent
    if not resume:
        raise UsageError(f"{out} holds a curation: give another {{out}}, or {{resume}} to continue it.")
    if held.get("asked") != wanted:
        raise UsageError(f"{out} holds a curation of something else: give another {{out}}, or repeat the same request.")
    progress: dict[str, Any] = (
        {"skipped": [], "listed": 0, **held["done"]} if isinstance(held.get("done"), dict) else {}
    )
    if progress.keys() != done.keys():
        raise DataError(f"{state} does not say how far the curation is: remove {out} and start again.")
    return progress


def listed_in(shard: int | None) -> str:
    """Return the name of the list of items that were dropped because they cannot be judged."""
    return SKIPPED if shard is None else f"skipped-{shard:05d}.csv"
