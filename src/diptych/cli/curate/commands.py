"""``diptych curate``: which pairs are worth training on?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import say, show_json, show_table
from diptych.cli.curate.options import (
    CURATOR,
    HEAD_CURATOR,
    LABEL_CURATOR,
    POOL,
    SCORE_CURATOR,
    KeepOptions,
    PlanOptions,
    PoolOptions,
)
from diptych.cli.curate.regions import curate_regions
from diptych.cli.unread import Readers, has, looks, needs, refuse_idle, refuse_unread
from diptych.core import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core import Kit, Run
    from diptych.tasks.curate.plan import Curation
    from diptych.tasks.curate.stream import Skipped

app = typer.Typer(
    cls=options.Steps,
    help="Plan over a pool of pairs, then keep the ones worth training on.",
    no_args_is_help=True,
    add_completion=False,
)

Resume = Annotated[bool, options.option("--resume", help="Resume a pass that was killed.")]
_SCORED = f"{SCORE_CURATOR} and {HEAD_CURATOR}"
Sources = Annotated[list[str], typer.Argument(help=POOL)]


PLANNED = (
    *("metadata", "clusters", "components", "sample", "attributes", "top", "sampled"),
    *("head", "mirror", "phrases", "least_words"),
)
APPLIED = (
    *("t", "tail", "share", "threshold", "votes", "taxonomy", "only", "drop", "most", "words"),
    *("eps", "cells", "rule", "bits", "precision", "below"),
)
READERS: Readers = {name: has(name) for name in PLANNED + APPLIED} | {
    "prefer": has("keep"),
    "agent": needs("Writer"),
    "agent_key": needs("Writer"),
    "backbone": looks,
    "image": looks,
}


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
    asked: PlanOptions,
    resume: Resume = False,
    shared: options.RunOptions,
) -> None:
    """Read every pair once and write a plan: counts of entries, a histogram of scores, a sample, or picked
    tiles.
    """
    from diptych.data.addresses import exists_at, published
    from diptych.data.files import named
    from diptych.data.load import open_stream
    from diptych.data.named_sets import located
    from diptych.tasks.curate.plan import Curation
    from diptych.tasks.curate.shards import cut, plan_in
    from diptych.tasks.curate.stream import Skipped

    written = resume and exists_at(out)
    if not written:
        shared.free(out)
    curation = Curation(pool.method, {**pool.settings, **vars(asked)})
    curator = curation.curator
    refuse_unread(curator, READERS)
    if written and not out.with_name(f"{out.name}.parts").exists():
        _tell_plan(out, curator.read_plan(located(out)).report(), [], shared.json)
        say(f"{named(out)} is finished: nothing is planned again. Leave out --resume for another plan.")
        return
    older = [curator.read_plan(located(path)) for path in merge or ()]
    streams = [open_stream(source, pool.image, pool.text, pictures=curation.looks) for source in sources]
    for stream in streams:
        curation.check_items(stream)
    skipped = Skipped()
    request: dict[str, Any] = {
        "sources": [(s, os.path.getsize(s) if os.path.isfile(s) else 0) for s in sources],
        "method": pool.method,
        **curation.own,
    }
    if curation.loads:
        request |= {"backbone": shared.backbone, "image": pool.image, "text": pool.text}
    shards = [shard for stream in streams for shard in cut(stream)]
    with shared.open() as opened, published(out) as local:
        load, run = _kit(curation, opened)
        parts, workers = local.with_name(f"{out.name}.parts"), opened.pool(run.device)
        with plan_in(
            parts, curator, load, shards, run, request,
            resume=resume, pool=workers, skipped=skipped, listed=local.with_name(f"{local.stem}.skipped.csv"),
        ) as plan:  # fmt: skip
            # of this pass: older plans are added next
            skipped.extend(int(plan.report().get("broken", 0)), [{"path": n, "reason": r} for n, r in plan.unread])
            for other in older:
                plan = plan.merge(other)
            facts = plan.report()  # first: an older plan may be replaced now
            plan.write(local)
    _tell_plan(out, facts, skipped.first, shared.json)
    say(named(out))
    _finish(skipped)


def _tell_plan(out: Path, facts: Mapping[str, Any], skipped: list[dict[str, str]], json: bool) -> None:
    """Show what a plan says of its pool."""
    from diptych.data.files import named

    if json:
        show_json({"plan": named(out), **facts, "skipped": skipped})
        return
    cells = [(n.replace("_", " "), f"{v:,}" if isinstance(v, int) else str(v)) for n, v in facts.items()]
    show_table(["", ""], cells)


@app.command("apply")
@options.offers("json", "backbone", "device", "engine", "batch", "workers", "cache", "cluster", "cluster_threads")
def curate_apply(
    source: Annotated[str, typer.Argument(help=POOL)],
    plan: Annotated[Path, options.option("--plan", help="What diptych curate plan wrote.")] = Path("plan.parquet"),
    out: Annotated[Path, options.option("--out", "-o", help="Folder of the kept pairs.")] = Path("curated"),
    t: Annotated[
        str, options.option("--t", help=f"Texts an entry may keep by itself; inf keeps all that match. For {CURATOR}.")
    ] = "20000",
    tail: Annotated[
        float,
        options.option(
            "--tail",
            help=f"Take t so that entries below it have this share of the matches; for {CURATOR}.",
            min=0.0,
            max=1.0,
        ),
    ] = 0.0,
    share: Annotated[
        float,
        options.option("--share", help=f"Best share of the pool that stays; for {_SCORED}.", min=0.0, max=1.0),
    ] = 0.3,
    threshold: Annotated[
        float | None, options.option("--threshold", help=f"Keep pairs with at least this score instead; for {_SCORED}.")
    ] = None,
    seed: Annotated[int, options.option("--seed", help="Seed of the draws.")] = 0,
    resume: Resume = False,
    *,
    pool: PoolOptions,
    kept: KeepOptions,
    shared: options.RunOptions,
) -> None:
    """Keep or drop every pair of the pool by a plan, and write the kept ones as Parquet."""
    from diptych.data.addresses import exists_at, published
    from diptych.data.files import address_of, named
    from diptych.data.load import open_stream
    from diptych.data.named_sets import located
    from diptych.tasks.curate.agents import agents_of
    from diptych.tasks.curate.plan import Curation, apply_plan
    from diptych.tasks.curate.shards import apply_shards, cut
    from diptych.tasks.curate.stream import Skipped

    try:
        limit = float(t)
    except ValueError:
        raise UsageError(f"--t takes a number of texts or inf, not {t!r}.") from None
    settings = {**pool.settings, "t": limit, "tail": tail, "share": share, "threshold": threshold, **kept.settings}
    curation = Curation(pool.method, settings)
    curator = curation.curator
    refuse_unread(curator, READERS)
    if threshold is not None:
        refuse_idle("--threshold says what stays", "share")
    if tail:
        refuse_idle("--tail says what t is", "t")
    rule = getattr(curator, "rule", "")
    if rule in ("vector", "hash"):
        refuse_idle(f"Duplicates are found by the {rule} alone", "bits" if rule == "vector" else "eps")
    if not exists_at(plan):
        raise UsageError(f"There is no plan {plan}: write one first, with 'diptych curate plan {source}'.")
    planned = curator.read_plan(located(plan))
    stream = open_stream(source, pool.image, pool.text, pictures=curation.looks)
    curation.check_items(stream)
    request: dict[str, Any] = {"source": source, "method": pool.method, **curation.own}
    if "t" in request:
        request["t"] = t
    if curation.loads:
        request["backbone"] = shared.backbone
    agents = agents_of(kept.agent or (), kept.agent_key) if curation.writes else {}
    if agents:
        request["agents"] = {name: f"{agent.model}@{agent.base_url}" for name, agent in agents.items()}
    report = {**request, **planned.report()}
    if thinned := getattr(curator, "thinned", None):
        report |= thinned(planned)
        if tail:
            say(f"t = {report['threshold']:,}: entries below it have {100 * report['tail_share']:.1f} % of the matches")
    with shared.open(seed=seed) as opened, published(out, resume=resume) as local:
        load, run = _kit(curation, opened, agents)
        workers = opened.pool(run.device)
        if address_of(out) and exists_at(out) and not resume:
            raise UsageError(f"{named(out)} holds a curation: give another --out, or --resume to go on with it.")
        if workers:
            result = apply_shards(curator, load, planned, cut(stream), run, local, workers, about=report, resume=resume)
        else:
            result = apply_plan(curator, load(), planned, stream, run, local, about=report, resume=resume)
    facts = {"seen": result.seen, "kept": result.kept, "broken": result.broken, "parts": result.parts}
    if shared.json:
        show_json({"out": named(out), **facts, "skipped": list(result.skipped)})
    else:
        show_table(["", ""], [(name, f"{value:,}") for name, value in facts.items()], right=(1,))
    say(f"{named(out)}: {result.kept:,} of {result.seen:,} kept")
    _finish(Skipped(result.broken, list(map(dict, result.skipped))))


@app.command("looks")
@options.offers("overwrite", "json")
def curate_looks(
    plan: Annotated[Path, typer.Argument(help="What diptych curate plan wrote.")] = Path("plan.parquet"),
    method: Annotated[str, options.option("--method", "-m", help="The system that planned.")] = LABEL_CURATOR,
    count: Annotated[int, options.option("--count", "-n", help="Items of each cluster.", min=1)] = 5,
    out: Annotated[Path, options.option("--out", "-o", help="Table to fill.")] = Path("looks.csv"),
    *,
    shared: options.RunOptions,
) -> None:
    """Write a table with a few items of each cluster, for people to fill its column labels."""
    from diptych.tasks.curate.plan import Curation
    from diptych.tasks.curate.rows import write_looks

    shared.free(out)
    if not plan.is_file():
        raise UsageError(f"There is no plan {plan}: write one first, with diptych curate plan --method {method}.")
    clusters, looks = write_looks(Curation(method, {}).curator.read_plan(plan), count, out)
    if shared.json:
        show_json({"out": str(out), "clusters": clusters, "looks": looks})
    say(f"{out}: {looks:,} looks at {clusters:,} clusters; write labels into its last column")


@app.command("head")
@options.offers("overwrite", "json", "backbone", "device", "engine", "batch", "workers", "cache")
def curate_head(
    labelled: Annotated[str, typer.Argument(help="Pictures with classes: folders of classes, or a table.")],
    positive: Annotated[str, options.option("--positive", help="The positive class.")],
    out: Annotated[Path, options.option("--out", "-o", help="File of the head.")] = Path("head.safetensors"),
    seed: Annotated[int, options.option("--seed", help="Seed of the held-out pictures.")] = 0,
    *,
    shared: options.RunOptions,
) -> None:
    """Fit a head on labelled pictures, for --head, and say how well it does on those it has not seen."""
    from diptych.cli.console import finish
    from diptych.data.load import open_data
    from diptych.tasks.curate.heads import fit_labelled, head_report

    shared.free(out)
    with shared.open(seed=seed) as opened:
        data = open_data(labelled, opened.keys, need="classes")
        head, failed = fit_labelled(data, positive, opened.backbone(), opened.run)
    head.save(out, overwrite=shared.overwrite)
    facts = head_report(head)
    if shared.json:
        show_json({"out": str(out), **facts})
    else:
        low, high = facts["val_auc_interval"]
        rows = [("AUC on held-out pictures", f"{facts['val_auc']:.3f} ({low:.3f}-{high:.3f})")]
        rows += [
            (f"threshold at precision {p}", "not promised" if cut is None else f"{cut:.3f}")
            for p, cut in facts["thresholds"].items()
        ]
        counts = f"{facts['val']:,} pictures, {facts['val_positive']:,} of them {positive}"
        show_table(["", ""], [("held out", counts), *rows])
    say(str(out))
    finish(failed)


def _finish(skipped: Skipped) -> None:
    if skipped.count:
        say(f"{skipped.count:,} skipped:")
    for item in skipped.first:
        say(f"  {item['path']}: {item['reason']}")
    if skipped.count > len(skipped.first):
        say(f"  and {skipped.count - len(skipped.first):,} more")
    if skipped.count:
        raise typer.Exit(UnreadableItem.exit_code)


def _kit(
    curation: Curation, opened: options.Opened, parts: Mapping[str, Any] | None = None
) -> tuple[Callable[[], Kit], Run]:
    """Return what loads the kit, and the run; where no backbone is needed, no torch is loaded."""
    from diptych.core import Kit

    if not curation.loads:
        return Kit, opened.light
    from diptych.backbones.sources.load import load
    from diptych.tasks.curate.shards import kit_of

    return partial(kit_of, partial(load, opened.options.backbone, device=opened.run.device), parts), opened.run


app.command("regions")(curate_regions)
