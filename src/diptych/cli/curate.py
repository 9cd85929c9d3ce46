"""``diptych curate``: which pairs are worth training on?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import say, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError
from diptych.tasks.defaults import CURATOR, SCORE_CURATOR

if TYPE_CHECKING:
    from diptych.core.kit import Kit
    from diptych.core.run import Run
    from diptych.tasks.curate import Curation
    from diptych.tasks.curate_stream import Skipped

app = typer.Typer(
    cls=options.Steps,
    help="Plan over a pool of pairs, then keep the ones worth training on.",
    no_args_is_help=True,
    add_completion=False,
)

Metadata = Annotated[
    str, options.option("--metadata", help=f"wordnet, a JSON list, or a file with one entry a line; for {CURATOR}.")
]
Resume = Annotated[bool, options.option("--resume", help="Go on where a pass was killed.")]
Sources = Annotated[list[str], typer.Argument(help=".txt with one text a line, .csv, .tsv, or tars.")]


@dataclass(frozen=True)
class PoolOptions:
    """How a pool is read, and by which system."""

    method: Annotated[str, options.option("--method", "-m", help=f"{CURATOR} or {SCORE_CURATOR}.")] = CURATOR
    metadata: Metadata = "wordnet"
    image: Annotated[
        str, options.option("--image", help="Column with the picture (default: filepath, path, image).")
    ] = ""
    text: Annotated[str, options.option("--text", help="Column with the text (default: title, caption, text).")] = ""


@app.callback()
def _curate() -> None:
    """Plan over a pool of pairs, then keep the ones worth training on."""


@app.command("plan")
@options.offers(
    "overwrite", "json", "backbone", "device", "engine", "batch", "workers", "cache", "cluster", "cluster_threads"
)
def curate_plan(
    sources: Sources,
    out: Annotated[Path, options.option("--out", "-o", help="File of the plan.")] = Path("plan.parquet"),
    merge: Annotated[
        list[Path] | None, options.option("--merge", help="Add an older plan; repeat for several.")
    ] = None,
    *,
    pool: PoolOptions,
    resume: Resume = False,
    shared: options.RunOptions,
) -> None:
    """Look at every pair once and write what was learnt: counts of entries, or a histogram of scores."""
    from diptych.data.load import open_stream
    from diptych.tasks.curate import Curation
    from diptych.tasks.curate_shards import cut, plan_in
    from diptych.tasks.curate_stream import Skipped

    shared.free(out)
    curation = Curation(pool.method, {"metadata": pool.metadata})
    curator = curation.curator
    older = [curator.read_plan(path) for path in merge or ()]
    streams = [open_stream(source, pool.image, pool.text, pictures=curation.looks) for source in sources]
    skipped = Skipped()
    request: dict[str, Any] = {
        "sources": [(s, os.path.getsize(s) if os.path.isfile(s) else 0) for s in sources],
        "method": pool.method,
        **curation.own,
    }
    if curation.looks:
        request |= {"backbone": shared.backbone, "image": pool.image, "text": pool.text}
    shards = [shard for stream in streams for shard in cut(stream)]
    with shared.open() as opened:
        load, run = _kit(curation, opened)
        plan = plan_in(
            out.with_name(f"{out.name}.parts"),
            curator,
            load,
            shards,
            run,
            request,
            resume=resume,
            pool=opened.pool(run.device),
            skipped=skipped,
        )
    # of this pass: older plans are added next
    skipped.extend(int(plan.report().get("broken", 0)), [{"path": n, "reason": r} for n, r in plan.unread])
    for other in older:
        plan = plan.merge(other)
    plan.write(out)
    facts = plan.report()
    if shared.json:
        show_json({"plan": str(out), **facts, "skipped": skipped.first})
    else:
        show_table(
            ["", ""],
            [
                (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
                for name, value in facts.items()
            ],
        )
    say(str(out))
    _finish(skipped)


@app.command("apply")
@options.offers("json", "backbone", "device", "engine", "batch", "workers", "cache", "cluster", "cluster_threads")
def curate_apply(
    source: Annotated[str, typer.Argument(help="The pool: .txt with one text a line, .csv, .tsv, or tars.")],
    plan: Annotated[Path, options.option("--plan", help="What diptych curate plan wrote.")] = Path("plan.parquet"),
    out: Annotated[Path, options.option("--out", "-o", help="Folder of the kept pairs.")] = Path("curated"),
    t: Annotated[
        str, options.option("--t", help=f"Texts an entry may keep by itself; inf keeps all that match. For {CURATOR}.")
    ] = "20000",
    share: Annotated[
        float,
        options.option("--share", help=f"Best share of the pool that stays; for {SCORE_CURATOR}.", min=0.0, max=1.0),
    ] = 0.3,
    threshold: Annotated[
        float | None, options.option("--threshold", help=f"Keep cosines from here on instead; for {SCORE_CURATOR}.")
    ] = None,
    seed: Annotated[int, options.option("--seed", help="Of the draws.")] = 0,
    resume: Resume = False,
    *,
    pool: PoolOptions,
    shared: options.RunOptions,
) -> None:
    """Keep or drop every pair of the pool by a plan, and write the kept ones as Parquet."""
    from diptych.data.load import open_stream
    from diptych.tasks.curate import Curation, apply_plan
    from diptych.tasks.curate_shards import apply_shards, cut
    from diptych.tasks.curate_stream import Skipped

    try:
        limit = float(t)
    except ValueError:
        raise UsageError(f"--t takes a number of texts or inf, not {t!r}.") from None
    settings = {"metadata": pool.metadata, "t": limit, "share": share, "threshold": threshold}
    curation = Curation(pool.method, settings)
    curator = curation.curator
    if not plan.is_file():
        raise UsageError(f"There is no plan {plan}: write one first, with 'diptych curate plan {source}'.")
    planned = curator.read_plan(plan)
    stream = open_stream(source, pool.image, pool.text, pictures=curation.looks)
    request: dict[str, Any] = {"source": source, "method": pool.method, **curation.own}
    if "t" in request:
        request["t"] = t
    if curation.looks:
        request["backbone"] = shared.backbone
    report = {**request, **planned.report()}
    with shared.open(seed=seed) as opened:
        load, run = _kit(curation, opened)
        workers = opened.pool(run.device)
        if workers:
            result = apply_shards(curator, load, planned, cut(stream), run, out, workers, about=report, resume=resume)
        else:
            result = apply_plan(curator, load(), planned, stream, run, out, about=report, resume=resume)
    facts = {"seen": result.seen, "kept": result.kept, "broken": result.broken, "parts": result.parts}
    if shared.json:
        show_json({"out": str(out), **facts, "skipped": list(result.skipped)})
    else:
        show_table(["", ""], [(name, f"{value:,}") for name, value in facts.items()], right=(1,))
    say(f"{out}: {result.kept:,} of {result.seen:,} kept")
    _finish(Skipped(result.broken, list(map(dict, result.skipped))))


def _finish(skipped: Skipped) -> None:
    if skipped.count:
        say(f"{skipped.count:,} skipped:")
    for item in skipped.first:
        say(f"  {item['path']}: {item['reason']}")
    if skipped.count > len(skipped.first):
        say(f"  and {skipped.count - len(skipped.first):,} more")
    if skipped.count:
        raise typer.Exit(UnreadableItem.exit_code)


def _kit(curation: Curation, opened: options.Opened) -> tuple[Callable[[], Kit], Run]:
    """Return what loads the kit, and the run; where no pictures are looked at, no torch is loaded."""
    from diptych.core.kit import Kit

    if not curation.looks:
        return Kit, opened.light
    from diptych.backbones.sources.load import load
    from diptych.tasks.curate_shards import kit_of

    return partial(kit_of, partial(load, opened.options.backbone, device=opened.run.device)), opened.run
