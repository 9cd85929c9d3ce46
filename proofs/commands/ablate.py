"""``diptych ablate``: do these descriptions help?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import command_line, finish, show, show_json, show_table
from diptych.cli.flags import Names, option
from diptych.cli.offers import offers
from diptych.core import UsageError
from diptych.verbs.arguments import TEMPLATES


@offers("overwrite", *options.MODEL)
def ablate(
    data: Annotated[str, typer.Argument(help="A folder with test (and train), a table, or demo:clothes.")],
    texts: Annotated[
        str | None,
        option(
            "--texts", help="Descriptions of the classes: a JSON pool, or one that ships (default: the data set's)."
        ),
    ] = None,
    methods: Annotated[str | None, option("--methods", help="Systems that read texts (default: all of them).")] = None,
    shots: Annotated[int, option("--shots", help="Training photos of each class, for systems that learn.", min=1)] = 16,
    seeds: Annotated[str, option("--seeds", help="Seeds of draws, swaps and random words.")] = "1,2,3,4,5",
    names: Names = None,
    templates: Annotated[list[str] | None, option("--templates", help=TEMPLATES)] = None,
    out: Annotated[Path | None, option("--out", "-o", help="Also write a .json file.")] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Compare descriptions with plain names and random words. Other classes' descriptions are compared too."""
    shared.free(out)
    from diptych.data.files import write_json
    from diptych.data.load import open_data
    from diptych.data.words.pools import pool_of, read_pool
    from diptych.verbs.names import names_of
    from proofs.ablate import ablate as ablate_texts

    with shared.open() as opened:
        dataset = open_data(data, opened.keys, need="classes")
        pool = read_pool(texts) if texts else pool_of(dataset.name)
        if pool is None:
            raise UsageError(
                f"No descriptions ship for {dataset.name}: give --texts, a JSON file of class name to list of texts."
            )
        result = ablate_texts(
            dataset,
            pool,
            opened.backbone(),
            opened.run,
            methods=flag_values.words(methods) if methods else None,
            classes=names_of(names, dataset.classes, templates),
            shots=shots,
            seeds=flag_values.integers(seeds, "seeds"),
            command=command_line(),
        )
    if out is not None:
        write_json(out, result.as_dict(), overwrite=shared.overwrite)
    if shared.json:
        show_json(result.as_dict())
    else:
        counted = f"{result.facts['items']} photos, {pool.source} ({pool.as_dict()['texts']} texts)"
        title = f"{dataset.name}: {counted}, {result.facts['backbone']}"
        lines = []
        for row in result.rows:
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
        for row in result.rows:
            show(f"{row.label}: {row.verdict}")
        for label, reason in result.missing.items():
            show(f"{label}: {reason}")
    finish(result.facts["skipped"])
