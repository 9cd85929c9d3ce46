"""Curation shard by shard: passes that go on where they were killed, here or on the workers of a cluster.

A shard is a fixed piece of the pool whose items keep their positions, so counts add up to those of one pass, and
verdicts are the same.

FOLDER/asked.json, plan-00000.part, ...                         a plan under way: one small plan a shard, and beside
                                                                it a list of what was passed over
OUT/curate-00000.json, part-00000-00000.parquet, ...            a result under way: see ``apply_plan``; curate.json says
                                                                when it is whole
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.backbones.engines.engine import Engines
from diptych.core import Backbone, Curator, DataError, Kit, Plan, Run, Stream, UsageError
from diptych.core.run import silent
from diptych.data.files import plain, read_json, write_json
from diptych.data.skipped import FILE as SKIPPED
from diptych.data.skipped import add_skipped, join_skipped
from diptych.data.words.textlines import TextLines
from diptych.tasks.cluster import Home, Pool, Shared, each
from diptych.tasks.curate.plan import PART, Curated, apply_plan, listed_in, read_state
from diptych.tasks.curate.stream import Parted, Skipped, readable

SHARD = 16 * 2**20
"""Bytes of a shard of a text file, about 300,000 alt-texts."""
MOST = 4096
"""Shards of one source: their plans are files."""


@dataclass(frozen=True)
class Order:
    """What every worker must know.

    Args:
        run: without progress and engine.
        engines: folder and kind of the engines; None: torch.
        plan: to apply; None: shards are planned.
        about: what was asked, of ``apply_plan``.
    """

    curator: Curator
    load: Callable[[], Kit]
    run: Run
    engines: tuple[Path, str] | None
    home: Home
    plan: Plan | None = None
    about: Mapping[str, Any] | None = None

    @cached_property
    def ready(self) -> tuple[Kit, Run]:
        """Return the kit and the run, in the driver's folder."""
        self.home.settle()
        return self.load(), replace(self.run, engine=Engines(*self.engines) if self.engines else None)


def _order(
    curator: Curator,
    load: Callable[[], Kit],
    run: Run,
    plan: Plan | None = None,
    about: Mapping[str, Any] | None = None,
) -> Order:
    engines = (run.engine.folder.absolute(), run.engine.kind) if isinstance(run.engine, Engines) else None
    alone = replace(run, progress=silent, engine=None, tally=Counter())
    return Order(curator, load, alone, engines, Home.here(), plan, about)


def kit_of(load: Callable[[], Backbone], parts: Mapping[str, Any] | None = None) -> Kit:
    """Return a kit with the backbone that this loads, and further parts."""
    return Kit({"main": load(), **(parts or {})})


def cut(stream: Stream[Any], size: int = SHARD) -> list[Stream[Any]]:
    """Return shards of a stream, the same each time: pieces of a text file, groups of tars, articles, slides."""
    if isinstance(stream, TextLines):
        return list(stream.shards(min(MOST, -(-os.path.getsize(stream.path) // size) or 1)))
    if isinstance(stream, Parted):
        return list(stream.parts(min(MOST, len(stream.shards))))
    return [stream]


@contextmanager
def plan_in(
    folder: Path, curator: Curator, load: Callable[[], Kit], shards: Sequence[Stream[Any]], run: Run,
    about: Mapping[str, Any],
    *, resume: bool = False, pool: Pool | None = None, skipped: Skipped | None = None,
    listed: Path | None = None,
) -> Iterator[Plan]:  # fmt: skip
    """Plan over every shard, keeping each one's plan in a folder, and give the merged plan, which may lie in there.

    The folder is gone after the block, in which the plan is written; where that fails, ``resume`` merges again.

    Items that cannot be read are passed over; which ones are broken otherwise (pictures) is the curator's to say.

    Args:
        folder: of the plans of shards.
        curator: any.
        load: returns the kit; called once a process.
        shards: of one pool or of several, at least one.
        run: as for the curator.
        about: what is asked, as plain data; a pass is resumed only where it is the same.
        resume: take over the plans that are there; where there are none, start.
        pool: workers; None: one shard after the other, here.
        skipped: takes what was passed over, by this pass and by the one that it resumes.
        listed: file that lists it, and the first items that the curator could not judge. It is written before the
            block, and removed where there is nothing to list; None: it is not written.

    Raises:
        UsageError: there is no shard; or a plan is under way and ``resume`` is False, or that of another question.
        DataError: a tar cannot be read now.
    """
    if not shards:
        raise UsageError("There is nothing to plan over: give at least one file.")
    settings = plain({**about, "shards": len(shards)})
    held = folder / "asked.json"  # written first: without it there is no plan under way
    begun = any(folder.glob("plan-*"))
    if begun and held.exists() and not resume:
        raise UsageError(f"{folder} holds a plan under way: give {{resume}} to continue it, or remove it.")
    if begun and (not held.exists() or read_json(held) != settings):
        raise UsageError(f"{folder} holds a plan of something else: remove it, or repeat the same request.")
    write_json(held, settings, overwrite=True)
    try:
        places = _planned(curator, load, shards, folder, run, pool, skipped)
    except BaseException:
        if not any(folder.glob("plan-*")):  # nothing is finished that another question would have to respect
            shutil.rmtree(folder)
        raise
    plan = functools.reduce(lambda a, b: a.merge(b), map(curator.read_plan, places))
    if listed is not None:
        join_skipped(listed, [place.with_suffix(".csv") for place in places])
        unread = [{"path": name, "reason": reason} for name, reason in plan.unread]
        add_skipped(listed, unread, listed.stat().st_size if listed.exists() else 0)
    yield plan
    shutil.rmtree(folder)


def _planned(
    curator: Curator,
    load: Callable[[], Kit],
    shards: Sequence[Stream[Any]],
    folder: Path,
    run: Run,
    pool: Pool | None,
    skipped: Skipped | None,
) -> Sequence[Path]:
    """Return the files of the plans of all shards."""
    places = [folder / f"plan-{number:05d}.part" for number in range(len(shards))]
    todo = [(shard, place) for shard, place in zip(shards, places, strict=True) if not _readable(curator, place)]
    with run.track("plan shards", len(shards)) as bar:
        bar.advance(len(shards) - len(todo))
        if pool is None:
            kit, alone = load(), replace(run, progress=silent)
            for shard, place in todo:
                _plan(curator, kit, shard, alone, place)
                bar.advance()
        else:
            order = pool.share(_order(curator, load, run))
            for _ in each(pool, plan_shard, ((order, shard, place.absolute()) for shard, place in todo)):
                bar.advance()
    _arrived(places)
    for beside in (place.with_suffix(".json") for place in places):
        if skipped is not None and beside.exists():
            skipped.extend(**read_json(beside))
    return places


def plan_shard(order: Shared[Order], shard: Stream[Any], place: Path) -> None:
    """Plan over one shard; on a worker."""
    job = order.value()
    kit, run = job.ready
    _plan(job.curator, kit, shard, run, place)


def _plan(curator: Curator, kit: Kit, shard: Stream[Any], run: Run, place: Path) -> None:
    """Write the plan of a shard, and first beside it what was passed over."""
    beside, listed = place.with_suffix(".json"), place.with_suffix(".csv")
    listed.unlink(missing_ok=True)
    skipped = Skipped(file=listed)
    plan = curator.plan(kit, readable(shard, skipped), run)
    beside.unlink(missing_ok=True)
    skipped.flush()
    if skipped.count:
        write_json(beside, {"count": skipped.count, "first": skipped.first}, overwrite=True)
    plan.write(place)


def apply_shards(
    curator: Curator, load: Callable[[], Kit], plan: Plan, shards: Sequence[Stream[Any]], run: Run, out: Path,
    pool: Pool,
    *, about: Mapping[str, Any], resume: bool = False, part: int = PART,
) -> Curated:  # fmt: skip
    """Keep or drop every item, shard by shard on workers; arguments and errors as ``apply_plan``, whose rows these are.

    A worker that dies leaves its whole parts behind; the next one goes on after them.
    """
    about = {**about, "shards": len(shards), "part": part}
    state, settings = out / "curate.json", plain({**about, "seed": run.seed})
    done = read_state(state, settings, resume)
    if not done["complete"]:
        write_json(state, {"asked": settings, "done": done}, overwrite=True)
        passes: dict[int, Curated] = {}
        skipped = Skipped()
        order = pool.share(_order(curator, load, run, plan, about))
        with run.track("curate shards", len(shards)) as bar:
            for number, ended in each(
                pool, apply_shard, ((order, s, n, out.absolute(), part) for n, s in enumerate(shards))
            ):
                passes[number] = ended
                bar.advance()
        _arrived([out / f"curate-{number:05d}.json" for number in passes])
        for number in sorted(passes):
            skipped.extend(passes[number].broken, passes[number].skipped)
        done = {
            **done,
            **{w: sum(getattr(c, w) for c in passes.values()) for w in ("seen", "kept", "broken", "parts")},
            "complete": True,
        }
        done["skipped"] = skipped.first
        join_skipped(out / SKIPPED, [out / listed_in(number) for number in range(len(shards))])
        write_json(state, {"asked": settings, "done": done}, overwrite=True)
    for number in range(len(shards)):
        for name in (f"curate-{number:05d}.json", listed_in(number)):
            (out / name).unlink(missing_ok=True)
    return Curated.of(done)


def apply_shard(order: Shared[Order], shard: Stream[Any], number: int, out: Path, part: int) -> Curated:
    """Apply the plan to one shard, behind what another worker did of it; on a worker."""
    job = order.value()
    kit, run = job.ready
    if job.plan is None or job.about is None:
        raise UsageError("This order has no plan to apply.")
    return apply_plan(
        job.curator,
        kit,
        job.plan,
        shard,
        run,
        out,
        about=job.about,
        resume=True,
        part=part,
        shard=number,
    )


def _readable(curator: Curator, place: Path) -> bool:
    if not place.exists():
        return False
    try:
        curator.read_plan(place)
    except DataError:
        return False
    return True


def _arrived(places: Sequence[Path]) -> None:
    """Raise where workers wrote into another folder of the same name."""
    absent = next((place for place in places if not place.exists()), None)
    if absent is not None:
        raise UsageError(f"Files written by workers are not in {absent.parent}: name a folder that all machines share.")
