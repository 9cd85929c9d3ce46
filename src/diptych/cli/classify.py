"""``diptych classify``: what is on these photos?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, show_json
from diptych.cli.photos import clip_frames, demo_names, open_photos, open_regions, show_predictions, speed
from diptych.cli.unread import Readers, has, refuse_idle, refuse_unread
from diptych.core import UsageError
from diptych.tasks.defaults import CLASSIFIER

if TYPE_CHECKING:
    from diptych.core import Backbone, Classifier, ClassNames, Samples
    from diptych.data.words.pools import Pool
    from diptych.tasks.classified import Classified


@dataclass(frozen=True)
class ModelOptions:
    """An exported model, and what it shall promise."""

    model: Annotated[Path | None, options.option("--model", help="A folder that 'board classify --export' wrote.")] = (
        None
    )
    sets: Annotated[
        float | None,
        options.option("--sets", help="With --model: sets of classes that hold the true one this often, such as 0.9."),
    ] = None
    per_class: Annotated[
        bool, options.option("--per-class", help="With --sets: also within each class that allows it.")
    ] = False
    unknown_rate: Annotated[
        float | None,
        options.option("--unknown-rate", help="With --model: say unknown, wrongly at most this often, such as 0.05."),
    ] = None

    @property
    def promises(self) -> bool:
        """Whether sets or an unknown class are requested."""
        return self.sets is not None or self.unknown_rate is not None or self.per_class


@dataclass(frozen=True)
class ContextOptions:
    """In which contexts photos may stand, for systems that infer them."""

    contexts: Annotated[
        str | None,
        options.option(
            "--contexts", help="Contexts that photos may have: general, waterbirds or your own JSON file (general)."
        ),
    ] = None
    factors: Annotated[
        str | None,
        options.option(
            "--factors", help="Those factors of the contexts that are inferred (of general: quality,condition)."
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether one of them is."""
        return self.contexts is not None or self.factors is not None

    def of(self, system: Any) -> Any:
        """Return a system that infers these contexts; one that infers none as it is.

        Raises:
            UsageError: one of them stands on the command line, and the system infers none; or the factors are unknown,
                or left out where the contexts have others than the system's own.
            DataError: the file holds no contexts.
        """
        refuse_unread(system, READERS)
        if not self.given or not READERS["contexts"](system):
            return system
        from diptych.data.words.contexts import read_contexts

        table = read_contexts(self.contexts or system.contexts)
        factors = system.factors if self.factors is None else flag_values.words(self.factors)
        if self.factors is None and not set(factors) <= set(table.factors):
            raise UsageError(f"--factors says which are inferred: choose among {', '.join(table.factors)}.")
        table.composites(factors)  # refused before a backbone is loaded
        return replace(system, contexts=table, factors=factors)


READERS: Readers = {name: has(name) for name in ("contexts", "factors")}


@dataclass(frozen=True)
class SeenOptions:
    """What of the photos and clips is looked at."""

    frames: Annotated[
        int | None,
        options.option("--frames", help="Frames sampled from each clip; folders of pictures are then clips.", min=1),
    ] = None
    regions: options.Regions = None


@dataclass(frozen=True)
class Wanted:
    """What is said of a photo."""

    top: Annotated[int, options.option("--top", "-k", help="Classes shown for each photo.", min=1)] = 5
    threshold: Annotated[
        float | None, options.option("--threshold", help="Leave out classes below this probability.", min=0.0, max=1.0)
    ] = None
    reasons: Annotated[
        int, options.option("--reasons", help="Reasons shown for each photo, from systems that have some.", min=0)
    ] = 0


@options.offers("overwrite", "draft", *options.MODEL)
def classify(
    photos: Annotated[
        list[str], typer.Argument(help="Photos, videos, point clouds, a folder, a table, or demo:photos; light curves.")
    ],
    names: options.Names = None,
    templates: options.Templates = None,
    method: Annotated[
        str, options.option("--method", help="A system that learns from no labels: see 'diptych systems'.")
    ] = CLASSIFIER,
    texts: options.TextPool = None,
    *,
    contexts: ContextOptions,
    seen: SeenOptions,
    wanted: Wanted,
    exported: ModelOptions,
    out: Annotated[Path | None, options.option("--out", "-o", help="Also write a .csv, .json or .html file.")] = None,
    shared: options.RunOptions,
) -> None:
    """Say what is on each photo, from class names alone."""
    flag_values.one_suffix(out, ".csv", ".json", ".html")
    shared.free(out)
    reasons, frames, regions = wanted.reasons, seen.frames, seen.regions
    if exported.model is None and exported.promises:
        raise UsageError(
            "--sets, --per-class and --unknown-rate need a calibrated --model: see 'diptych board classify DATA "
            "--export best'."
        )
    if exported.model is not None:
        if names or templates or texts or method != CLASSIFIER:
            raise UsageError(
                "A model has its own names, templates, texts and system: leave these options out, or --model."
            )
        refuse_idle("A model has its own contexts", *READERS)

    from diptych.data.formats.cloud_folder import holds_clouds
    from diptych.data.formats.star_table import holds_curves

    if regions is not None:
        if exported.model is not None or frames:
            raise UsageError("Boxes are classified by class names: leave out --model and --frames, or --regions.")
        with shared.open() as opened:
            source, folders = open_regions(photos, regions, opened)
            named = flag_values.named_classes(names, () if names else folders, templates)
            system, pool = _system(method, reasons, texts, contexts), flag_values.text_pool(texts)
            result = _fitted(source.regions, named, wanted, opened, system, pool, space=source.space)
        _tell(result, out, shared, source.crops, _speed(result, opened, "regions"))
    elif holds_clouds(photos[0]):
        if exported.promises or reasons or frames or texts or (out is not None and out.suffix == ".html"):
            raise UsageError(
                "For point clouds there are no --sets, --unknown-rate, --reasons, --texts, --frames and no page: leave "
                "them out."
            )
        with replace(shared, engine="torch", draft=False).open() as opened:
            system = None if exported.model else _system(method, 0, None, contexts)
            result = _clouds(photos, names, templates, system, exported.model, wanted, opened)
        _tell(result, out, shared, pace=_speed(result, opened, "clouds"))
    elif holds_curves(photos[0]):
        if exported.sets or exported.unknown_rate or reasons or frames or (out is not None and out.suffix == ".html"):
            raise UsageError(
                "For light curves there are no --sets, --unknown-rate, --reasons, --frames and no page: leave them out."
            )
        refuse_idle("A classifier of light curves infers no contexts", *READERS)
        _tell(_curves(photos, exported.model, wanted, shared), out, shared)
    elif exported.model is not None and (sees := _clip_frames(exported.model)) is not None:
        if exported.promises or reasons or frames not in (None, sees):
            raise UsageError(
                f"This model looks at {sees} frames a clip, and gives no sets and reasons: leave these options out."
            )
        with replace(shared, engine="torch").open() as opened:
            samples, _ = open_photos(photos, opened.keys, sees)
            result = _clips(samples, exported.model, wanted, opened)
        _tell(result, out, shared, samples, _speed(result, opened, "clips"))
    elif exported.model is not None:
        if frames is not None:
            raise UsageError("A model was fitted on photos: leave out --frames, or --model.")
        with shared.open() as opened:
            samples, _ = open_photos(photos, opened.keys, clip_frames(photos, None))
            result = _exported(samples, exported, wanted, opened)
        _tell(result, out, shared, samples, _speed(result, opened))
    else:
        system = _system(method, reasons, texts, contexts)
        pool = flag_values.text_pool(texts)
        clips = clip_frames(photos, frames)
        with (replace(shared, engine="torch") if clips else shared).open() as opened:
            samples, classes = open_photos(photos, opened.keys, clips)
            shipped = demo_names() if photos == ["demo:photos"] else None
            named = flag_values.named_classes(shipped if names is None else names, () if names else classes, templates)
            if clips or system is not None:
                result = _fitted(samples, named, wanted, opened, system, pool, clips)
            else:
                result = _remembered(samples, named, wanted, opened) or _fitted(samples, named, wanted, opened)
        _tell(result, out, shared, samples, _speed(result, opened, "clips" if clips else "images"))


def _curves(photos: list[str], model: Path | None, wanted: Wanted, shared: options.RunOptions) -> Classified:
    """Say of which class each star is, by an exported tower."""
    from diptych.tasks.stars import classify_curves

    with replace(shared, engine="torch", workers=1, draft=False).open() as opened:
        return classify_curves(photos, model, opened.run, top=wanted.top, threshold=wanted.threshold)


def _clouds(
    clouds: list[str],
    names: str | None,
    templates: list[str] | None,
    system: Classifier | None,
    model: Path | None,
    wanted: Wanted,
    opened: options.Opened,
) -> Classified:
    """Say what each point cloud is, by class names alone or by adapters."""
    from diptych.data.load import open_data
    from diptych.tasks.classify import classify as classify_samples
    from diptych.tasks.clouds import classify_clouds, with_clouds

    data = open_data(clouds, opened.keys, need="clouds")
    tower, samples = opened.backbone(), data.whole().items
    if model is not None:
        return classify_clouds(samples, model, tower, opened.run, top=wanted.top, threshold=wanted.threshold)
    named = flag_values.named_classes(names, () if names else data.classes, templates)
    return classify_samples(
        samples, named, with_clouds(tower, opened.run), opened.run, top=wanted.top, threshold=wanted.threshold,
        method=system,
    )  # fmt: skip


def _clip_frames(model: Path) -> int | None:
    """Return the frames a clip that a model of clips looks at; None where it is none."""
    if not (model / "fitted.json").is_file():
        return None
    from diptych.tasks.clip_model import clip_model

    return clip_model(model)


def _clips(clips: Samples[Any], model: Path, wanted: Wanted, opened: options.Opened) -> Classified:
    """Say what each clip shows, by a model of clips."""
    from diptych.tasks.clip_model import classify_clips

    return classify_clips(clips, model, opened.backbone(), opened.run, top=wanted.top, threshold=wanted.threshold)


def _exported(samples: Samples[Any], exported: ModelOptions, wanted: Wanted, opened: options.Opened) -> Classified:
    """Answer by an exported model."""
    from diptych.tasks.classify_with_model import answer
    from diptych.tasks.model import load, read_about

    assert exported.model is not None
    facts = read_about(exported.model)
    named = opened.options.backbone
    tower = opened.backbone(str(facts["spec"]["name"]) if named == options.RunOptions.backbone else named)
    return answer(
        samples, load(exported.model, tower), opened.run, top=wanted.top, threshold=wanted.threshold,
        sets=exported.sets, per_class=exported.per_class, unknown_rate=exported.unknown_rate, reasons=wanted.reasons,
        name=exported.model,
    )  # fmt: skip


def _remembered(samples: Samples[Any], named: ClassNames, wanted: Wanted, opened: options.Opened) -> Classified | None:
    """Answer without torch where the backbone, its export and these classes are known; None where they are not."""
    if opened.recalled is None:
        return None
    from diptych.tasks.fast_engine import answer

    return answer(samples, named, *opened.recalled, top=wanted.top, threshold=wanted.threshold)


def _fitted(
    samples: Samples[Any],
    named: ClassNames,
    wanted: Wanted,
    opened: options.Opened,
    system: Classifier | None = None,
    pool: Pool | None = None,
    clips: int | None = None,
    space: Callable[[Backbone], Backbone] = lambda tower: tower,
) -> Classified:
    """Answer by a system that is fitted on the names, and perhaps on texts."""
    from diptych.core import Evidence
    from diptych.tasks.classify import classify as classify_photos

    tower = opened.backbone()
    sees = space(tower)
    if clips:
        from diptych.tasks.extend import with_clips

        sees = with_clips(tower, clips, opened.run)
    result = classify_photos(
        samples, named, sees, opened.run, top=wanted.top, threshold=wanted.threshold, method=system,
        evidence=Evidence(texts=pool.texts if pool else None), reasons=wanted.reasons,
    )  # fmt: skip
    if not clips:
        opened.remember(tower)
    return result


def _system(method: str, reasons: int, texts: str | None, contexts: ContextOptions) -> Classifier | None:
    """Return the requested system; None for the default one, which needs no torch where all embeddings are stored."""
    if method == CLASSIFIER and not reasons and not texts and not contexts.given:
        return None
    from diptych.tasks.classify import unlabelled

    system: Classifier = contexts.of(unlabelled(method, texts=texts is not None))
    return system


def _speed(result: Classified, opened: options.Opened, things: str = "images") -> str:
    return speed(result.encoded, result.seconds["encode"], opened.known_run, result.backbone, things)


def _tell(
    result: Classified,
    out: Path | None,
    shared: options.RunOptions,
    samples: Samples[Any] | None = None,
    pace: str = "",
) -> None:
    """Write the requested file, print the predictions, and leave with the exit code of what was skipped."""
    from diptych.data.files import write_json, write_whole
    from diptych.data.images import SMALL, specks

    if out is not None and out.suffix == ".csv":
        write_whole(out, result.as_csv(), overwrite=shared.overwrite)
    elif out is not None and out.suffix == ".html" and samples is not None:
        from diptych.tasks.pages import photo_page

        write_whole(out, photo_page.html(result, samples), overwrite=shared.overwrite)
    elif out is not None:
        write_json(out, result.as_dict(), overwrite=shared.overwrite)
    if shared.json:
        show_json(result.as_dict())
    else:
        show_predictions(result)
    say(pace or f"{result.backbone}: {result.encoded} light curves in {result.seconds['encode']:.1f} s")
    if len(result.classes.names) == 1 and result.score == "softmax":
        say("With one name every photo gets it, at 100 %: add names of what else may be there.")
    if small := specks(p.name for p in result.predictions):
        say(f"{small[0]} has fewer than {SMALL} pixels, as {len(small)} here: what is said of it means nothing.")
    finish(result.failed)
