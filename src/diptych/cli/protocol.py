"""``diptych board few-shot``: the field's few-shot protocol in one resumable command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from diptych.cli import options
from diptych.cli.board import command_line, show_board
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem


def board_few_shot(
    data: Annotated[
        str, typer.Argument(help="A folder with train and test, a table, or demo:clothes.", show_default=False)
    ],
    methods: Annotated[
        str | None, options.option("--methods", help="Systems, such as gda,coop (default: all).", show_default=False)
    ] = None,
    shots: Annotated[str, options.option("--shots", help="Train items a class.")] = "1,2,4,8,16",
    seeds: Annotated[str, options.option("--seeds", help="Seeds of the draws.")] = "1,2,3",
    val: Annotated[str, options.option("--val", help="coop or full: see board classify.")] = "coop",
    cross: Annotated[
        list[str] | None,
        options.option(
            "--cross", help="Another data set, with its own classes; repeat for several.", show_default=False
        ),
    ] = None,
    shifted: Annotated[
        list[str] | None,
        options.option(
            "--shifted",
            help="A test set of the same classes that looks different; repeat for several.",
            show_default=False,
        ),
    ] = None,
    texts: options.TextPool = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Results folder; the same command goes on from it.")
    ] = Path("out/few-shot"),
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Measure shots 1 to 16, base to new classes, other data sets and shifted test sets, with three seeds."""
    from diptych.data.load import find_data
    from diptych.data.splits import ValRule
    from diptych.evaluation.few_shot.plan import Plan
    from diptych.evaluation.few_shot.protocol import protocol
    from diptych.evaluation.pages import protocol as protocol_page

    slugs = options.words(methods) if methods else None
    plan = Plan(slugs, options.integers(shots, "shots"), options.integers(seeds, "seeds"), cast(ValRule, val))
    keys = options.file_keys(cache, verify)
    opened = find_data(data, keys)
    others = [find_data(name, keys) for name in cross or ()]
    looks = [find_data(name, keys) for name in shifted or ()]
    pool = options.text_pool(texts)
    run = options.open_run(device, precision, batch, workers, cache, out, engine=engine)
    tower = options.open_backbone(backbone, run)
    made = protocol(
        opened, tower, run, plan, cross=others, shifted=looks, texts=pool, source=data, command=command_line()
    )
    keys.close()
    protocol_page.write(made, out / "protocol.html")
    if json:
        show_json(made.as_dict())
    else:
        show_board(made.board.as_dict())
        rows = [(label, *(f"{100 * v:.1f}" for v in values)) for label, values in made.harmonic().items()]
        if rows:
            show_table(["base to new", "base", "new", "harmonic"], rows, right=(1, 2, 3))
        reached = [
            (f"{r.kind} {r.name}", r.label, f"{100 * r.accuracy.value:.1f}")
            for r in made.reaches
            if r.kind in ("cross", "shift")
        ]
        if reached:
            show_table(["measured on", "system", "top-1"], reached, right=(2,))
        for reason, labels in made.reasons().items():
            show(f"{'; '.join(labels)}: {reason}")
        show(f"{out / 'protocol.html'}")
    say_skipped(made.board.skipped)
    if not made.complete:
        say("Interrupted: the same command goes on from there.")
        raise typer.Exit(130)
    if made.board.skipped:
        raise typer.Exit(UnreadableItem.exit_code)
