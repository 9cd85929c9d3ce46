"""Systems that take plain values: a model, a split, names. What they become for ``fit`` is decided here alone."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from diptych.api import keeping
from diptych.api.loading import model_of
from diptych.api.model import Model, ModelLike
from diptych.api.predictors import AnomalyPredictor, CaptionPredictor, SegmentPredictor
from diptych.api.spelling import spelled
from diptych.core import (
    Captioner,
    Card,
    Classifier,
    ClassNames,
    Detector,
    Evidence,
    FittedClassifier,
    Kit,
    Method,
    MissingEvidence,
    Run,
    Samples,
    Segmenter,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import number_of, renamed
from diptych.data.load import open_data
from diptych.data.samples import as_samples, as_table, openable
from diptych.data.splits import hold_out
from diptych.features import packing
from diptych.tasks.classify import with_store
from diptych.tasks.model import Predictor
from diptych.tasks.segment import TEACHER, teach
from diptych.verbs.names import NamesLike, TextsLike, captions_of, names_of, texts_of

M = TypeVar("M", bound=Method)
FITTED = ("predict", "predict_proba", "score", "explain", "save", "segment", "detect", "caption", "classes_")
"""What is asked of a system that was fitted, and is there on what ``fit`` returns."""


def _refuse_names(train: object) -> None:
    """Refuse class names in the place of labelled photos."""
    given: Sequence[object] = train if isinstance(train, (list, tuple)) else [train]
    words = [word for word in given if isinstance(word, str) and word and not Path(word).suffix and ":" not in word]
    if words and len(words) == len(given):
        first = words[0]
        if not any(Path(w).exists() for w in words) and (len(words) > 1 or "," in first):
            raise UsageError(
                f"train= takes labelled photos, and {first!r} is neither a file nor a folder: class names are given by "
                f"names=, as in fit(model, names={train!r})."
            )


@dataclass(frozen=True)
class System(Generic[M]):
    """A system of the catalog with its parameters.

    Args:
        method: what it is underneath, with the ``fit`` of its role.
    """

    method: M
    card: ClassVar[Card]

    def __repr__(self) -> str:
        return repr(self.method)

    def __getattr__(self, name: str) -> Any:
        if name in ("set_params", "__sklearn_tags__"):
            kind = type(self).__name__
            raise AttributeError(
                f"A system does not change: make another {kind}(...). In scikit-learn, as in a grid search, use "
                f"diptych.sklearn.SystemClassifier({kind}(...), model), or EmbeddingClassifier on embeddings."
            )
        if name in FITTED and not hasattr(type(self.method), name):
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no {name!r}: use what fit returns, {kind}(...).fit(...).{name}")
        if name.startswith("_") or name == "method" or name not in self.get_params():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.method, name)

    @classmethod
    def load(cls, folder: str | Path, model: ModelLike = None, *, parts: Mapping[str, Any] | None = None) -> Any:
        """Read what this system fitted from a folder that ``save`` or ``--fitted`` wrote; nothing in it is run.

        Args:
            folder: of the fitted system.
            model: on which it was fitted, or its name; None: loaded by the name in the folder.
            parts: beside the model, by name, such as a SAM: ``{"masks": sam}``.

        Returns:
            What ``fit`` returned: equal answers, to the last bit.

        Raises:
            UsageError: no such folder, or what it holds was fitted by another system or on another model.
            DataError: it holds nothing fitted, or is damaged.
            NotAvailable: the model is not on this machine.
        """
        return cls._loaded(keeping.load(type_of(cls), folder, model, parts))

    @classmethod
    def _loaded(cls, loaded: keeping.Loaded) -> Any:
        return loaded.fitted

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn's estimators do; ``deep`` changes nothing."""
        method: Any = self.method
        return {p.name: getattr(method, p.name) for p in fields(method) if p.init}


class ClassifierSystem(System[Classifier]):
    """A system of ``classify``."""

    @spelled()
    def fit(
        self,
        model: ModelLike = None,
        train: object = None,
        labels: object = None,
        *,
        val: object = None,
        names: NamesLike = None,
        templates: str | Sequence[str] | None = None,
        texts: TextsLike = None,
        unlabelled: object = None,
        other_classes: NamesLike = None,
        seed: int = 0,
    ) -> Predictor:
        """Fit on labelled photos, class names, texts or photos without labels, as the system's card says.

        Labelled photos that cannot be read are left out, with a warning; ``failed`` of the result names them.

        A parameter that is None is chosen by accuracy on ``val``. Without ``val`` a part of ``train`` is held out for
        it, drawn by ``seed``: of each class a fifth, or of few photos up to four and at most half. As scikit-learn's
        searches do, the system is then fitted on all of ``train`` with the chosen values; one that takes more from val
        than these (CapSAdapter, DNCBM) stays as fitted on the rest. The result's ``about`` and repr say what was
        chosen, and on how many photos.

        Args:
            model: a name, a model, or None for ``lite``.
            train: labelled photos: ``data["train"]``, a folder of class folders, or (photos, labels), see
                ``data.samples.as_table``.
            labels: of ``train``, where it is photos alone: names, or positions in ``names``.
            val: labelled photos on which choices are made; None: held out of ``train``, see above.
            names: of the classes; None takes those of ``train``.
            templates: prompts with "{}"; None: the ensemble of seven.
            texts: descriptions by class name, a JSON pool, or the name of one that ships.
            unlabelled: photos without labels.
            other_classes: names of classes outside the task.
            seed: of draws and trainings.

        Raises:
            MissingEvidence: the system needs something that was not given, or needs val and each class of train has
                one photo.
            UsageError, DataError: what was given cannot be used; the message says why.
        """
        if labels is None and names is None and not isinstance(model, (list, tuple)):  # which is refused below
            _refuse_names(train)
        photos = train is None and isinstance(model, (str, Path)) and Path(model).exists()
        if photos and "train" in self.card.needs.evidence:
            raise UsageError(f"The model comes before the photos, as in fit('lite', {str(model)!r}).")
        opened, run = _begun(self.method, model, seed)
        names = list(names) if isinstance(names, Iterator) else names
        file = names is None or isinstance(names, Path) or (isinstance(names, str) and Path(names).suffix)
        known = () if file else names_of(names).names
        table = None if train is None else as_table(train if labels is None else (train, labels), names=known)
        classes = names_of(names, table.classes if table else (), templates)
        evidence = Evidence(
            table,
            None if val is None else as_table(val, names=table.classes if table else classes.names),
            None if unlabelled is None else as_samples(unlabelled),
            texts_of(texts),
            None if other_classes is None else names_of(other_classes, (), classes.templates),
        )
        failed: tuple[UnreadableItem, ...] = ()
        with with_store(run) as stored:
            try:
                fitted, held = self._fit(Kit.of(opened), classes, evidence, stored)
            except UnreadableItem:
                evidence, failed = _readable(evidence)
                if not failed:  # it is none of the labelled photos
                    raise
                fitted, held = self._fit(Kit.of(opened), classes, evidence, stored)
        system = packing.packed_plain(self.method, "system")
        about: dict[str, Any] = {"method": self.method.card.slug, "system": system, "seed": seed}
        if chosen := self._chosen(fitted):
            about["chosen"] = chosen
        if held:
            about["val"] = f"{held} of {len(evidence.train or ())} train photos"
        return Predictor(fitted, None, opened, about, run, failed)

    @classmethod
    def load(cls, folder: str | Path, model: ModelLike = None, *, parts: Mapping[str, Any] | None = None) -> Predictor:
        """Read a classifier of this system, exported or kept, see ``System.load``."""
        return keeping.load_classifier(type_of(cls), folder, model, parts)

    def _fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[FittedClassifier, int]:
        """Return the fitted classifier, and how many photos of train were held out for choices."""
        train = evidence.train
        if "val" not in self.card.needs.evidence or evidence.val is not None or train is None:
            return self.method.fit(kit, classes, evidence, run), 0
        try:
            return self.method.fit(kit, classes, evidence, run), 0  # every parameter is set
        except MissingEvidence as error:
            missing = error
        learnt, held = hold_out(train.labels(), run.integer("val"))
        if not held:
            raise missing
        parts = replace(evidence, train=train.take(learnt), val=train.take(held))
        fitted = self.method.fit(kit, classes, parts, run)
        settled: Any = replace(self.method, **self._chosen(fitted))  # type: ignore[type-var]
        with suppress(MissingEvidence):
            fitted = settled.fit(kit, classes, evidence, run)
        return fitted, len(held)

    def _chosen(self, fitted: FittedClassifier) -> dict[str, float]:
        """Return the parameters that were None and have a value in the fitted classifier, and what it says it chose."""
        values = {name: getattr(fitted, name, None) for name, given in self.get_params().items() if given is None}
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        settled = getattr(fitted, "chosen", {})
        return numbers | {name: value for name, value in settled.items() if getattr(self.method, name) != value}


class SegmenterSystem(System[Segmenter]):
    """A system of ``segment``."""

    def fit(
        self,
        model: ModelLike = None,
        *,
        names: NamesLike = None,
        templates: str | Sequence[str] | None = None,
        unlabelled: object = None,
        captioned: object = None,
        train: object = None,
        teacher: str = TEACHER,
        seed: int = 0,
    ) -> SegmentPredictor:
        """Fit on class names, with label maps, captioned or plain photos and a teacher where the card asks for them."""
        opened, run = _begun(self.method, model, seed)
        kit, evidence = teach(
            type(self.method), opened, lambda: _maybe(unlabelled), teacher,
            labelled=lambda: None if train is None else as_table(train),
            captioned=lambda: with_captions(captioned),
        )  # fmt: skip
        return SegmentPredictor(
            self.method.fit(kit, names_of(names, (), templates), evidence, run), opened, run, self.card.slug,
            self.method, teacher,
        )  # fmt: skip

    @classmethod
    def _loaded(cls, loaded: keeping.Loaded) -> SegmentPredictor:
        model, teacher = loaded.model, str(loaded.about.facts.get("teacher", TEACHER))
        return SegmentPredictor(loaded.fitted, model, model.run, cls.card.slug, loaded.about.system, teacher)


class DetectorSystem(System[Detector]):
    """A system of ``detect``."""

    def fit(
        self, model: ModelLike = None, normal: object = None, *, auxiliary: object = None, seed: int = 0
    ) -> AnomalyPredictor:
        """Fit on photos of normal things, or on labelled anomalies of other things, as the card says."""
        opened, run = _begun(self.method, model, seed)
        evidence = Evidence[Any](
            None if normal is None else as_table(as_samples(normal)),
            auxiliary=None if auxiliary is None else as_table(auxiliary),
        )
        with with_store(run) as stored:
            fitted = self.method.fit(Kit.of(opened), evidence, stored)
            return AnomalyPredictor(fitted, opened, run, self.card.slug, self.method)

    @classmethod
    def _loaded(cls, loaded: keeping.Loaded) -> AnomalyPredictor:
        model = loaded.model
        return AnomalyPredictor(keeping.detector(loaded), model, model.run, cls.card.slug, loaded.about.system)


class CaptionerSystem(System[Captioner]):
    """A system of ``caption``."""

    def fit(
        self, model: ModelLike = None, texts: TextsLike = None, *, like: object = None, seed: int = 0
    ) -> CaptionPredictor:
        """Fit on sentences, a list or a file with one per line, or on photos with captions, see ``captions_of``."""
        opened, run = _begun(self.method, model, seed)
        with with_store(run) as stored:
            fitted = self.method.fit(Kit.of(opened), captions_of(texts, like), stored)
            return CaptionPredictor(fitted, opened, run, self.method)

    @classmethod
    def _loaded(cls, loaded: keeping.Loaded) -> CaptionPredictor:
        return CaptionPredictor(loaded.fitted, loaded.model, loaded.model.run, loaded.about.system)


class OtherSystem(System[Method]):
    """A system of a verb whose fit takes no plain values: ``method`` holds it."""

    def save(self, fitted: object, folder: str | Path) -> None:
        """Write what ``method`` fitted, such as an editor or a space, to a new folder, which ``load`` reads.

        Raises:
            UsageError: the folder exists, or something cannot be written.
        """
        keeping.save(fitted, folder, self.method)

    def fit(self, model: ModelLike = None, train: object = None) -> None:
        """Refuse, and say what does it.

        Raises:
            UsageError: always.
        """
        card = self.method.card
        raise UsageError(
            f"{card.name} is a system of {card.verb}, which takes more than photos and names: use "
            f"'diptych {card.verb}', or the fit of its role, .method.fit(...)."
        )


ROLES: tuple[tuple[type[Method], type[System[Any]]], ...] = (
    (Classifier, ClassifierSystem),
    (Segmenter, SegmenterSystem),
    (Detector, DetectorSystem),
    (Captioner, CaptionerSystem),
    (Method, OtherSystem),
)


def system_class(kind: type[Method]) -> type[System[Any]]:
    """Return the class of a system: signature and docstring are those of ``kind``, ``fit`` that of its role above."""
    signature = inspect.signature(kind)

    def construct(self: System[Any], *given: Any, **named: Any) -> None:
        if "c" in named and "c" not in signature.parameters and "C" in signature.parameters:
            renamed("c=", "C=")
            named["C"] = named.pop("c")
        if unknown := named.keys() - signature.parameters:
            known = ", ".join(signature.parameters) or "none"
            raise TypeError(f"{kind.__name__} has no parameter {min(unknown)!r}; its parameters are: {known}.")
        object.__setattr__(self, "method", kind(*given, **named))

    members = {"__init__": construct, "__doc__": kind.__doc__, "__signature__": signature, "card": kind.card}
    base = next(system for role, system in ROLES if issubclass(kind, role))
    return type(kind.__name__, (base,), {**members, "__module__": "diptych.systems"})


def type_of(system: type[System[Any]]) -> type[Method]:
    """Return the class of the catalog behind a class of ``diptych.systems``."""
    from diptych import catalog

    return catalog.find(system.card.slug)


def _begun(method: Method, model: ModelLike, seed: int) -> tuple[Model, Run]:
    method.check_extras()
    opened = model_of(model)
    return opened, replace(opened.run, seed=seed)


def _readable(evidence: Evidence[Any]) -> tuple[Evidence[Any], tuple[UnreadableItem, ...]]:
    """Return evidence without the labelled photos that cannot be read, and their errors, with a warning."""
    failed: list[UnreadableItem] = []
    parts: dict[str, Any] = {}
    for name in ("train", "val"):
        table: Table[Any] | None = getattr(evidence, name)
        if table is None:
            continue
        readable, errors = openable(table.items)
        failed += errors
        parts[name] = table.take(list(readable.indices)) if errors else table
    if failed:
        count = number_of(len(failed), "labelled photo")
        warnings.warn(f"{count} cannot be read, left out; the first: {failed[0]}.", UserWarning, stacklevel=3)
    return replace(evidence, **parts), tuple(failed)


def _maybe(photos: object) -> Samples[Any] | None:
    return None if photos is None else as_samples(photos)


def with_captions(photos: object) -> Table[Any] | None:
    """Return photos with captions, given as a table or as the path of one; None stays None."""
    if photos is None or isinstance(photos, Table):
        return photos
    return open_data(str(photos), need="captions").whole()
