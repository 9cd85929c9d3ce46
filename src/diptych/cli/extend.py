"""``diptych extend``: tune a backbone on clips, so that it names what it sees in videos; train adapters for point
clouds; or learn kinds of stars from light curves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, show, show_json
from diptych.cli.unread import refuse_idle
from diptych.core import UsageError
from diptych.tasks.defaults import CLIP_ALIGNER, CLIP_TUNER

_LAYOUT = (
    "give a folder train/CLASS/CLIP and test/CLASS/CLIP, each clip a video or a folder of its frames, or light curves"
)


@options.offers(*options.MODEL)
def extend(
    clips: Annotated[
        str,
        typer.Argument(
            help="A folder train/CLASS/CLIP, and test/ or val/: videos or folders of frames, or point clouds. Or one "
            "with light_curves.csv and stars.csv."
        ),
    ],
    names: options.Names = None,
    template: Annotated[
        str, options.option("--template", help="One prompt with {} for the class of a clip or cloud.")
    ] = "a photo of a {}.",
    method: Annotated[
        str,
        options.option(
            "--method",
            help=f"{CLIP_TUNER} (tunes the backbone; the order of frames has no effect) or {CLIP_ALIGNER} (sees it).",
        ),
    ] = CLIP_TUNER,
    tunes: Annotated[
        str, options.option("--tunes", help="full (both towers) or heads (the layers after their pooling; quick).")
    ] = "heads",
    frames: Annotated[int, options.option("--frames", help="Frames sampled from each clip.", min=1)] = 8,
    label: Annotated[
        str | None, options.option("--label", help="With light curves: column of the class in stars.csv.")
    ] = None,
    epochs: Annotated[int, options.option("--epochs", help="Passes over the clips, clouds or curves.", min=1)] = 50,
    seed: Annotated[int, options.option("--seed", help="Seed of the order and the views.")] = 0,
    out: Annotated[Path, options.option("--out", "-o", help="New folder for the tuned weights.")] = Path("clip-model"),
    *,
    shared: options.RunOptions,
) -> None:
    """Tune a backbone on clips and keep the weights: 'classify --backbone local:FOLDER' then names what
    clips show.

    Point clouds train adapters, and light curves towers of their own: 'classify --model FOLDER' then names others.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give --out a new folder.")

    from diptych.data.formats.cloud_folder import holds_clouds
    from diptych.data.formats.star_table import holds_curves

    if holds_clouds(clips):
        if label is not None:
            raise UsageError(f"--label is for light curves, and {clips} holds point clouds: leave it out.")
        refuse_idle("Point clouds train adapters, from views of each", "method", "tunes", "frames")
        _extend_clouds(clips, names, template, epochs, seed, out, shared)
        return
    if holds_curves(clips):
        if names:
            raise UsageError("Classes of stars are those of stars.csv: leave out --names.")
        refuse_idle("Light curves train towers of their own", "method", "tunes", "frames", "template", "backbone")
        _extend_stars(clips, label, epochs, seed, out, shared)
        return
    if clips.startswith("demo:"):
        raise UsageError(f"{clips} holds photos, and extend learns from clips: {_LAYOUT}.")
    if label is not None:
        raise UsageError(f"--label is for light curves, and {clips} holds none: leave it out.")
    if tunes not in ("full", "heads"):
        raise UsageError(f"--tunes takes full or heads, not {tunes!r}: prompts are for the library only.")
    if method not in (CLIP_TUNER, CLIP_ALIGNER):
        raise UsageError(f"--method takes {CLIP_TUNER} or {CLIP_ALIGNER}, not {method!r}.")
    if method == CLIP_ALIGNER:
        refuse_idle(f"{CLIP_ALIGNER} trains parts beside the backbone", "tunes")
    if method == CLIP_ALIGNER and frames < 2:
        raise UsageError(f"{CLIP_ALIGNER} sees neighbouring frames: give --frames 2 or more.")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: give another --out, nothing is overwritten.")

    from diptych.core import ClassNames
    from diptych.data.load import open_data
    from diptych.tasks.extend import extend as fit
    from diptych.tasks.extend import tuner

    learner = tuner(tunes, frames, epochs, method)
    if method == CLIP_ALIGNER and out.exists():
        out.rmdir()  # it is empty; the folder is written whole
    with shared.open(seed=seed) as opened:
        data = open_data(clips, opened.keys, need="clips", frames=frames)
        if names is None and not data.classes:
            raise UsageError(f"{clips} has no class folders, so there is nothing to learn: {_LAYOUT}.")
        class_names = flag_values.class_names(names, data.classes)
        run, tower = opened.run, opened.backbone()
        result = fit(data, ClassNames(class_names, (template,)), tower, learner, run, frames=frames, out=out)
    if shared.json:
        show_json(result.as_dict())
    else:
        what = "alignment trained" if method == CLIP_ALIGNER else f"{tunes} tuned"
        show(f"{result.clips} clips of {len(class_names)} classes, {what} in {result.seconds:.0f} s")
        for name, right in result.right.items():
            show(f"{name:<10}  {right} of {result.tested} {result.held} clips right")
        kept = f"--model {out}" if method == CLIP_ALIGNER else f"--backbone local:{out}"
        show(f"Name what clips show with: diptych classify CLIPS --frames {frames} {kept}")
    finish(result.failed)


def _extend_clouds(
    clouds: str, names: str | None, template: str, epochs: int, seed: int, out: Path, shared: options.RunOptions
) -> None:
    """Train adapters over the views of point clouds, say what they reach, and keep them."""
    from diptych.core import ClassNames
    from diptych.data.load import open_data
    from diptych.tasks.clouds import adapter, extend_clouds

    method = adapter(epochs)
    with replace(shared, engine="torch").open(seed=seed) as opened:
        data = open_data(clouds, opened.keys, need="clouds")
        if names is None and not data.classes:
            raise UsageError(f"{clouds} has no class folders, so there is nothing to learn: give train/CLASS/CLOUD.")
        classes = ClassNames(flag_values.class_names(names, data.classes), (template,))
        result = extend_clouds(data, classes, opened.backbone(), method, opened.run, out=out)
    if shared.json:
        show_json(result.as_dict())
    else:
        show(f"{result.clouds} clouds of {len(classes)} classes, adapters trained in {result.seconds:.0f} s")
        for name, right in result.right.items():
            show(f"{name:<10}  {right} of {result.tested} {result.held} clouds right")
        show(f"Name other clouds with: diptych classify CLOUDS --model {out}")
    finish(result.failed)


def _extend_stars(
    curves: str, label: str | None, epochs: int, seed: int, out: Path, shared: options.RunOptions
) -> None:
    """Align and tune towers of light curves, say what they reach, and keep them."""
    from diptych.data.load import open_data
    from diptych.tasks.stars import aligner, extend_stars

    method = aligner(epochs)
    with replace(shared, engine="torch", workers=1).open(seed=seed) as opened:
        data = open_data(curves, need="curves", label=label or "")
        result = extend_stars(data, opened.run, out=out, method=method)
    if shared.json:
        show_json({**result.as_dict(), "out": str(out)})
    else:
        classes = len(result.classifier.classes)
        show(
            f"{result.aligned} light curves aligned, {result.labelled} labels of {classes} classes, in "
            f"{result.seconds:.0f} s"
        )
        for name, right in result.right.items():
            show(f"{name:<12}  {right} of {result.tested} {result.held} stars right")
        show(f"Name other stars with: diptych classify CURVES --model {out}")
    finish(result.failed)
