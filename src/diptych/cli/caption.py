"""``diptych caption``: write what is on these photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.classify import open_photos
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import UnreadableItem, UsageError


def caption(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder, a table, or demo:photos.", show_default=False)],
    texts: Annotated[
        str | None,
        options.option(
            "--texts",
            help="Sentences to learn from: a .txt with one a line, or a table with caption columns.",
            show_default=False,
        ),
    ] = None,
    references: Annotated[
        str | None,
        options.option(
            "--references",
            help='Columns of the photos\' table to measure against, such as "caption_*".',
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        options.option(
            "--judge", help="Another backbone, which gives CLIPScore.", show_default=False, rich_help_panel="Model"
        ),
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A captioner; see diptych systems --verb caption.")
    ] = "nearest-caption",
    variant: Annotated[str, options.option("--variant", help="Row of its card, such as small.")] = "",
    n: Annotated[int, options.option("--captions", "-n", help="Captions a photo.", min=1)] = 1,
    seed: Annotated[int, options.option("--seed", help="Of trainings and draws.")] = 0,
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
    """Write a caption of each photo, learnt from sentences alone."""
    if texts is None:
        raise UsageError(
            "A captioner learns from sentences: give --texts, a .txt with one a line or a table with caption columns."
        )
    if out is not None and out.exists() and not overwrite:
        raise UsageError(f"{out} exists: give another --out or --overwrite.")
    if references is not None and len(photos) != 1:
        raise UsageError("--references names columns of one table: give the table alone.")

    from diptych.data.captions import read_sentences
    from diptych.data.load import open_data

    pool = read_sentences(texts)
    keys = options.file_keys(cache, verify)
    if references is None:
        samples, held = open_photos(photos, keys)[0], None
    else:
        table = open_data(photos[0], keys, need="captions", text=references).whole()
        samples, held = table.items, [list(own) for own in table.columns["captions"].values]

    from diptych import catalog
    from diptych.core.caption import Captioner
    from diptych.core.data import Evidence, Subset
    from diptych.data.files import write_json
    from diptych.tasks.caption import caption as caption_photos
    from diptych.tasks.caption import check_judge, measure
    from diptych.tasks.caption import judge as judged

    system = catalog.find(method)
    if not issubclass(system, Captioner):
        raise UsageError(f"{method} is no captioner: see 'diptych systems --verb caption'.")
    if variant not in system.card.variants:
        raise UsageError(
            f"{method} has no variant {variant!r}, only {', '.join(repr(v) for v in system.card.variants)}."
        )
    run = options.open_run(device, precision, batch, workers, cache, seed=seed, engine=engine)
    tower = options.open_backbone(backbone, run)
    by = None if judge is None else options.open_backbone(judge, run)
    if by is not None:
        check_judge(tower, by)
    found = caption_photos(
        samples, Evidence(texts=pool), tower, run, method=system(**system.card.variants[variant]), n=n
    )
    best = [own[0].value if own else "" for own in found.captions]
    metrics = measure(best, [held[i] for i in found.positions]) if held is not None else {}
    if by is not None:
        metrics["clip_score"] = judged(Subset(samples, found.positions), best, tower, by, run)
    keys.close()
    data = {
        **found.as_dict(),
        "metrics": metrics,
        "judge": judge,
        "method": method,
        "variant": variant,
        "backbone": tower.spec.name,
        "seed": seed,
    }
    if out is not None:
        write_json(out, data, overwrite=overwrite)
    if json:
        show_json(data)
    else:
        for name, own in zip(found.names, found.captions, strict=True):
            show(f"{Path(name).name}  {' | '.join(t.value for t in own) or '(nothing)'}")
    if metrics:
        say("  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    if found.cut:
        say(
            f"{found.cut:,} sentences are longer than {method} reads: it learnt their beginnings. Shorten them, or "
            f"leave them out."
        )
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)
