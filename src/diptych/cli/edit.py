"""``diptych edit``: change pictures by words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.classify import open_photos
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import UnreadableItem, UsageError

SHOWN = 4


def edit(
    source: Annotated[
        str, options.option("--source", help='What the pictures show: "a red circle".', show_default=False)
    ] = "",
    target: Annotated[
        str, options.option("--target", help='What they shall show: "a blue circle".', show_default=False)
    ] = "",
    generator: Annotated[
        str,
        options.option(
            "--generator", "-g", help="factors, small, or local:FILE with StyleGAN2 weights in safetensors."
        ),
    ] = "factors",
    images: Annotated[
        list[str] | None,
        options.option(
            "--images", help="Photos, a folder or a table, instead of the generator's pictures.", show_default=False
        ),
    ] = None,
    count: Annotated[int, options.option("--count", "-n", help="Pictures drawn from the generator.", min=1)] = 4,
    seed: Annotated[int, options.option("--seed", help="Of the pictures drawn, and of the training.")] = 0,
    method: Annotated[
        str, options.option("--method", "-m", help="An editor; see diptych systems --verb edit.")
    ] = "deltaedit",
    variant: Annotated[
        str, options.option("--variant", help='Row of its card; "" is the paper\'s, which takes hours.')
    ] = "small",
    threshold: Annotated[
        float | None,
        options.option(
            "--threshold", help="Of the relevance mask: a higher one moves fewer channels.", min=0.0, show_default=False
        ),
    ] = None,
    fitted: Annotated[
        Path | None,
        options.option(
            "--fitted", help="Folder of the trained editor: read if it is there, else written.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder for pictures before and after, and edit.json.")
    ] = Path("edits"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "tiny",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    batch: options.Batch = 32,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Change pictures by words: what is there, and what shall be."""
    from diptych.backbones.generators.load import load_generator
    from diptych.tasks.edit import check_words, files, need_inverter

    check_words(source, target)
    draws, inverter = load_generator(generator)
    keys = options.file_keys(cache, verify) if images else None
    photos = None
    if images and keys is not None:
        need_inverter(inverter, generator)
        photos = open_photos(images, keys)[0]
    names = (
        [f"seed{seed}-{i + 1}" for i in range(count)]
        if photos is None
        else [photos.name(i) for i in range(len(photos))]
    )
    there = [path for path in (*files(out, names), out / "edit.json") if path.exists()]
    if there and not overwrite:
        raise UsageError(f"{there[0]} exists: give another --out or --overwrite.")

    from diptych import catalog
    from diptych.core.edit import Editor
    from diptych.tasks.edit import edit as edit_pictures
    from diptych.tasks.edit import fitted_editor

    system = catalog.find(method)
    if not issubclass(system, Editor):
        raise UsageError(f"{method} is no editor: see 'diptych systems --verb edit'.")
    if variant not in system.card.variants:
        raise UsageError(
            f"{method} has no variant {variant!r}, only {', '.join(repr(v) for v in system.card.variants)}."
        )
    run = options.open_run(device, precision, batch, 1, cache, seed=seed)
    tower = options.open_backbone(backbone, run)
    editor = fitted_editor(
        draws, tower, run, inverter=inverter, method=system(**system.card.variants[variant]), folder=fitted
    )
    found = edit_pictures(editor, draws, source, target, run, images=photos, count=count, threshold=threshold)
    if keys is not None:
        keys.close()
    about = {
        "generator": generator,
        "method": method,
        "variant": variant,
        "threshold": threshold,
        "backbone": tower.spec.name,
        "seed": seed,
    }
    paths = found.write(out, about, overwrite=overwrite)
    data = {**found.as_dict(), **about}
    if json:
        show_json(data)
    else:
        for path, picture in zip(paths, data["pictures"], strict=True):
            moved = picture["moved"]
            strongest = "  ".join(f"{row['layer']}.{row['channel']} {row['strength']:+.2f}" for row in moved[:SHOWN])
            show(f"{path.name}  {len(moved)} of {sum(found.channels)} channels moved  {strongest}".rstrip())
    say(f"{len(paths)} pictures before and after, and edit.json, in {out}")
    if data["pictures"] and not any(picture["moved"] for picture in data["pictures"]):
        say("No channel is relevant enough to be moved: give a lower --threshold, down to 0.")
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)
