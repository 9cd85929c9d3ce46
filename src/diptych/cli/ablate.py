"""``diptych ablate``: do these descriptions help?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.board import command_line
from diptych.cli.console import say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError


def ablate(
    data: Annotated[
        str, typer.Argument(help="A folder with test (and train), a table, or demo:clothes.", show_default=False)
    ],
    texts: options.TextPool = None,
    methods: Annotated[
        str | None,
        options.option("--methods", help="Systems that read texts (default: all of them).", show_default=False),
    ] = None,
    shots: Annotated[int, options.option("--shots", help="Train items a class, for systems that learn.", min=1)] = 16,
    seeds: Annotated[str, options.option("--seeds", help="Seeds of draws, swaps and random words.")] = "1,2,3,4,5",
    names: options.Names = None,
    templates: options.Templates = None,
    out: Annotated[
        Path | None, options.option("--out", "-o", help="Also write a .json file.", show_default=False)
    ] = None,
    overwrite: options.Overwrite = False,
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
    """Compare descriptions with plain names, with other classes' descriptions, and with random words."""
    if out is not None and out.exists() and not overwrite:
        raise UsageError(f"{out} exists: give another --out or --overwrite.")
    from diptych.core.data import ClassNames
    from diptych.data.files import write_json
    from diptych.data.load import open_data
    from diptych.data.pools import pool_of
    from diptych.evaluation.ablate import ablate as ablate_texts

    keys = options.file_keys(cache, verify)
    opened = open_data(data, keys, need="classes")
    pool = options.text_pool(texts) or pool_of(opened.name)
    if pool is None:
        raise UsageError(
            f"No descriptions ship for {opened.name}: give --texts, a JSON file of class name to list of texts."
        )
    classes = ClassNames(options.class_names(names, opened.classes), options.template_set(templates))
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    tower = options.open_backbone(backbone, run)
    found = ablate_texts(
        opened, pool, tower, run, methods=options.words(methods) if methods else None, classes=classes, shots=shots,
        seeds=options.integers(seeds, "seeds"), command=command_line(),
    )  # fmt: skip
    keys.close()
    if out is not None:
        write_json(out, found.as_dict(), overwrite=overwrite)
    if json:
        show_json(found.as_dict())
    else:
        title = (
            f"{opened.name}: {found.facts['items']} photos, {pool.source} ({pool.as_dict()['texts']} texts), "
            f"{tower.spec.name}"
        )
        lines = []
        for row in found.rows:
            lines.append((f"{row.label}: own texts", f"{100 * row.accuracy.value:.1f}", "", "", ""))
            for a in row.against:
                interval = f"{100 * a.gain.low:+.1f} to {100 * a.gain.high:+.1f}"
                lines.append(
                    (
                        f"  {a.other}",
                        f"{100 * a.accuracy.value:.1f}",
                        f"{100 * a.gain.value:+.1f}",
                        interval,
                        f"{a.p:.3f}",
                    )
                )
        show_table(["", "top-1", "own texts gain", "95 %", "p"], lines, right=range(1, 5), title=title, spare=(3,))
        for row in found.rows:
            show(f"{row.label}: {row.verdict}")
        for label, reason in found.missing.items():
            show(f"{label}: {reason}")
    say_skipped(found.facts["skipped"])
    if found.facts["skipped"]:
        raise typer.Exit(UnreadableItem.exit_code)
