"""``classify``: what is on these photos?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from diptych.backbones.names import reads_as_name
from diptych.core import UsageError
from diptych.core.ranges import at_least, between
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import kinds
from diptych.verbs.arguments import BOXES, LOCAL, argument, class_names, method, prompts, settings
from diptych.verbs.context import Context, refuse_cluster
from diptych.verbs.declare import CLUSTER, RUN, Verb
from diptych.verbs.fitted_classifiers import space_in
from diptych.verbs.photos import clip_frames, open_photos, paths_of
from diptych.verbs.reads import has, uses
from diptych.verbs.sorted_photos import check_sorting, sort_photos

if TYPE_CHECKING:
    from diptych.core import Backbone, Classifier, Run
    from diptych.data.modalities import Modality
    from diptych.data.words.contexts import Contexts
    from diptych.tasks.classified import Classified
    from diptych.tasks.classify_samples import Source
    from diptych.tasks.model import Predictor
    from diptych.tasks.space_classifier import SpaceClassifier
    from diptych.verbs.names import NamesLike, TemplatesLike, TextsLike
    from diptych.verbs.predictions import Labels

REPORTS = (".csv", ".json", ".html")


@dataclass(frozen=True, kw_only=True)
class Classify(Verb):
    """Name what each photo shows, from a list of class names."""

    item: ClassVar[str] = "Prediction"
    role: ClassVar[str] = "diptych.core.method:Classifier"
    examples: ClassVar[tuple[str, ...]] = (
        'classify photos/ --names "cat, dog, bicycle"',
        "classify demo:photos --top 3 --out photos.html",
    )
    report: ClassVar[str] = "Also write a .csv, .json or .html file."
    offers: ClassVar[tuple[str, ...]] = (*RUN, "draft", *CLUSTER, "batch", "workers")

    photos: object = argument(
        "Photos, videos, point clouds or light curves; a folder, a table, or demo:photos.", kinds.MANY_PHOTOS,
        json="images", positional=True,
    )  # fmt: skip
    names: NamesLike = class_names()
    templates: TemplatesLike = prompts()
    method: str | Classifier = method(
        DEFAULTS["classify"], "A system that learns from no labels: see 'diptych systems'."
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    texts: TextsLike = argument(
        "Descriptions of the classes, for systems that read them: a JSON pool, or one that ships.", kinds.POOL, None,
        reads=uses("texts"), evidence="texts", faces=LOCAL,
    )  # fmt: skip
    contexts: str | Contexts | None = argument(
        "Contexts that photos may have: general, waterbirds or your own JSON file (general).", default=None,
        reads=has("contexts"), faces=LOCAL,
    )  # fmt: skip
    factors: str | Sequence[str] | None = argument(
        "Which factors of the contexts to infer (default for general: quality,condition).", kinds.SOME_WORDS, None,
        reads=has("factors"), faces=LOCAL,
    )  # fmt: skip
    frames: int | None = argument(
        "Frames sampled from each clip; each folder of pictures then counts as one clip.", default=None,
        range=at_least(1), faces=LOCAL,
    )  # fmt: skip
    regions: str | Path | None = argument(BOXES, kinds.TABLE, None)
    top: int = argument("Classes shown for each photo.", default=5, short="-k", range=at_least(1))
    threshold: float | None = argument("Leave out classes below this probability.", default=None, range=between(0, 1))
    reasons: int = argument(
        "Reasons shown for each photo, from systems that have some.", default=0, flag="--explain", range=at_least(0)
    )
    classifier: str | Path | Predictor | SpaceClassifier | None = argument(
        "A folder that 'board', 'extend' or 'systems --weights' wrote, instead of names.", kinds.FITTED, None,
        flag="--model",
    )  # fmt: skip
    served: str = argument(
        "Name of a classifier that the server was started with, instead of names.", default="", json="classifier",
        faces=("http",),
    )  # fmt: skip
    sets: float | None = argument(
        "With an exported classifier: sets of classes that contain the true one for this share of photos, such as 0.9.",
        default=None, flag="--coverage",
    )  # fmt: skip
    per_class: bool = argument(
        "Make these sets reach their coverage within each class too, if it has enough photos.", default=False
    )
    unknown_rate: float | None = argument(
        "With an exported classifier: call photos unknown, of known classes at most this share, such as 0.05.",
        default=None,
    )

    sort_into: Path | None = argument(
        "Also copy each photo into a folder of its class in this folder.", kinds.FOLDER, None, faces=("command",)
    )

    def is_fitted(self) -> bool:
        """Return whether an exported classifier or a fitted space answers."""
        return self.classifier is not None or bool(self.served)

    def is_plain(self) -> bool:
        """Return whether the default system answers, which needs no torch where all embeddings are stored."""
        given = (self.reasons, self.settings, self.texts, self.contexts is not None, self.factors is not None)
        return isinstance(self.method, str) and self.method == DEFAULTS["classify"] and not any(given)

    @property
    def promises(self) -> bool:
        """Whether sets or an unknown class are requested."""
        return self.sets is not None or self.unknown_rate is not None or self.per_class

    def checked(self, given: Iterable[str]) -> Self:
        """Refuse contexts too where nothing infers any."""
        written = frozenset(given)
        kind = None if self.is_fitted() else self._modality()
        title = "A model has its own contexts" if self.is_fitted() else ""
        if kind is not None and not kind.named:
            title = f"A classifier of {kind.title} infers no contexts"
        if title and (idle := next((name for name in ("contexts", "factors") if name in written), "")):
            raise UsageError(f"{title}, so {{{idle}}} has no effect: leave it out.")
        return super().checked(written)

    def check(self) -> None:
        """Refuse what does not go together."""
        if self.promises and not self.is_fitted():
            raise UsageError(
                "{sets}, {per_class} and {unknown_rate} need a calibrated classifier, {classifier}: see 'diptych board "
                "classify DATA --export best'."
            )
        if isinstance(self.names, str) and not self.names.strip():
            raise UsageError('{names} is empty: give "cat, dog, ...", a file with one name per line, or leave it out.')
        folder = os.fspath(self.classifier) if isinstance(self.classifier, (str, os.PathLike)) else ""
        if reads_as_name(folder) and not os.path.exists(folder):
            raise UsageError(
                f"{{classifier}} is the folder of a fitted classifier, and {folder} the name of a model: give it as "
                f"{{backbone}}."
            )
        other = self.method != DEFAULTS["classify"] or self.settings
        if self.is_fitted() and (self.names or self.templates or self.texts is not None or other):
            raise UsageError(
                "A model has its own names, templates, texts, system and settings: leave these out, or {classifier}."
            )
        if self.regions is not None and (self.is_fitted() or self.frames):
            raise UsageError("Boxes are classified by class names: leave out {classifier} and {frames}, or {regions}.")
        if paths_of(self.photos) is None and (self.regions is not None or self.frames):
            raise UsageError("{regions} and {frames} are for files: give {photos} as paths.")
        if self.sort_into is not None:
            check_sorting(self.photos, self.sort_into)
        kind = self._modality()
        clips = kind is None or kind.name == "clips"
        if (not clips or self._stated() is not None) and (self.promises or self.reasons or self.texts is not None):
            raise UsageError(self._fewer())

    def check_report(self, path: Path) -> None:
        """Refuse a page without pictures, and files of other kinds."""
        if path.suffix not in REPORTS:
            raise UsageError(f"{{out}} writes {', '.join(REPORTS[:-1])} or {REPORTS[-1]}, not {path.name!r}.")
        kind = self._modality()
        if path.suffix == ".html" and kind is not None and kind.name != "clips":
            raise UsageError(self._fewer())

    def check_with(self, system: Any) -> None:
        """Refuse a system that class names, and perhaps texts, are not enough for."""
        from diptych.tasks.classify import check_unlabelled

        check_unlabelled(system, texts=self.texts is not None)

    def system(self) -> Any:
        """Return the system, which infers the given contexts if it infers any."""
        system = super().system()
        if (self.contexts is None and self.factors is None) or not has("contexts")(system):
            return system
        from diptych.data.words.contexts import read_contexts

        given = system.contexts if self.contexts is None else self.contexts
        table = read_contexts(given) if isinstance(given, (str, Path)) else given
        factors = system.factors if self.factors is None else tuple(self.factors)
        if self.factors is None and not set(factors) <= set(table.factors):
            raise UsageError(f"{{factors}} says which are inferred: choose among {', '.join(table.factors)}.")
        table.composites(factors)  # refused before a backbone is loaded
        return replace(system, contexts=table, factors=factors)

    def run(self, context: Context) -> Labels:
        """Open what is classified, then ask for the model, and answer."""
        from diptych.verbs.predictions import Labels

        given = getattr(context, "given", None)
        space = space_in(given)
        verb = self if space is given else self._in_space(space)
        source = verb._open(context)
        if self.sort_into is not None:
            context.free_file(self.sort_into, "sort_into")
        result, run = verb._by_fitted(source, context) if verb.is_fitted() else verb._by_names(source, context)
        answer = Labels(verb, result, source, run)
        if self.sort_into is not None:
            answer.sorted = sort_photos(result.predictions, self.sort_into, overwrite=context.overwrite)
        return answer

    def _in_space(self, space: SpaceClassifier) -> Classify:
        """Return the same question to a fitted space that stands in the place of the model.

        Raises:
            UsageError: another classifier is named too, or a method; or no words name its classes.
        """
        from diptych.verbs.names import names_of

        if self.is_fitted():
            raise UsageError("A fitted space classifies by itself: leave out {model}, or {classifier}.")
        if self.names is not None or self.templates is not None:
            names = space.classes.names if self.names is None else self.names
            space = space.named(names_of(names, (), self.templates or space.classes.templates))
        verb = replace(self, names=None, templates=None, classifier=space)
        verb.check()
        return verb

    def _open(self, context: Context) -> Source:
        from diptych.tasks.classify_samples import Source, open_boxes, open_samples

        paths, keys = paths_of(self.photos), context.keys
        if self.regions is not None:
            return open_boxes(paths or [], self.regions, keys)
        if paths is not None:
            frames = self.frames if self.is_fitted() else clip_frames(paths, self.frames)
            source = open_samples(paths, keys, frames=frames, fitted=self._stated(), classifier=self.classifier)
            if source is not None:
                return source
        table, classes = open_photos(self.photos, keys)
        labelled = "label" in table.columns and bool(classes)
        truth = tuple(classes[k] for k in table.labels()) if labelled else ()
        return Source(table.items, tuple(classes), truth=truth)

    def _by_fitted(self, source: Source, context: Context) -> tuple[Classified, Run]:
        """Answer by an exported classifier, or by a fitted space."""
        from diptych.verbs.fitted_classifiers import by_classifier

        def load(name: str) -> Backbone:
            backbone = context.chosen(name)
            self._encode_ahead(backbone, source, context)
            return backbone

        ready = context.named("classifier", self.served) if self.served else self.classifier
        return by_classifier(self, ready, source, context.run, load, self._stated())

    def _encode_ahead(self, backbone: Backbone, source: Source, context: Context) -> None:
        """Let the workers of a cluster encode the photos.

        Raises:
            UsageError: there is a cluster, and no whole photos are classified.
        """
        refuse_cluster(context, "" if source.title == "images" else source.title)
        context.encode_ahead(backbone, source.samples, source.run(context.run()))

    def _by_names(self, source: Source, context: Context) -> tuple[Classified, Run]:
        """Answer from class names: without torch where the backbone, its export and these classes are known."""
        from diptych.verbs.names import names_of, texts_of

        named = names_of(self.names, () if self.names is not None else source.classes, self.templates)
        texts = texts_of(self.texts)
        context.expect(len(source.samples))
        known = context.recalled() if source.kind is None else None
        if known is not None and source.boxes is None and self.is_plain():
            from diptych.tasks.fast_engine import answer

            quick = answer(source.samples, named, *known, top=self.top, threshold=self.threshold)
            if quick is not None:
                return quick, known[1]
        from diptych.core import Evidence
        from diptych.tasks.classify import classify

        run, backbone = source.run(context.run()), context.model()
        self._encode_ahead(backbone, source, context)
        samples, space = source.placed(backbone, run)
        result = classify(
            samples, named, space, run, method=self.system(), evidence=Evidence(texts=texts), top=self.top,
            threshold=self.threshold, reasons=self.reasons,
        )  # fmt: skip
        if source.kind is None:
            context.remember(backbone)
        return result, run

    def _modality(self) -> Modality | None:
        """Return the modality of the paths; None for photos, and for what are no paths."""
        from diptych.data.modalities import modality_of

        paths = paths_of(self.photos)
        return None if paths is None or self.regions is not None else modality_of(paths[0])

    def _stated(self) -> Any:
        """Return what the folder of a fitted space says; None where none is given."""
        if not isinstance(self.classifier, (str, Path)):
            return getattr(space_in(self.classifier), "stated", None)
        from diptych.tasks.classify_samples import stated_by

        return stated_by(Path(self.classifier).expanduser())

    @staticmethod
    def _fewer() -> str:
        return (
            "For clips with a model, point clouds and light curves there are no {sets}, {unknown_rate}, {reasons} and "
            "{texts}, and of the latter two no page: leave them out."
        )
