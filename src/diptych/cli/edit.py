"""``diptych edit``: change pictures and clips by words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, show, show_json
from diptych.cli.photos import clip_frames, open_photos
from diptych.cli.unread import Readers, needs, refuse_idle, refuse_unread, uses
from diptych.core import UsageError
from diptych.core.wording import number_of
from diptych.tasks.defaults import slug_and_row

if TYPE_CHECKING:
    from diptych.core import Start
    from diptych.tasks.edit import Edits

SHOWN = 4


_TINY = options.RunOptions(backbone="tiny", engine="torch", workers=1)


@dataclass(frozen=True)
class AskOptions:
    """What shall change, and how much."""

    source: Annotated[str, options.option("--source", help='What the pictures show: "a red circle".')] = ""
    target: Annotated[
        list[str] | None,
        options.option("--target", help='What they shall show: "a blue circle"; some methods take several.'),
    ] = None
    subject: Annotated[
        str | None, options.option("--subject", help="A picture of what shall appear, for a method that takes one.")
    ] = None
    mask: Annotated[
        str | None,
        options.option(
            "--mask", help="A PNG of a photo's size, white where it may change, for a method that takes it."
        ),
    ] = None
    strength: Annotated[
        float, options.option("--strength", help="Factor on the change; 0 gives the input back.", min=0.0)
    ] = 1.0
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Least relevance of what may change, for a method that has one.", min=0.0),
    ] = None


@dataclass(frozen=True)
class PartOptions:
    """What a method needs beside the backbone."""

    generator: Annotated[
        str | None,
        options.option(
            "--generator",
            "-g",
            help="factors, small, or local:FILE with StyleGAN2 weights in safetensors (default: factors; for photos "
            "small).",
        ),
    ] = None
    denoiser: Annotated[
        str | None,
        options.option("--denoiser", help="small, or local:FOLDER with a pipeline of diffusers (default: small)."),
    ] = None
    segmenter: Annotated[
        str | None, options.option("--segmenter", help="A segmenter, for a method that takes one.")
    ] = None
    like: Annotated[
        str | None, options.option("--like", help="Photos to learn from, for a method that learns from some.")
    ] = None


READERS: Readers = {
    "source": lambda system: system.takes.source,
    "subject": lambda system: system.takes.reference != "no",
    "mask": lambda system: system.takes.masks != "no",
    "strength": lambda system: system.takes.strength,
    "threshold": lambda system: system.takes.threshold,
    "generator": needs("StyleGenerator"),
    "denoiser": needs("TextDiffusion"),
    "segmenter": needs("Segmenter"),
    "like": uses("train", "texts", "unlabelled"),
}


@options.offers("overwrite", "json", "backbone", "device", "precision", "batch", "cache", "verify")
def edit(
    photos: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, a folder, a table or clips; none: pictures that the generator draws."),
    ] = None,
    frames: Annotated[
        int | None, options.option("--frames", help="Frames sampled from each clip (default: 8).", min=1)
    ] = None,
    count: Annotated[int, options.option("--count", "-n", help="Pictures drawn from the generator.", min=1)] = 4,
    seed: Annotated[int, options.option("--seed", help="Seed of the pictures drawn, and of the training.")] = 0,
    method: Annotated[
        str | None,
        options.option("--method", "-m", help="An editor; see diptych systems --verb edit (default: by the input)."),
    ] = None,
    variant: Annotated[
        str | None, options.option("--variant", help='Variant of the method, such as small; "" is the paper\'s.')
    ] = None,
    fitted: Annotated[
        Path | None, options.option("--fitted", help="Folder of the trained editor: read if it is there, else written.")
    ] = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder for pictures before and after, and edit.json.")
    ] = Path("edits"),
    *,
    chosen: PartOptions,
    asked: AskOptions,
    shared: options.RunOptions = _TINY,
) -> None:
    """Change pictures and clips by words: what is there, and what shall be."""
    from diptych import catalog
    from diptych.core import EditAsk, MissingPart, StyleGenerator
    from diptych.data.images import open_image
    from diptych.tasks.edit import alone, check_words, drawn_ask, files, fitted_editor, names_of, need_inverter
    from diptych.tasks.edit import edit as edit_pictures
    from diptych.tasks.edit_parts import GENERATOR, PHOTO_GENERATOR, chosen_editor, kit_for
    from diptych.tasks.evidence import evidence_for

    targets = tuple(asked.target or ())
    clips = clip_frames(photos, frames) if photos else None
    start: Start = "clips" if clips is not None else "pictures" if photos else "drawn"
    kind = chosen_editor(method, start)
    system = catalog.row(kind, _row(kind.card.slug, variant))
    refuse_unread(system, READERS)
    if photos:
        refuse_idle("Photos are given, and none are drawn", "count")
    check_words(asked.source, targets, told=system.takes.source)
    system.takes.check_words(asked.source, targets, kind.card.name)
    _check_start(kind.card.name, system.takes.start, start)
    if fitted is None or not fitted.exists():
        system.check_extras()
    reference = None if asked.subject is None else open_image(asked.subject)
    masks = None if asked.mask is None else _mask(asked.mask, photos)
    with shared.open(seed=seed) as opened:
        given = open_photos(photos, opened.keys, clips)[0] if photos else None
        parts = {name: getattr(chosen, name) for name in ("generator", "denoiser", "segmenter")}
        run, tower = opened.run, opened.backbone()
        kit = kit_for(kind.card, tower, **parts, photos=given is not None)
        draws = kit.parts.get("generator")
        if given is not None and draws is not None:
            need_inverter(kit.parts.get("inverter"), chosen.generator or PHOTO_GENERATOR)
        whole: dict[str, Any] = {"images" if start == "pictures" else "clips": given} if given is not None else {}
        ask = EditAsk(
            asked.source,
            targets,
            reference=reference,
            masks=masks,
            strength=asked.strength,
            threshold=asked.threshold,
            **whole,
        )
        if given is None:
            if not isinstance(draws, StyleGenerator):
                raise MissingPart(f"{kind.card.name} draws no pictures of its own: give photos.")
            ask = drawn_ask(ask, draws, count, run)
        system.takes.check(ask, kind.card.name)
        names = names_of(ask, run) if given is None else [given.name(i) for i in range(len(given))]
        shared.free(*(f(p) for p in files(out, names) for f in (Path, alone)), out / "edit.json")
        known = fitted is not None and fitted.exists()
        evidence = None if known else evidence_for(kind.card, like=chosen.like, keys=opened.keys)
        editor = fitted_editor(kit, run, method=system, evidence=evidence, folder=fitted)
        result = edit_pictures(editor, ask, run, channels=getattr(draws, "channels", ()))
    facts = {
        "generator": (chosen.generator or (PHOTO_GENERATOR if photos else GENERATOR)) if draws is not None else None,
        "method": kind.card.slug,
        "variant": _row(kind.card.slug, variant),
        "threshold": asked.threshold,
        "backbone": tower.spec.name,
        "seed": seed,
    }
    paths = result.write(out, facts, overwrite=shared.overwrite)
    data = {**result.as_dict(), **facts}
    if shared.json:
        show_json(data)
    else:
        _show(paths, data, result)
    say(f"{number_of(len(paths), 'picture')} before and after, and edit.json, in {out}")
    if result.channels and data["pictures"] and not any(picture["moved"] for picture in data["pictures"]):
        say("No channel is relevant enough to be moved: give a lower --threshold, down to 0.")
    finish(result.failed)


def _row(slug: str, variant: str | None) -> str:
    if variant is not None:
        return variant
    default, row = slug_and_row("edit")
    return row if slug == default else ""


def _check_start(name: str, able: tuple[str, ...], start: str) -> None:
    if start in able:
        return
    if start == "drawn":
        raise UsageError(f"{name} changes pictures of yours: give photos or clips.")
    raise UsageError(f"{name} does not begin with {start}, only with {' or '.join(able)}: name another --method.")


def _mask(path: str, photos: list[str] | None) -> list[Any]:
    import numpy as np

    from diptych.data.images import open_image

    if photos is None or len(photos) != 1:
        raise UsageError("--mask belongs to one photo: give that photo alone.")
    return [np.asarray(open_image(path).convert("L")) > 127]


def _show(paths: list[Path], data: dict[str, Any], result: Edits) -> None:
    for path, picture in zip(paths, data["pictures"], strict=True):
        if result.channels:
            moved = picture["moved"]
            strongest = "  ".join(f"{row['layer']}.{row['channel']} {row['strength']:+.2f}" for row in moved[:SHOWN])
            show(f"{path.name}  {len(moved)} of {sum(result.channels)} channels moved  {strongest}".rstrip())
        else:
            facts = {k: v for k, v in picture.items() if k not in ("name", "moved")}
            said = "  ".join(f"{k.replace('_', ' ')} {_said(v)}" for k, v in facts.items())
            show(f"{path.name}  {said}".rstrip())


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(v)}" for name, v in value.items())
    return ", ".join(map(_said, value)) if isinstance(value, (list, tuple)) else str(value)
