"""``diptych prove``: does a system do what its card claims, and does its control fail?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.board import command_line
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import BoundBroken, UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.evaluation.prove import Proof


METRICS = {"acc1": "top-1 %", "miou": "mIoU %", "image_auroc": "AUROC %"}


def prove(
    slug: Annotated[str, typer.Argument(help="The system, such as gda.", show_default=False)],
    data: Annotated[
        str | None,
        options.option(
            "--data", help="Data sets, such as demo:clothes,cifar10_small (default: the card's).", show_default=False
        ),
    ] = None,
    seeds: Annotated[str, options.option("--seeds", help="Seeds of draws, shuffles and systems.")] = "1,2,3,4,5",
    out: Annotated[Path, options.option("--out", "-o", help="Folder of the result, SLUG.json.")] = Path("results"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
) -> None:
    """Run the proof of a system beside its control and write results/SLUG.json. Exit code 5: not shown."""
    from diptych import catalog
    from diptych.data.files import write_json
    from diptych.evaluation.prove import prove as run_proof

    target = out / f"{slug}.json"
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists: give another --out or --overwrite.")
    catalog.find(slug)  # an unknown name is told before a backbone is loaded
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    names = options.words(data) if data else None
    found = run_proof(
        slug,
        options.open_backbone(backbone, run),
        run,
        datasets=names,
        seeds=options.integers(seeds, "seeds"),
        command=command_line(),
    )
    write_json(target, found.as_dict(), overwrite=overwrite)
    if json:
        show_json(found.as_dict())
    else:
        _show(found)
        show(str(target))
    say_skipped(found.facts["skipped"])
    if not found.shown:
        few, needed = len(set(found.facts["seeds"])), found.facts["seeds_needed"]
        say(
            f"Not shown: {few} seeds, and the proof asks for {needed}."
            if few < needed
            else "Not shown: see the lines above that say so."
        )
        raise typer.Exit(BoundBroken.exit_code)
    if found.facts["skipped"]:
        raise typer.Exit(UnreadableItem.exit_code)


def _show(found: Proof) -> None:
    metric, rows = found.facts["metric"], []
    for d in found.datasets:
        for kind, items in (("claim", d["claims"]), ("control", d["controls"])):
            for item in items:
                own = item["method" if kind == "claim" else "control"][metric]
                verdict = (
                    ("shown" if item["shown"] else "NOT shown")
                    if kind == "claim"
                    else ("fails" if item["failed"] else "does NOT fail")
                )
                gain = f"{100 * item['gain']:+.1f} (above {100 * item['gain_lower95']:+.1f})"
                over = ", ".join(filter(None, (item["over"], item["variant"])))
                rows.append((d["dataset"], kind, str(item["shots"] or "-"), f"{100 * own:.1f}", over, gain, verdict))
        for item in d["beside"]:
            gain = f"{100 * item['gain']:+.1f} (above {100 * item['gain_lower95']:+.1f})"
            rows.append(
                (
                    d["dataset"],
                    "beside",
                    str(item["shots"] or "-"),
                    f"{100 * item['twin'][metric]:.1f}",
                    item["name"],
                    gain,
                    "",
                )
            )
    show_table(
        ["data set", "", "shots", METRICS.get(metric, f"{metric} %"), "over", "gain", "verdict"],
        rows,
        right=(2, 3),
        title=f"{found.facts['name']}: {found.facts['claim']}",
    )
