"""``diptych prove``: does a system do what its card claims, and does its control fail?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import completion, flag_values, options
from diptych.cli.console import command_line, finish, say, show, show_json, show_table
from diptych.cli.flags import option
from diptych.cli.offers import offers
from diptych.cli.unread import typed
from diptych.core import BoundBroken

if TYPE_CHECKING:
    from proofs.prove import Proof


METRICS = {"acc1": "top-1 %", "miou": "mIoU %", "image_auroc": "AUROC %"}


@offers("overwrite", "json", "backbone", "device", "precision", "engine", "batch", "workers", "cache")
def prove(
    slug: Annotated[
        str,
        typer.Argument(help="The system, or SLUG:ROW for a row of its own claim.", autocompletion=completion.systems()),
    ],
    data: Annotated[
        str | None,
        option("--data", help="Data sets, such as demo:clothes,cifar10_small (default: the card's)."),
    ] = None,
    fitted: Annotated[
        Path | None,
        option(
            "--fitted",
            help="Folder of what the system fitted before: measured instead of a new fit, if the proof has one.",
        ),
    ] = None,
    seeds: Annotated[str, option("--seeds", help="Seeds of draws, shuffles and systems.")] = "1,2,3,4,5",
    out: Annotated[Path, option("--out", "-o", help="Folder of the result, SLUG.json.")] = Path("results"),
    *,
    shared: options.RunOptions,
) -> None:
    """Run the proof of a system beside its control. Writes results/SLUG.json; exit code 5: not shown.

    Without --backbone it uses that of the system's plan: lite, or tiny for systems that take a tower apart or train it.
    """
    from diptych.data.files import write_json
    from proofs.prove import planned
    from proofs.prove import prove as run_proof

    target = out / f"{slug.replace(':', '-')}.json"
    shared.free(target)
    _, plan = planned(slug)  # an unknown name is told before a backbone is loaded
    usual = plan.backbone if plan else ""
    if fitted is not None:
        from diptych.evaluation.few_shot.loaded import stated

        usual = stated(fitted).backbone or usual
    with shared.open() as opened:
        result = run_proof(
            slug,
            opened.backbone(usual if "backbone" not in typed.get() else ""),
            opened.run,
            datasets=flag_values.words(data) if data else None,
            seeds=flag_values.integers(seeds, "seeds"),
            fitted=fitted,
            command=command_line(),
        )
    write_json(target, result.as_dict(), overwrite=shared.overwrite)
    if shared.json:
        show_json(result.as_dict())
    else:
        _show(result)
        show(str(target))
    if not result.shown:
        few, needed = len(set(result.facts["seeds"])), result.facts["seeds_needed"]
        say(
            f"Not shown: {few} seeds, and the proof asks for {needed}."
            if few < needed
            else "Not shown: see the lines above that say so."
        )
    finish(result.facts["skipped"], 0 if result.shown else BoundBroken.exit_code)


def _show(proof: Proof) -> None:
    metric, rows = proof.facts["metric"], []
    for d in proof.datasets:
        for kind, items in (("claim", d["claims"]), ("control", d["controls"])):
            for item in items:
                value = item["method" if kind == "claim" else "control"][item.get("what", metric)]
                verdict = (
                    ("shown" if item["shown"] else "NOT shown")
                    if kind == "claim"
                    else ("fails" if item["failed"] else "does NOT fail")
                )
                gain = f"{100 * item['gain']:+.1f} (above {100 * item['gain_lower95']:+.1f})"
                over = ", ".join(filter(None, (item["over"], item["variant"], item.get("what"))))
                rows.append((d["dataset"], kind, str(item["shots"] or "-"), f"{100 * value:.1f}", over, gain, verdict))
        for item in d["beside"]:
            gain = f"{100 * item['gain']:+.1f} (above {100 * item['gain_lower95']:+.1f})"
            rows.append(
                (
                    d["dataset"],
                    "beside",
                    str(item["shots"] or "-"),
                    f"{100 * item['twin'][item.get('what', metric)]:.1f}",
                    ", ".join(filter(None, (item["name"], item.get("what")))),
                    gain,
                    "",
                )
            )
    show_table(
        ["data set", "", "shots", METRICS.get(metric, f"{metric} %"), "over", "gain", "verdict"],
        rows,
        right=(2, 3),
        title=f"{proof.facts['name']}: {proof.facts['claim']}",
    )
