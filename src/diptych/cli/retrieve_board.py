"""``diptych board retrieve``: every fitting retriever on your records, measured alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.board import command_line
from diptych.cli.console import say, show, show_json, show_table
from diptych.core.errors import UsageError


def board_retrieve(
    data: Annotated[
        str,
        typer.Argument(help="A table of records with a column that says what each is of, or grocery_packages.", show_default=False),
    ],
    entity: Annotated[str, options.option("--entity", help="Column of what a record is of: records of one value match.")] = "entity",
    image: Annotated[str | None, options.option("--image", help="Column with the picture's path.", show_default=False)] = None,
    text: Annotated[str | None, options.option("--text-column", help="Column with the text.", show_default=False)] = None,
    methods: Annotated[
        str | None,
        options.option("--methods", help="Retrievers, such as clippings (default: all that train no tower).", show_default=False),
    ] = None,
    seeds: Annotated[str, options.option("--seeds", help="Seeds of the deals of entities.")] = "1,2,3",
    out: Annotated[Path, options.option("--out", "-o", help="Folder for board.json.")] = Path("out/board-retrieve"),
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
    """Run every retriever: a third of the entities is asked, the records of the others teach, in turn."""
    if (out / "board.json").exists() and not overwrite:
        raise UsageError(f"{out / 'board.json'} exists: give another --out or --overwrite.")
    from diptych.tasks.proofs.retrieve import find_linkage, read_linkage
    from diptych.tasks.retrieve_board import retrieve_board

    keys = options.file_keys(cache, verify)
    opened = read_linkage(data, entity, keys, image=image, text=text) if Path(data).is_file() else find_linkage(data, keys)
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    tower = options.open_backbone(backbone, run)
    slugs = options.words(methods) if methods else None
    made = retrieve_board(opened, tower, run, methods=slugs, seeds=options.integers(seeds, "seeds"), command=command_line())
    keys.close()
    made.write(out, overwrite=overwrite)
    if json:
        show_json(made.as_dict())
    else:
        rows = []
        for r in made.rows:
            gain = "" if r.gain is None else f"{100 * r.gain.value:+.1f} ({100 * r.gain.low:+.1f} to {100 * r.gain.high:+.1f})"
            interval = f"{100 * r.recall.value:.1f} ({100 * r.recall.low:.1f}-{100 * r.recall.high:.1f})"
            rows.append((" ".join(filter(None, (r.method, r.variant))), interval, gain))
        title = f"{opened.name}: {made.facts['items']} records asked, {made.facts['entities']} entities, unseen when asked"
        show_table(["system", "recall@1 % (95 %)", "gain over the untrained mean"], rows, right=(1, 2), title=title)
        show(str(out / "board.json"))
    for label, reason in made.missing.items():
        say(f"{label} did not run: {reason}")
