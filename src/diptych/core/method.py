"""The roles of systems: what ``fit`` takes and returns, for each verb.

A method is a frozen dataclass of parameters, and ``fit`` returns another frozen object.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from diptych.core.backbone import Space
from diptych.core.card import Card, CardBeside
from diptych.core.data import ClassNames, Evidence, Samples, Table
from diptych.core.errors import DataError, MissingHook, need_extra
from diptych.core.kit import Kit
from diptych.core.run import Run

if TYPE_CHECKING:
    from torch import Tensor

ScoreKind = Literal["cosine", "logit", "log_prob"]


@dataclass(frozen=True)
class Scores:
    """Class scores of N items, and of which kind they are.

    Args:
        values: (N, K) float32.
        kind: "cosine" in [-1, 1], "logit" (softmax gives probabilities), or "log_prob". Out-of-distribution scores need
            cosines, calibration needs logits.
        candidates: (N, K) bool; classes outside it rank below all candidates. None: all are candidates.
        sharpness: (N,) positive factors of the logits in the probabilities that a person is shown. Boards and proofs
            take the logits as they are. None: 1.

    Raises:
        ValueError: there is no such kind.
    """

    values: Tensor
    kind: ScoreKind
    candidates: Tensor | None = None
    sharpness: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScoreKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(ScoreKind))}, got {self.kind!r}.")

    def ranked(self) -> Tensor:
        """Return the (N, K) values with non-candidates below every candidate, in their own order."""
        if self.candidates is None or not len(self.values):
            return self.values
        span = self.values.max() - self.values.min() + 1.0
        return self.values - span * (~self.candidates).to(self.values.dtype)

    def predicted(self) -> Tensor:
        """Return (N,) int64 top-1 class positions; ties go to the first class."""
        return self.ranked().argmax(dim=1)


@dataclass(frozen=True)
class Reason:
    """One reason for a score.

    Args:
        text: the words, concept or item that contributed.
        weight: what it adds to the score, in the score's unit; positive supports the class.
    """

    text: str
    weight: float


class Method(ABC):
    """Any system: frozen parameters and a card.

    The card is the TOML file beside the module of a class, with the module's name, or stands in the class body.
    """

    card: ClassVar[Card]
    verb: ClassVar[str] = ""  # the verb of a role's systems; "" where they belong to several verbs

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        module = getattr(sys.modules.get(cls.__module__), "__file__", None)  # a notebook's module has no file
        if module is not None and "card" not in vars(cls) and (path := Path(module).with_suffix(".toml")).is_file():
            cls.card = CardBeside(path)  # type: ignore[assignment]

    def from_released(self, learnt: Mapping[str, Any], kit: Kit, classes: ClassNames | None, run: Run) -> Any:
        """Return what ``fit`` would, from the tensors of a file that the authors have released.

        Args:
            learnt: our names -> tensors, see ``backbones.released``.
            kit: as for ``fit``.
            classes: those of the file's training, in its order; None where it depends on none.
            run: device and cache.

        Raises:
            MissingHook: no released file of this system is read.
            UsageError: classes are missing.
            DataError: tensors are missing, unexpected or of another shape.
        """
        raise MissingHook(f"No released file of {self.card.name} is read here: see 'diptych systems {self.card.slug}'.")

    def check_extras(self, *, learns: bool = True) -> None:
        """Raise where an optional dependency of this system is not installed.

        Args:
            learns: whether there is evidence to learn from, for a system that also works without.

        Raises:
            MissingExtra: one is not installed.
        """
        for extra in self.card.needs.extras:
            need_extra(extra, self.card.name)


class FittedClassifier(ABC):
    """What ``Classifier.fit`` returns.

    It is a frozen dataclass of tensors, plain values, ``classes`` and the ``backbone``.
    """

    classes: ClassNames

    @abstractmethod
    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return the (N, K) scores of N items."""

    def checked_scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return ``scores``, for those who read them: a column too many or a NaN has a first place too.

        Raises:
            DataError: they are no ``Scores`` of the items for the classes, or one is NaN.
        """
        scores: Any = self.scores(items, run)
        values, sizes = getattr(scores, "values", None), (len(items), len(self.classes))
        what = f"{type(self).__name__}.scores, of {sizes[0]} items for {sizes[1]} classes,"
        shape = tuple(getattr(values, "shape", ()))
        if not isinstance(scores, Scores) or not hasattr(values, "isnan"):
            given = type(scores if values is None or callable(values) else values)
            raise DataError(f"{what} must return Scores of a tensor {sizes}, got {given.__module__}.{given.__name__}.")
        if shape != sizes:
            raise DataError(f"{what} must return Scores of size {sizes}, got {shape}.")
        if missing := int(scores.values.isnan().sum()):
            raise DataError(f"{what} returned {missing} NaN, which are no scores: look at what was fitted.")
        return scores

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the reasons for each item's top class, strongest first.

        Raises:
            MissingHook: this system has no reasons to give.
        """
        raise MissingHook(
            f"{type(self).__name__.removeprefix('Fitted')} gives no reasons: take a system whose card offers them."
        )

    def for_classes(self, classes: ClassNames) -> FittedClassifier:
        """Return the same fitted system for other classes, which are given by their names alone.

        Protocols that need it are base-to-new and the transfer to other data sets.

        Raises:
            MissingHook: the fitted system applies only to the classes it was fitted on.
        """
        raise MissingHook(
            "This system applies only to the classes it was fitted on: take one whose card offers other classes."
        )


class Classifier(Method):
    """Role of ``classify``: from class names and evidence to scores."""

    verb = "classify"

    def transferable(self) -> Classifier:
        """Return the system to fit where the result is also used for other classes.

        This is the system itself, unless its paper has another variant for that.
        """
        return self

    @abstractmethod
    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedClassifier:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit has no backbone.
            MissingEvidence: a needed field of the evidence is missing.
        """


@dataclass(frozen=True)
class Regions:
    """The output of a segmenter for one image: Q regions and their class scores.

    A dense map has one region a cell.

    Args:
        scores: (Q, K) class scores of the regions. Probabilities of a row may sum to less than 1: the rest is
            void.
        size: (H, W) of the image, in pixels.
        grid: (h, w) cells, evenly over the image.
        masks: (Q, h, w) float32 in [0, 1], how much a cell belongs to a region. None: a dense map, where Q = h * w
            and the cells are in row-major order.
        things: K marks: True for classes whose objects are counted. (): not stated.
        ids: (Q,) numbers of segments: regions with the same number are one segment, whose masks are joined. (): each
            mask is a segment of its own.
    """

    scores: Scores
    size: tuple[int, int]
    grid: tuple[int, int]
    masks: Tensor | None = None
    things: tuple[bool, ...] = ()
    ids: tuple[int, ...] = ()


class FittedSegmenter(ABC):
    """What ``Segmenter.fit`` returns.

    It is a frozen dataclass of tensors, plain values, ``classes`` and the ``backbone``.
    """

    classes: ClassNames

    @abstractmethod
    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the regions of each image, in order, one image in memory at a time.

        Raises:
            UnreadableItem: an image cannot be read.
        """


class Segmenter(Method):
    """Role of ``segment``: from class names and evidence to regions of images.

    Attributes:
        merges: when the words of a class are merged. "after": ``fit`` gets one name per word, and whoever reads the
            regions takes the largest probability of a class's words. "before": ``fit`` gets the classes with their
            words, and takes the largest logit before its softmax.
        default_proposer: name of the mask proposer for a kit whose user named none, where the system asks for one.
    """

    verb = "segment"
    merges: ClassVar[Literal["before", "after"]] = "after"
    default_proposer: ClassVar[str] = "merged-cells"

    @abstractmethod
    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSegmenter:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone has neither tower nor dense maps.
            MissingEvidence: a needed field of the evidence is missing.
        """


@dataclass(frozen=True)
class Anomaly:
    """How anomalous one image is, and where.

    Args:
        score: higher is more anomalous; scores of different fitted detectors are not comparable.
        map: (h, w) float32 scores of cells, evenly over the image; None where the detector scores whole images only.
        size: (H, W) of the image, in pixels; given with a map.
    """

    score: float
    map: Tensor | None = None
    size: tuple[int, int] | None = None


class FittedDetector(ABC):
    """What ``Detector.fit`` returns: a frozen dataclass that holds tensors, plain values and the ``backbone``."""

    @abstractmethod
    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield the result for each image, in order, with the map of one image in memory at a time.

        Raises:
            UnreadableItem: an image cannot be read.
        """


class Detector(Method):
    """Role of ``detect``: from normal photos, or from anomalies of other things, to scores and maps."""

    verb = "detect"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDetector:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone lacks a tower or dense maps that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """


class FittedRetriever(ABC):
    """What ``Retriever.fit`` returns.

    It is a frozen dataclass of tensors, plain values and the ``backbone``, if there is one.

    Attributes:
        threshold: score from which on the nearest record is a match, chosen on val; None where there was none.
    """

    threshold: float | None

    @abstractmethod
    def against(self, gallery: Samples[Any], run: Run) -> Callable[[Samples[Any]], Tensor]:
        """Prepare M records once, and return a function that scores n others against them.

        Returns:
            A function of n records; it returns (n, M) float32, higher is nearer.

        Raises:
            UnreadableItem: a picture cannot be read; the returned function raises it too.
        """


class Retriever(Method):
    """Role of ``retrieve``: from records with known matches to scores of other records.

    A record has a picture, a text, or both.
    """

    verb = "retrieve"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedRetriever:
        """Fit on the evidence.

        Its tables of records have a column "entity"; an optional column "group" names the source of each record.

        Raises:
            MissingPart: the kit has no backbone, and the system needs one.
            MissingExtra: an optional dependency is not installed.
        """


class Extender(Method):
    """Role of ``extend``: from samples of a new modality to a space with an encoder for it.

    Classifiers and indexes use that space as any other. The result is a space and not one encoder, since fitting may
    change the text encoder too. A space that is to be saved has ``parts`` and ``of_parts``.

    Attributes:
        samples: name of the modality that the system takes, see ``data.modalities``.
        quick: settings with which ``diptych extend`` fits the system in minutes on two cores, where they are not its
            defaults.
        passes: name of the setting for the number of passes over labelled samples; "" where it has none.
    """

    verb = "extend"
    samples: ClassVar[str] = "clips"
    quick: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    passes: ClassVar[str] = "epochs"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Space:
        """Fit on the evidence; the parts of the kit stay as they are.

        Raises:
            MissingPart: the kit has no backbone, and the system needs one.
            MissingHook: the backbone lacks a tower or a head that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """

    def untrained(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Space | None:
        """Return the space before training, with which the fitted one is compared; None where there is none.

        Args:
            kit: as for ``fit``.
            evidence: what ``fit`` would learn from; only sizes and scales of the samples may be taken from it.
            run: seed and device.
        """
        return None

    def with_labels(self, space: Space, labelled: Table[Any], classes: int, run: Run) -> Space | None:
        """Return a space that also names classes, trained on labels, for a space that has no encoder of texts.

        Args:
            space: that this system fitted; it stays as it is.
            labelled: samples with a column "label", numbers from 0 to ``classes`` - 1.
            classes: K.
            run: seed and device.

        Returns:
            A ``features.derived_space.LabelledSpace``; None: a linear head on the vectors of the space is enough.
        """
        return None
