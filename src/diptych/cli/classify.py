"""``diptych classify``: what is on these photos?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, show_json
from diptych.cli.photos import clip_frames, demo_names, open_photos, open_regions, show_predictions, speed
from diptych.cli.unread import Readers, has, refuse_idle, refuse_unread
from diptych.core import UsageError
from diptych.tasks.defaults import DEFAULTS

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
    ] = DEFAULTS["classify"],
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
        if names or templates or texts or method != DEFAULTS["classify"]:
            raise UsageError(
                "A model has its own names, templates, texts and system: leave these options out, or --model."
            )
        refuse_idle("A model has its own contexts", *READERS)

    from diptych.data.modalities import CLIPS, modality_of

    kind, fitted_space = modality_of(photos[0]), _holds_space(exported.model)
    if regions is not None:
        if exported.model is not None or frames:
            raise UsageError("Boxes are classified by class names: leave out --model and --frames, or --regions.")
        with shared.open() as opened:
            source, folders = open_regions(photos, regions, opened)
            named = flag_values.named_classes(names, () if names else folders, templates)
            system, pool = _system(method, reasons, texts, contexts), flag_values.text_pool(texts)
            result = _fitted(source.regions, named, wanted, opened, system, pool, space=source.space)
        _tell(result, out, shared, source.crops, _speed(result, opened, "regions"))
    elif fitted_space or kind not in (None, CLIPS):
        page = out is not None and out.suffix == ".html" and kind not in (None, CLIPS)
        if exported.promises or reasons or texts or page:
            raise UsageError(
                "For clips with a model, point clouds and light curves there are no --sets, --unknown-rate, --reasons "
                "and --texts, and of the latter two no page: leave them out."
            )
        if kind is not None and not kind.named:
            refuse_idle(f"A classifier of {kind.title} infers no contexts", *READERS)
        system = None if exported.model else _system(method, 0, None, contexts)
        with replace(shared, engine="torch", draft=False).open() as opened:
            samples, result, things = _by_space(
                photos,
                lambda own: flag_values.named_classes(names, () if names else tuple(own), templates),
                system, frames, exported.model, wanted, opened,
            )  # fmt: skip
        _tell(result, out, shared, samples, _speed(result, opened, things))
    elif exported.model is not None:
        if frames is not None:
            raise UsageError("A model was fitted on photos: leave out --frames, or --model.")
        with shared.open() as opened:
            samples = open_photos(photos, opened.keys, frames=clip_frames(photos, None))[0].items
            result = _exported(samples, exported, wanted, opened)
        _tell(result, out, shared, samples, _speed(result, opened))
    else:
        system = _system(method, reasons, texts, contexts)
        pool = flag_values.text_pool(texts)
        clips = clip_frames(photos, frames)
        with (replace(shared, engine="torch") if clips else shared).open() as opened:
            data, classes = open_photos(photos, opened.keys, frames=clips)
            samples = data.items
            shipped = demo_names() if photos == ["demo:photos"] else None
            named = flag_values.named_classes(shipped if names is None else names, () if names else classes, templates)
            if clips or system is not None:
                result = _fitted(samples, named, wanted, opened, system, pool, clips)
            else:
                result = _remembered(samples, named, wanted, opened) or _fitted(samples, named, wanted, opened)
        _tell(result, out, shared, samples, _speed(result, opened, "clips" if clips else "images"))


def _holds_space(model: Path | None) -> bool:
    """Return whether a folder is one of ``diptych extend``."""
    if model is None or not (model / "fitted.json").is_file() or (model / "model.json").is_file():
        return False
    from diptych.tasks.space_classifier import stated

    return stated(model) is not None


def _by_space(
    paths: list[str],
    classes: Callable[[Sequence[str]], ClassNames],
    system: Classifier | None,
    frames: int | None,
    model: Path | None,
    wanted: Wanted,
    opened: options.Opened,
) -> tuple[Samples[Any], Classified, str]:
    """Return samples of a modality, what they are, and what such samples are called."""
    from diptych.tasks.classify_samples import classify_paths

    chosen = opened.options.backbone

    def load(name: str) -> Backbone:
        return opened.backbone(name if chosen == options.RunOptions.backbone else chosen)

    samples, result, kind = classify_paths(
        paths, load, opened.run, classes=classes, model=model, frames=frames, method=system, keys=opened.keys,
        top=wanted.top, threshold=wanted.threshold,
    )  # fmt: skip
    return samples, result, kind.title


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
        from diptych.tasks.extend import untrained_space

        sees = untrained_space("clips", tower, opened.run, frames=clips)
    result = classify_photos(
        samples, named, sees, opened.run, top=wanted.top, threshold=wanted.threshold, method=system,
        evidence=Evidence(texts=pool.texts if pool else None), reasons=wanted.reasons,
    )  # fmt: skip
    if not clips:
        opened.remember(tower)
    return result


def _system(method: str, reasons: int, texts: str | None, contexts: ContextOptions) -> Classifier | None:
    """Return the requested system; None for the default one, which needs no torch where all embeddings are stored."""
    if method == DEFAULTS["classify"] and not reasons and not texts and not contexts.given:
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
    samples: Samples[Any] | None,
    pace: str,
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
    say(pace)
    if len(result.classes.names) == 1 and result.score == "softmax":
        say("With one name every photo gets it, at 100 %: add names of what else may be there.")
    if small := specks(p.name for p in result.predictions):
        say(f"{small[0]} has fewer than {SMALL} pixels, as {len(small)} here: what is said of it means nothing.")
    finish(result.failed)
