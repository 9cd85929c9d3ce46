"""``diptych extend``: fit any extender on labelled samples of its modality: clips, point clouds, light curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, show, show_json
from diptych.cli.unread import refuse_idle, typed
from diptych.core import UsageError
from diptych.tasks.defaults import DEFAULTS

_TUNER = DEFAULTS["extend clips"]


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
            help=f"For clips {_TUNER} (tunes the backbone; the order of frames has no effect), or any other extender: "
            "see diptych systems --verb extend.",
        ),
    ] = _TUNER,
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

    from diptych.core import ClassNames
    from diptych.data.format import Request
    from diptych.data.modalities import CLIPS, modality, modality_of
    from diptych.tasks.extend import classes_of, default_extender, extender, of_modality, refuse_full
    from diptych.tasks.extend import extend as fit

    kind = modality_of(clips)
    if kind is None and clips.startswith("demo:"):
        raise UsageError(f"{clips} holds photos, and extend learns from clips: {CLIPS.layout}.")
    if tunes not in ("full", "heads"):
        raise UsageError(f"--tunes takes full or heads, not {tunes!r}: prompts are for the library only.")
    slug = method if "method" in typed.get() else default_extender(kind or CLIPS)
    system = of_modality(slug, kind or CLIPS, certain=kind is not None)
    kind = modality(system.samples)
    if label is not None and not kind.rows:
        raise UsageError(f"--label is for light curves, and {clips} holds {kind.title}: leave it out.")
    if names and not kind.named:
        raise UsageError("Classes of stars are those of stars.csv: leave out --names.")
    refuse_idle(
        f"{system.card.name} has no such setting", *(n for n, reads in _READS.items() if not reads(kind, system))
    )
    refuse_full(out)
    learner = extender(slug, frames=frames, tunes=tunes if "tunes" in typed.get() else None, passes=epochs)
    with (shared if kind is CLIPS else replace(shared, engine="torch")).open(seed=seed) as opened:
        data = kind.open([clips], Request(keys=opened.keys, frames=frames, label=label or ""))
        if names is None and not data.classes and kind.named:
            raise UsageError(f"{clips} has no class folders, so there is nothing to learn: {kind.layout}.")
        named = kind.named and ClassNames(flag_values.class_names(names, data.classes), (template,))
        classes = named or classes_of(data, kind)
        tower = opened.backbone() if system.card.needs.hooks else None
        result = fit(data, classes, tower, learner, opened.run, out=out)
    if shared.json:
        show_json(result.as_dict())
    else:
        learnt = ", ".join(f"{count} {what}" for what, count in result.counts.items())
        show(f"{learnt} of {len(classes)} classes, {learner.card.name} fitted in {result.seconds:.0f} s")
        width = max(map(len, result.right), default=0)
        for name, right in result.right.items():
            show(f"{name:<{width}}  {right} of {result.tested} {result.held} {kind.name} right")
        show(f"Name others with: diptych classify {kind.name.upper()} --model {out}")
    finish(result.failed)


_READS: Mapping[str, Callable[[Any, Any], bool]] = {
    "frames": lambda kind, system: "frames" in system.__dataclass_fields__,
    "tunes": lambda kind, system: kind.name == "clips" and "tunes" in system.__dataclass_fields__,
    "epochs": lambda kind, system: system.passes in system.__dataclass_fields__,
    "template": lambda kind, system: kind.named,
    "backbone": lambda kind, system: bool(system.card.needs.hooks),
}
"""Option -> whether an extender of a modality reads it."""
