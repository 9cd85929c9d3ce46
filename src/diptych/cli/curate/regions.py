"""``diptych curate regions``: boxes and what they show, for photos that have captions alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, show_json, show_table
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.metrics.interval import Interval

_TORCH = options.RunOptions(engine="torch")


@options.offers("overwrite", "json", "backbone", "device")
def curate_regions(
    photos: Annotated[str, typer.Argument(help="A table or a folder with captions; with --agent, any photos.")],
    out: Annotated[Path, options.option("--out", "-o", help="Table to write, for --regions.")] = Path("regions.csv"),
    captions: Annotated[
        str, options.option("--captions", help="Column of the captions, or a pattern such as 'caption_*'.")
    ] = "",
    proposer: Annotated[
        str,
        options.option(
            "--proposer",
            help="Finds regions: merged-cells, or, as hf:NAME or a folder, an open-vocabulary detector (OWL-ViT, "
            "OWLv2), which is told the phrases, or a mask model of transformers.",
            rich_help_panel="Model",
        ),
    ] = "merged-cells",
    agent: Annotated[
        str,
        options.option(
            "--agent", help="MODEL@http://host/v1 that names what it sees in each place, in place of the captions."
        ),
    ] = "",
    agent_key: Annotated[str, options.option("--agent-key", help="Environment variable with its API key.")] = "",
    truth: Annotated[
        Path | None,
        options.option(
            "--truth", help="A table of true boxes with a column category, to measure the regions that are found."
        ),
    ] = None,
    *,
    shared: options.RunOptions = _TORCH,
) -> None:
    """Find regions in photos and describe each, by noun phrases of the captions or by a captioner."""
    from diptych.backbones.sources.proposers import load_proposer
    from diptych.data.formats.region_table import with_regions
    from diptych.data.load import open_data
    from diptych.tasks.curate.agents import agents_of
    from diptych.tasks.curate.regions import find_regions, quality

    if agent and captions:
        raise UsageError("An agent names places, so captions are not read: leave out --captions, or --agent.")
    shared.free(out)
    writer = next(iter(agents_of([agent], agent_key).values())) if agent else None
    with shared.open() as opened:
        data = open_data(photos, opened.keys, need="photos" if agent else "captions", text=captions)
        known = None if truth is None else with_regions(data, truth).whole()
        found = find_regions(data.whole(), opened.backbone(), load_proposer(proposer), opened.run, writer=writer)
        judged = None if known is None else quality(found, known, opened.run.integer("bootstrap"))
    found.write(out, overwrite=shared.overwrite)
    if shared.json:
        told = {} if judged is None else {"quality": judged.as_dict()}
        counts = {"photos": len(found.table), "regions": found.count}
        show_json({"out": str(out), **counts, **told, "skipped": [str(e) for e in found.failed]})
    else:
        rows = [("photos", f"{len(found.table):,}"), ("regions", f"{found.count:,}")]
        if judged is not None:
            rows.append(("that name a true class", f"{judged.named:,}"))
            shares = {"of a class that the photo has, %": judged.present, "IoU of 0.5 with one of it, %": judged.right}
            rows += [(name, _cell(part, 100, 0)) for name, part in shares.items() if part is not None]
            rows += [] if judged.iou is None else [("mean IoU (95 %)", _cell(judged.iou, 1, 2))]
        show_table(["", ""], rows)
    say(str(out))
    finish(found.failed)


def _cell(part: Interval, factor: int, digits: int) -> str:
    value, low, high = (f"{factor * v:.{digits}f}" for v in (part.value, part.low, part.high))
    return f"{value} ({low}-{high})"
