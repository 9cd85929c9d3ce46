"""Audits of models (Auditor) and of pairs of image and text, or of two images (PairScorer)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from diptych.core.backbone import Space
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import DataError, UsageError
from diptych.core.findings import Finding
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["id", "shift", "ood", "train", "pairs"]
"""What a table is for.

- "id": test items of the task, in distribution.
- "shift": items of the same classes under another condition.
- "ood": items of none of the classes.
- "train": items that the model, or a head on it, was trained on.
- "pairs": items that belong together in twos, by their column "group".
"""


@dataclass(frozen=True)
class ModelRecord:
    """How a model was made, as far as it is known; audits group models by it.

    Args:
        family: kind of training: "clip", "supervised", "self-supervised".
        source: training data, such as "laion2b".
        size: training items.
        architecture: of the image tower, such as "ViT-B-32".
        finetuned: data set on which it was fine-tuned; "" where it was not.
        loss: such as "softmax" or "sigmoid".
        prompts: which prompts it is tested with, such as "a photo of a {}.".
    """

    family: str = ""
    source: str = ""
    size: int | None = None
    architecture: str = ""
    finetuned: str = ""
    loss: str = ""
    prompts: str = ""


@dataclass(frozen=True)
class Subject:
    """A model that is audited.

    Args:
        kit: a backbone as "main", or a fitted classifier as "classifier"; and further parts that an audit compares
            with, such as an image encoder without text as "vision".
        record: how the model was made.
        measured: what was measured about it elsewhere, such as under 3D corruptions.
    """

    kit: Kit
    record: ModelRecord = field(default_factory=ModelRecord)
    measured: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, parts: Subject | Kit | Space | Mapping[str, Any]) -> Subject:
        """Return a subject: one as it is, or a kit, a backbone or named parts of which nothing else is known."""
        return parts if isinstance(parts, Subject) else cls(Kit.of(parts))


@dataclass(frozen=True)
class Probe:
    """One table of an audit.

    Args:
        table: N readable items with their columns.
        role: what the table is for.
        classes: K names of the column "label"; None where items have no classes.
    """

    table: Table[Any]
    role: Role = "id"
    classes: ClassNames | None = None

    def named(self) -> ClassNames:
        """Return the names of the classes.

        Raises:
            DataError: there are none.
        """
        if self.classes is None:
            raise DataError("This table has no class names: give a table with classes.")
        return self.classes


@dataclass(frozen=True)
class AuditData:
    """The tables of an audit, by name, in the order in which reports show them.

    Args:
        probes: name -> table; a system takes those whose roles it reads, and leaves the others.

    Example:
        >>> from diptych.core.data import Texts
        >>> data = AuditData({"own": Probe(Table(Texts(("a",)))), "dark": Probe(Table(Texts(("b",))), "shift")})
        >>> data.one()[0], list(data.of("shift"))
        ('own', ['dark'])
    """

    probes: Mapping[str, Probe] = field(default_factory=dict)

    @classmethod
    def single(cls, table: Table[Any], classes: ClassNames | None = None, name: str = "test") -> AuditData:
        """Return data of one table, in distribution."""
        return cls({name: Probe(table, "id", classes)})

    def of(self, role: Role) -> dict[str, Probe]:
        """Return the tables of a role, by name."""
        return {name: probe for name, probe in self.probes.items() if probe.role == role}

    def one(self, role: Role = "id") -> tuple[str, Probe]:
        """Return the name and the table of a role that has exactly one.

        Raises:
            DataError: there are several, or none.
        """
        tables = self.of(role)
        if len(tables) != 1:
            raise DataError(f"This audit needs one table with the role {role!r}, got {len(tables)}: give exactly one.")
        return next(iter(tables.items()))

    def lacks_labels(self) -> str:
        """Return what keeps the data from having one table in distribution with labels and classes; "" if nothing."""
        try:
            _, probe = self.one()
            probe.table.labels()
            probe.named()
        except DataError as error:
            return str(error)
        return ""


class Auditor(Method):
    """Role of ``audit`` for models: from several models and named tables to findings about each model."""

    verb = "audit"

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack for this audit, in one sentence; "" where it can run.

        It looks at roles, columns, class names and the number of subjects, and encodes nothing. ``audit`` raises
        DataError with the same sentence. What only the models' outputs can tell, such as an accuracy at chance, is a
        finding that is not testable instead.
        """
        return ""

    def check(self, subjects: Mapping[str, Subject], data: AuditData) -> None:
        """Raise UsageError where there is no subject, and DataError where the data lack something."""
        if not subjects:
            raise UsageError("There is no model to audit: give at least one.")
        if lack := self.lacks(subjects, data):
            raise DataError(lack)

    @abstractmethod
    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Audit the subjects on the same items.

        Args:
            subjects: name -> model, with the parts that the system needs.
            data: named tables with readable items.
            run: device, cache and seed.

        Raises:
            MissingPart: a kit lacks a part.
            UsageError: there is no subject.
            DataError: a table, a column or items are missing.
        """


@dataclass(frozen=True)
class Part:
    """A stretch of a text and what it adds to the score of the pair.

    Args:
        text: the stretch itself.
        start, end: its character offsets in the text.
        weight: what it adds to the score, in the score's unit; negative lowers the score.
        chosen: whether the system marks it as wrong.
    """

    text: str
    start: int
    end: int
    weight: float
    chosen: bool = False


@dataclass(frozen=True)
class PairScores:
    """Scores of N pairs.

    Args:
        values: (N,) float32; higher is a better pair.
        parts: N tuples of parts of the text, in its order; () where the system gives none.
        columns: name -> (N,) further numbers of the pairs, such as "clipscore".
    """

    values: Tensor
    parts: tuple[tuple[Part, ...], ...] = ()
    columns: Mapping[str, Tensor] = field(default_factory=dict)


class FittedPairScorer(ABC):
    """What ``PairScorer.fit`` returns; it serves as metric, reward, filter and re-ranker."""

    @abstractmethod
    def score(self, pairs: Table[Any], run: Run) -> PairScores:
        """Score N images, each with the first text of its column "captions", or with its columns of an edit.

        Args:
            pairs: N images with the columns that ``PairScorer.reads`` names; N may be 0.
            run: device and cache.

        Raises:
            UnreadableItem: an image cannot be read.
            DataError: a column is missing, or a text is empty.
        """


class PairScorer(Method):
    """Role of a system that scores how well an image and a text match, or an edited image its source and target.

    Attributes:
        reads: "captions": the column of that name. "edits": the columns of ``data.edits``, where the items are the
            edited images.
    """

    verb = "audit"
    reads: ClassVar[Literal["captions", "edits"]] = "captions"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedPairScorer:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
