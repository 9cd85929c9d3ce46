"""The roles. A method is frozen parameters; ``fit`` returns a new frozen object; nothing is ever half-fitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from diptych.core.backbone import Space
from diptych.core.card import Card
from diptych.core.data import ClassNames, Evidence, Samples
from diptych.core.errors import MissingHook, need_extra
from diptych.core.kit import Kit
from diptych.core.run import Run

if TYPE_CHECKING:
    from torch import Tensor

ScoreKind = Literal["cosine", "logit", "log_prob"]


@dataclass(frozen=True)
class Scores:
    """Class scores of N items. What they are is stated, never guessed: OOD wants cosines, ECE wants logits.

    Args:
        values: (N, K) float32.
        kind: "cosine" in [-1, 1], "logit" (softmax gives probabilities), or "log_prob".
        candidates: (N, K) bool; classes outside it rank below all candidates. None: all are candidates.
    """

    values: Tensor
    kind: ScoreKind
    candidates: Tensor | None = None

    def ranked(self) -> Tensor:
        """Return (N, K) values that rank right: non-candidates below every candidate, their own order kept."""
        if self.candidates is None:
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
        text: the words, concept or item that spoke.
        weight: its share in the score's own unit; positive speaks for the class.
    """

    text: str
    weight: float


class Method(ABC):
    """Any system: frozen parameters and a card."""

    card: ClassVar[Card]
    verb: ClassVar[str] = ""  # of a role, what its systems do; "" where systems of several verbs have it

    def check_extras(self, *, learns: bool = True) -> None:
        """Refuse to begin where an optional dependency of this system is not installed.

        Args:
            learns: whether there is evidence to learn from, for a system that also works without.

        Raises:
            MissingExtra: one is absent.
        """
        for extra in self.card.needs.extras:
            need_extra(extra, self.card.name)


class FittedClassifier(ABC):
    """What ``Classifier.fit`` returns: a frozen dataclass that holds tensors, plain values, ``classes`` and the
    ``backbone``.
    """

    classes: ClassNames

    @abstractmethod
    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return the (N, K) scores of N items."""

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the reasons for each item's top class, strongest first.

        Raises:
            MissingHook: this system has no reasons to give.
        """
        raise MissingHook(
            f"{type(self).__name__.removeprefix('Fitted')} gives no reasons: take a system whose card offers them."
        )

    def for_classes(self, classes: ClassNames) -> FittedClassifier:
        """Return the same fitted system for other classes, known by their names alone: base to new, and other data
        sets.

        Raises:
            MissingHook: what was fitted belongs to the classes it was fitted on.
        """
        raise MissingHook(
            "This system speaks only of the classes it was fitted on: take one whose card offers other classes."
        )


class Classifier(Method):
    """Role of ``classify``: from class names and evidence to scores."""

    verb = "classify"

    def transferable(self) -> Classifier:
        """Return the system as it is fitted where other classes will be asked of it: itself, unless its paper fits
        another one there.
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
    """What a segmenter says about one image: Q regions and their class scores. A dense map is the case of one region a
    cell.

    Args:
        scores: (Q, K) class scores of the regions. Rows of "log_prob" may sum to less than 1: the rest is void.
        size: (H, W) of the image, in pixels.
        grid: (h, w) cells, evenly over the image.
        masks: (Q, h, w) float32 in [0, 1], how much a cell belongs to a region; None: a dense map, Q = h * w, cells row
            by row.
    """

    scores: Scores
    size: tuple[int, int]
    grid: tuple[int, int]
    masks: Tensor | None = None


class FittedSegmenter(ABC):
    """What ``Segmenter.fit`` returns: a frozen dataclass that holds tensors, plain values, ``classes`` and the
    ``backbone``.
    """

    classes: ClassNames

    @abstractmethod
    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the regions of each image, in order, one image in memory at a time.

        Raises:
            UnreadableItem: an image cannot be read.
        """


class Segmenter(Method):
    """Role of ``segment``: from class names and evidence to regions of images."""

    verb = "segment"

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
    """How unlike a normal photo one image is, and where.

    Args:
        score: higher is more anomalous; only the order of one fitted detector's scores means something.
        map: (h, w) float32 scores of cells, evenly over the image; None where the detector only judges whole images.
        size: (H, W) of the image, in pixels; given with a map.
    """

    score: float
    map: Tensor | None = None
    size: tuple[int, int] | None = None


class FittedDetector(ABC):
    """What ``Detector.fit`` returns: a frozen dataclass that holds tensors, plain values and the ``backbone``."""

    @abstractmethod
    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield what is found on each image, in order; maps of one image in memory at a time.

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
    """What ``Retriever.fit`` returns: a frozen dataclass that holds tensors, plain values and the ``backbone``, if
    there is one.

    Attributes:
        threshold: score from which on the nearest record is a match, chosen on val; None where there was none.
    """

    threshold: float | None

    @abstractmethod
    def against(self, gallery: Samples[Any], run: Run) -> Callable[[Samples[Any]], Tensor]:
        """Prepare M records once, and return what scores n others against them: (n, M) float32, higher is nearer.

        Raises:
            UnreadableItem: a picture cannot be read; the returned function raises it too.
        """


class Retriever(Method):
    """Role of ``retrieve``: from records (a picture and a text, or either alone) with known matches to scores of other
    records.
    """

    verb = "retrieve"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedRetriever:
        """Fit on the evidence: tables of records with a column "entity", and maybe "group": of which side a record is.

        Raises:
            MissingPart: the kit has no backbone, and the system needs one.
            MissingExtra: an optional dependency is not installed.
        """


class Extender(Method):
    """Role of ``extend``: from samples of a new kind to a space that holds them, which classifiers and indexes then use
    as any other.

    A space, not an encoder alone: fitting may move the text side too, and vectors of a new kind mean something beside
    their own texts only.
    """

    verb = "extend"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Space:
        """Fit on the evidence; the parts of the kit stay as they are.

        Raises:
            MissingPart: the kit has no backbone, and the system needs one.
            MissingHook: the backbone lacks a tower or a head that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
