"""``diptych extend``: tune a backbone on clips, so that it names what it sees in videos; or learn kinds of stars from
light curves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options, stars
from diptych.cli.console import say_skipped, show, show_json
from diptych.core.errors import UnreadableItem, UsageError


def extend(
    clips: Annotated[
        str,
        typer.Argument(
            help="A folder train/CLASS/CLIP, and test/ or val/: videos or folders of frames. Or one with "
            "light_curves.csv and stars.csv.",
            show_default=False,
        ),
    ],
    names: options.Names = None,
    template: Annotated[
        str, options.option("--template", help="One prompt with {}: what is said of a clip of a class.")
    ] = "a photo of a {}.",
    tunes: Annotated[
        str, options.option("--tunes", help="full (both towers) or heads (what stands behind their pooling; quick).")
    ] = "heads",
    frames: Annotated[int, options.option("--frames", help="Frames looked at in each clip.", min=1)] = 8,
    label: Annotated[
        str | None,
        options.option("--label", help="With light curves: column of the class in stars.csv.", show_default=False),
    ] = None,
    epochs: Annotated[int, options.option("--epochs", help="Passes over the clips.", min=1)] = 50,
    seed: Annotated[int, options.option("--seed", help="Of the order and the views.")] = 0,
    out: Annotated[Path, options.option("--out", "-o", help="New folder for the tuned weights.")] = Path("clip-model"),
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
    """Tune a backbone on clips (ViFi-CLIP) and keep the weights: 'classify --backbone local:FOLDER' then names what
    clips show.

    Light curves train towers of their own (AstroM3): 'classify --model FOLDER' then names kinds of stars.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give --out a new folder.")

    from diptych.data.load import open_data

    if stars.holds_curves([clips]):
        if names:
            raise UsageError("Classes of stars are those of stars.csv: leave out --names.")
        stars.extend_stars(
            clips, label, epochs, out, options.open_run(device, precision, batch, 1, cache, seed=seed), json
        )
        return
    if label is not None:
        raise UsageError(f"--label is for light curves, and {clips} holds none: leave it out.")
    if tunes not in ("full", "heads"):
        raise UsageError(f"--tunes takes full or heads, not {tunes!r}: prompts are for the library only.")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: give another --out, nothing is overwritten.")
    keys = options.file_keys(cache, verify)
    data = open_data(clips, keys, need="clips", frames=frames)
    spoken = options.class_names(names, data.classes)

    from diptych.core.data import ClassNames
    from diptych.methods.extend.vifi_clip import ViFiCLIP
    from diptych.tasks.extend import extend as fit

    run = options.open_run(device, precision, batch, workers, cache, seed=seed, engine=engine)
    method = ViFiCLIP(tunes="full" if tunes == "full" else "heads", frames=frames, epochs=epochs)
    found = fit(
        data, ClassNames(spoken, (template,)), options.open_backbone(backbone, run), method, run, frames=frames, out=out
    )
    keys.close()
    if json:
        show_json(found.as_dict())
    else:
        show(f"{found.clips} clips of {len(spoken)} classes, {tunes} tuned in {found.seconds:.0f} s")
        for name, right in found.right.items():
            show(f"{name:<10}  {right} of {found.tested} {found.held} clips right")
        show(f"Name what clips show with: diptych classify CLIPS --frames {frames} --backbone local:{out}")
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)
