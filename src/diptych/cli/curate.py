"""``diptych curate``: which pairs are worth training on?"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import say, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core.curate import Curator
    from diptych.core.kit import Kit
    from diptych.core.run import Run
    from diptych.tasks.curate import Skipped

app = typer.Typer(
    help="Plan over a pool of pairs, then keep the ones worth training on.", no_args_is_help=True, add_completion=False
)

Method = Annotated[str, options.option("--method", "-m", help="metaclip or clip-score.")]
Metadata = Annotated[
    str, options.option("--metadata", help="wordnet, a JSON list, or a file with one entry a line; for metaclip.")
]
Images = Annotated[str, options.option("--image", help="Column of a table with the picture.")]
TextColumn = Annotated[str, options.option("--text", help="Column of a table with the text.")]
Resume = Annotated[bool, options.option("--resume", help="Go on where a pass was killed.")]
Sources = Annotated[
    list[str], typer.Argument(help=".txt with one text a line, .csv, .tsv, or tars.", show_default=False)
]


@app.callback()
def _curate() -> None:
    """Plan over a pool of pairs, then keep the ones worth training on."""


@app.command("plan")
def curate_plan(
    sources: Sources,
    out: Annotated[Path, options.option("--out", "-o", help="File of the plan.")] = Path("plan.parquet"),
    merge: Annotated[
        list[Path] | None, options.option("--merge", help="Add an older plan; repeat for several.", show_default=False)
    ] = None,
    method: Method = "metaclip",
    metadata: Metadata = "wordnet",
    image: Images = "filepath",
    text: TextColumn = "title",
    resume: Resume = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    cluster: options.OnCluster = None,
    cluster_threads: options.ClusterThreads = 1,
) -> None:
    """Look at every pair once and write what was learnt: counts of entries, or a histogram of scores."""
    from diptych.tasks.curate import Skipped, open_stream
    from diptych.tasks.curate_shards import cut, plan_in

    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: give another --out or --overwrite.")
    curator = _curator(method, metadata, math.inf, 1.0, None)
    older = [curator.read_plan(path) for path in merge or ()]
    streams = [open_stream(source, image, text, pictures=method != "metaclip") for source in sources]
    skipped = Skipped()
    load, run = _kit(method, backbone, device, engine, batch, workers, cache, 0)
    asked: dict[str, Any] = {
        "sources": [(s, os.path.getsize(s) if os.path.isfile(s) else 0) for s in sources],
        "method": method,
    }
    asked |= {"metadata": metadata} if method == "metaclip" else {"backbone": backbone, "image": image, "text": text}
    shards = [shard for stream in streams for shard in cut(stream)]
    with options.workers(cluster, cluster_threads, run.device) as pool:
        plan = plan_in(
            out.with_name(f"{out.name}.parts"),
            curator,
            load,
            shards,
            run,
            asked,
            resume=resume,
            pool=pool,
            skipped=skipped,
        )
    # of this pass: older plans are added next
    skipped.extend(int(plan.report().get("broken", 0)), [{"path": n, "reason": r} for n, r in plan.unread])
    for other in older:
        plan = plan.merge(other)
    plan.write(out)
    facts = plan.report()
    if json:
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
    _say_skipped(skipped)
    if skipped.count:
        raise typer.Exit(UnreadableItem.exit_code)


@app.command("apply")
def curate_apply(
    source: Annotated[
        str, typer.Argument(help="The pool: .txt with one text a line, .csv, .tsv, or tars.", show_default=False)
    ],
    plan: Annotated[Path, options.option("--plan", help="What diptych curate plan wrote.")] = Path("plan.parquet"),
    out: Annotated[Path, options.option("--out", "-o", help="Folder of the kept pairs.")] = Path("curated"),
    t: Annotated[
        str, options.option("--t", help="Texts an entry may keep by itself; inf keeps all that match. For metaclip.")
    ] = "20000",
    share: Annotated[
        float, options.option("--share", help="Best share of the pool that stays; for clip-score.", min=0.0, max=1.0)
    ] = 0.3,
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Keep cosines from here on instead; for clip-score.", show_default=False),
    ] = None,
    seed: Annotated[int, options.option("--seed", help="Of the draws.")] = 0,
    resume: Resume = False,
    method: Method = "metaclip",
    metadata: Metadata = "wordnet",
    image: Images = "filepath",
    text: TextColumn = "title",
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    cluster: options.OnCluster = None,
    cluster_threads: options.ClusterThreads = 1,
) -> None:
    """Keep or drop every pair of the pool by a plan, and write the kept ones as Parquet."""
    from diptych.tasks.curate import Skipped, apply_plan, open_stream
    from diptych.tasks.curate_shards import apply_shards, cut

    try:
        limit = float(t)
    except ValueError:
        raise UsageError(f"--t takes a number of texts or inf, not {t!r}.") from None
    curator = _curator(method, metadata, limit, share, threshold)
    planned, stream = curator.read_plan(plan), open_stream(source, image, text, pictures=method != "metaclip")
    load, run = _kit(method, backbone, device, engine, batch, workers, cache, seed)
    asked: dict[str, Any] = {"source": source, "method": method}
    asked |= (
        {"metadata": metadata, "t": t}
        if method == "metaclip"
        else {"share": share, "threshold": threshold, "backbone": backbone}
    )
    about = {**asked, **planned.report()}
    with options.workers(cluster, cluster_threads, run.device) as pool:
        if pool:
            found = apply_shards(curator, load, planned, cut(stream), run, out, pool, about=about, resume=resume)
        else:
            found = apply_plan(curator, load(), planned, stream, run, out, about=about, resume=resume)
    facts = {"seen": found.seen, "kept": found.kept, "broken": found.broken, "parts": found.parts}
    if json:
        show_json({"out": str(out), **facts, "skipped": list(found.skipped)})
    else:
        show_table(["", ""], [(name, f"{value:,}") for name, value in facts.items()], right=(1,))
    say(f"{out}: {found.kept:,} of {found.seen:,} kept")
    _say_skipped(Skipped(found.broken, list(map(dict, found.skipped))))
    if found.broken:
        raise typer.Exit(UnreadableItem.exit_code)


def _say_skipped(skipped: Skipped) -> None:
    if skipped.count:
        say(f"{skipped.count:,} skipped:")
    for item in skipped.first:
        say(f"  {item['path']}: {item['reason']}")
    if skipped.count > len(skipped.first):
        say(f"  and {skipped.count - len(skipped.first):,} more")


def _curator(method: str, metadata: str, t: float, share: float, threshold: float | None) -> Curator:
    from diptych import catalog
    from diptych.core.curate import Curator

    if method == "metaclip":
        from diptych.methods.curate.metaclip import MetaCLIP

        return MetaCLIP(metadata, t)
    if method == "clip-score":
        from diptych.methods.curate.clip_score import CLIPScoreFilter

        return CLIPScoreFilter(share, threshold)
    system = catalog.find(method)
    if not issubclass(system, Curator):
        raise UsageError(f"{method} is no curator: see 'diptych systems --verb curate'.")
    return system()


def _kit(
    method: str, backbone: str, device: str, engine: str, batch: int, workers: int, cache: Path | None, seed: int
) -> tuple[Callable[[], Kit], Run]:
    """Return what loads the kit, and the run; MetaCLIP needs no backbone, and then no torch is loaded."""
    from diptych.core.kit import Kit
    from diptych.core.run import Run

    if method == "metaclip":
        from diptych.cli.console import Display

        return Kit, Run(seed=seed, workers=workers, progress=Display().bar)
    run = options.open_run(device, "fp32", batch, workers, cache, seed=seed, engine=engine)
    from diptych.backbones.sources.load import load
    from diptych.tasks.curate_shards import kit_of

    return partial(kit_of, partial(load, backbone, device=run.device)), run
