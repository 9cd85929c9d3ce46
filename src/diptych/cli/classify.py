"""``diptych classify``: what is on these photos?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options, stars
from diptych.cli.console import say, say_skipped, show, show_json, show_table
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.backbones.engines.remembered import Remembered
    from diptych.core.backbone import Backbone
    from diptych.core.data import ClassNames, Samples
    from diptych.core.method import Classifier
    from diptych.core.run import Run
    from diptych.data.keys import FileKeys
    from diptych.tasks.classified import Classified, Prediction


def classify(
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos, videos, a folder, a table, or demo:photos; light curves.", show_default=False),
    ],
    names: options.Names = None,
    templates: options.Templates = None,
    method: Annotated[
        str, options.option("--method", help="A system that learns from no labels: see 'diptych systems'.")
    ] = "zero-shot",
    texts: options.TextPool = None,
    reasons: Annotated[
        int, options.option("--reasons", help="Reasons a photo, from systems that have some.", min=0)
    ] = 0,
    frames: Annotated[
        int | None,
        options.option(
            "--frames",
            help="Look at so many frames a clip; folders of pictures are then clips.",
            min=1,
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, options.option("--top", "-k", help="Classes a photo.", min=1)] = 5,
    threshold: Annotated[
        float | None,
        options.option(
            "--threshold", help="Leave out classes below this probability.", min=0.0, max=1.0, show_default=False
        ),
    ] = None,
    model: Annotated[
        Path | None,
        options.option("--model", help="A folder that 'board classify --export' wrote.", show_default=False),
    ] = None,
    sets: Annotated[
        float | None,
        options.option(
            "--sets",
            help="With --model: sets of classes that hold the true one this often, such as 0.9.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[
        bool, options.option("--per-class", help="With --sets: also within each class that allows it.")
    ] = False,
    unknown_rate: Annotated[
        float | None,
        options.option(
            "--unknown-rate",
            help="With --model: say unknown, wrongly at most this often, such as 0.05.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, options.option("--out", "-o", help="Also write a .csv, .json or .html file.", show_default=False)
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    draft: options.Draft = False,
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Say what is on each photo, from class names alone."""
    if out is not None and out.suffix not in (".csv", ".json", ".html"):
        raise UsageError(f"--out writes .csv, .json or .html, not {out.name!r}.")
    if out is not None and out.exists() and not overwrite:
        raise UsageError(f"{out} exists: give another --out or --overwrite.")
    if model is None and (sets is not None or unknown_rate is not None or per_class):
        raise UsageError(
            "--sets, --per-class and --unknown-rate need a calibrated --model: see 'diptych board classify DATA "
            "--export best'."
        )
    if model is not None and (names or templates or texts or method != "zero-shot"):
        raise UsageError("A model has its own names, templates, texts and system: leave these options out, or --model.")
    if stars.holds_curves(photos):
        if sets or unknown_rate or reasons or frames or (out is not None and out.suffix == ".html"):
            raise UsageError(
                "For light curves there are no --sets, --unknown-rate, --reasons, --frames and no page: leave them out."
            )
        found = stars.classify_stars(
            photos, model, options.open_run(device, precision, batch, 1, cache), top, threshold
        )
        _tell(
            found,
            out,
            overwrite,
            json,
            f"{found.backbone}: {found.encoded} light curves in {found.seconds['encode']:.1f} s",
        )
        return
    system = None if method == "zero-shot" and not reasons else unlabelled_system(method)
    if texts and (system is None or "texts" not in (*system.card.needs.evidence, *system.card.needs.optional)):
        raise UsageError(f"{method} reads no descriptions: give --method description or fudd, or leave out --texts.")
    pool = options.text_pool(texts)
    if model is not None and frames is not None:
        raise UsageError("A model was fitted on photos: leave out --frames, or --model.")
    keys = options.file_keys(cache, verify)
    clips = clip_frames(photos, frames)
    samples, classes = open_photos(photos, keys, clips)
    if model is not None:
        from diptych.tasks import model as export
        from diptych.tasks.classify_with_model import answer

        about = export.read_about(model)
        run = options.open_run(device, precision, batch, workers, cache, engine=engine, draft=draft)
        tower = options.open_backbone(str(about["spec"]["name"]) if backbone == "lite" else backbone, run)
        found = answer(
            samples, export.load(model, tower), run, top=top, threshold=threshold, sets=sets, per_class=per_class,
            unknown_rate=unknown_rate, reasons=reasons, name=model,
        )  # fmt: skip
    else:
        spoken = options.class_names(names or _demo_names(photos), () if names else classes)
        prompts = options.template_set(templates)

        from diptych.core.data import ClassNames, Evidence

        named = ClassNames(spoken, prompts)
        known = (
            None
            if clips or system is not None
            else options.recalled_run(backbone, device, precision, batch, workers, cache, engine, draft)
        )
        answer_known = _from_memory(known, samples, named, top, threshold)
        if known is not None and answer_known is not None:
            found, run = answer_known, known[1]
        else:
            from diptych.tasks.classify import classify as classify_photos

            run = options.open_run(
                device, precision, batch, workers, cache, engine="torch" if clips else engine, draft=draft
            )
            tower = options.open_backbone(backbone, run)
            evidence: Evidence[Any] = Evidence(texts=pool.texts if pool else None)
            found = classify_photos(
                samples, named, of_clips(tower, clips, run), run, top=top, threshold=threshold, method=system, evidence=evidence,
                reasons=reasons,
            )  # fmt: skip
            if not clips:
                options.remember(backbone, tower, device, run, cache)
    keys.close()
    spoken_of = speed(found.encoded, found.seconds["encode"], run.device, run.precision, found.backbone)
    _tell(found, out, overwrite, json, spoken_of.replace("images", "clips") if clips else spoken_of, samples)


def _tell(
    found: Classified, out: Path | None, overwrite: bool, json: bool, pace: str, samples: Samples[Any] | None = None
) -> None:
    """Write the file that was asked for, print the predictions, and leave with the exit code that says what was
    skipped.
    """
    from diptych.data.files import write_json, write_whole

    if out is not None and out.suffix == ".csv":
        write_whole(out, found.as_csv(), overwrite=overwrite)
    elif out is not None and out.suffix == ".html" and samples is not None:
        from diptych.tasks import photo_page

        write_whole(out, photo_page.html(found, samples), overwrite=overwrite)
    elif out is not None:
        write_json(out, found.as_dict(), overwrite=overwrite)
    if json:
        show_json(found.as_dict())
    else:
        show_predictions(found)
    say(pace)
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)


def unlabelled_system(slug: str) -> Classifier:
    """Return a system that class names, and perhaps texts, are enough for.

    Raises:
        UsageError: there is no such classifier, or it learns from photos.
    """
    from diptych import catalog
    from diptych.core.method import Classifier

    found = catalog.find(slug)
    if not issubclass(found, Classifier):
        raise UsageError(f"{slug} is no classifier: see 'diptych systems --verb classify'.")
    if {"train", "unlabelled"} & set(found.card.needs.evidence):
        raise UsageError(
            f"{slug} learns from photos: run 'diptych board classify DATA --export {slug}', and give its folder with "
            f"--model."
        )
    return found()


def _from_memory(
    known: tuple[Remembered, Run] | None, samples: Samples[Any], classes: ClassNames, top: int, threshold: float | None
) -> Classified | None:
    """Answer without torch where the backbone, its export and these classes are known; None where they are not."""
    from diptych.tasks import fast_engine as quick

    if known is None:
        return None
    head = quick.ready(known[0], classes, known[1])
    return None if head is None else quick.classify(samples, classes, head, *known, top=top, threshold=threshold)


def clip_frames(photos: list[str], frames: int | None) -> int | None:
    """Return how many frames of each clip are looked at: as asked, 8 where the first file is a video, None where these
    are photos.
    """
    if frames is not None or photos[0].startswith("demo:"):
        return frames
    from diptych.data.formats.clip_folder import FRAMES, holds_clips

    return FRAMES if holds_clips(photos[0]) else None


def of_clips(tower: Backbone, frames: int | None, run: Run) -> Backbone:
    """Return the backbone with clips in the place of photos; itself where these are photos."""
    if frames is None:
        return tower
    from diptych.core.data import Evidence
    from diptych.core.kit import Kit
    from diptych.methods.extend.frame_mean import FrameMean

    return FrameMean(frames).fit(Kit({"main": tower}), Evidence(), run)


def open_photos(photos: list[str], keys: FileKeys, frames: int | None = None) -> tuple[Samples[Any], tuple[str, ...]]:
    """Return the photos, or the clips of so many frames, and the class names that their folders give."""
    from diptych.data.folders import ImageFiles
    from diptych.data.formats.clip_folder import open_clips
    from diptych.data.load import open_data

    if len(photos) > 1 and frames is None:
        return ImageFiles(photos, keys), ()
    data = open_data(photos[0], keys) if frames is None else open_clips(photos, frames, keys)
    from diptych.data.joined import Joined

    return Joined(tuple(table.items for table in data.splits.values())), data.classes


def _demo_names(photos: list[str]) -> str | None:
    if photos != ["demo:photos"]:
        return None
    from diptych.data.load import demo_folder

    return str(demo_folder("photos") / "names.txt")


def speed(encoded: int, seconds: float, device: str, precision: str, backbone: str) -> str:
    """Return one line about how fast it went."""
    if not encoded:
        return f"{backbone} on {device}, {precision}: all from the cache"
    return f"{backbone} on {device}, {precision}: {encoded} images in {seconds:.1f} s, {encoded / max(seconds, 1e-9):.0f} images/s"


def show_predictions(found: Classified) -> None:
    """Print one line a photo."""
    width = max(len(Path(p.name).name) for p in found.predictions)
    if width > 60 or not found.predictions:
        show_table(["photo", "classes"], [(Path(p.name).name, _line(p)) for p in found.predictions])
        return
    for p in found.predictions:
        show(f"{Path(p.name).name:<{width}}  {_line(p)}")
        for text, weight in p.reasons or ():
            show(f"{'':<{width}}    {weight:+.3g}  {text}")


def _line(p: Prediction) -> str:
    said = "  ".join(f"{label} {100 * value:.0f}%" for label, value in p.top) or "(none above the threshold)"
    if p.unknown:
        said = f"unknown ({said})"
    return said if p.inside is None else f"{said}  | one of: {', '.join(p.inside)}"
