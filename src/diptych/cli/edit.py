"""``diptych edit``: change pictures by words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from diptych.cli import options
from diptych.cli.console import finish, say, show, show_json
from diptych.cli.photos import open_photos
from diptych.tasks.defaults import EDITOR, EDITOR_ROW

SHOWN = 4


_TINY = options.RunOptions(backbone="tiny", engine="torch", workers=1)


@options.offers("overwrite", "json", "backbone", "device", "precision", "batch", "cache", "verify")
def edit(
    source: Annotated[str, options.option("--source", help='What the pictures show: "a red circle".')] = "",
    target: Annotated[str, options.option("--target", help='What they shall show: "a blue circle".')] = "",
    generator: Annotated[
        str,
        options.option(
            "--generator", "-g", help="factors, small, or local:FILE with StyleGAN2 weights in safetensors."
        ),
    ] = "factors",
    images: Annotated[
        list[str] | None,
        options.option("--images", help="Photos, a folder or a table, instead of the generator's pictures."),
    ] = None,
    count: Annotated[int, options.option("--count", "-n", help="Pictures drawn from the generator.", min=1)] = 4,
    seed: Annotated[int, options.option("--seed", help="Of the pictures drawn, and of the training.")] = 0,
    method: Annotated[
        str, options.option("--method", "-m", help="An editor; see diptych systems --verb edit.")
    ] = EDITOR,
    variant: Annotated[
        str, options.option("--variant", help='Row of its card; "" is the paper\'s, which takes hours.')
    ] = EDITOR_ROW,
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Of the relevance mask: a higher one moves fewer channels.", min=0.0),
    ] = None,
    fitted: Annotated[
        Path | None, options.option("--fitted", help="Folder of the trained editor: read if it is there, else written.")
    ] = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder for pictures before and after, and edit.json.")
    ] = Path("edits"),
    *,
    shared: options.RunOptions = _TINY,
) -> None:
    """Change pictures by words: what is there, and what shall be."""
    from diptych import catalog
    from diptych.backbones.generators.load import load_generator
    from diptych.core.edit import Editor
    from diptych.tasks.edit import check_words, files, fitted_editor, need_inverter
    from diptych.tasks.edit import edit as edit_pictures

    check_words(source, target)
    system = catalog.row(catalog.find(method, Editor), variant)
    if fitted is None or not fitted.exists():
        system.check_extras()
    draws, inverter = load_generator(generator)
    with shared.open(seed=seed) as opened:
        photos = None
        if images:
            need_inverter(inverter, generator)
            photos = open_photos(images, opened.keys)[0]
        names = (
            [f"seed{seed}-{i + 1}" for i in range(count)]
            if photos is None
            else [photos.name(i) for i in range(len(photos))]
        )
        shared.free(*files(out, names), out / "edit.json")
        run, tower = opened.run, opened.backbone()
        editor = fitted_editor(draws, tower, run, inverter=inverter, method=system, folder=fitted)
        result = edit_pictures(editor, draws, source, target, run, images=photos, count=count, threshold=threshold)
    facts = {
        "generator": generator,
        "method": method,
        "variant": variant,
        "threshold": threshold,
        "backbone": tower.spec.name,
        "seed": seed,
    }
    paths = result.write(out, facts, overwrite=shared.overwrite)
    data = {**result.as_dict(), **facts}
    if shared.json:
        show_json(data)
    else:
        for path, picture in zip(paths, data["pictures"], strict=True):
            moved = picture["moved"]
            strongest = "  ".join(f"{row['layer']}.{row['channel']} {row['strength']:+.2f}" for row in moved[:SHOWN])
            show(f"{path.name}  {len(moved)} of {sum(result.channels)} channels moved  {strongest}".rstrip())
    say(f"{len(paths)} pictures before and after, and edit.json, in {out}")
    if data["pictures"] and not any(picture["moved"] for picture in data["pictures"]):
        say("No channel is relevant enough to be moved: give a lower --threshold, down to 0.")
    finish(result.failed)
