"""``board several-labels``: from which score on is a class there, on photos that show more than one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import kinds
from diptych.verbs.answer import Answer, Shown
from diptych.verbs.arguments import TEMPLATES, argument, method, settings
from diptych.verbs.board.board import classes_of, the_same
from diptych.verbs.board.classify import BoardClassify, pool_of
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    from diptych.core import Classifier
    from diptych.evaluation.several import SeveralLabels
    from diptych.verbs.context import Context
    from diptych.verbs.names import TemplatesLike, TextsLike


@dataclass(frozen=True)
class ClassThreshold:
    """The score from which on a class counts as there; infinity: never."""

    name: str
    threshold: float


@dataclass(frozen=True, kw_only=True)
class BoardSeveralLabels(Verb):
    """Choose a threshold for each class on half of the photos, and measure on the other half."""

    name: ClassVar[str] = "board several-labels"
    role: ClassVar[str] = "diptych.core:Classifier"
    item: ClassVar[str] = "ClassThreshold"
    trains: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = (
        "board several-labels photos.csv", 'board several-labels photos.csv --labels tags --separator "|"',
    )  # fmt: skip
    offers: ClassVar[tuple[str, ...]] = (
        "json", "backbone", "device", "precision", "engine", "batch", "workers", "cache",
    )  # fmt: skip

    table: str | PathLike[str] = argument(
        "A .csv, .tsv or .parquet with paths and several labels per row.", kinds.Kind(Path, None, Path),
        flag="TABLE", positional=True,
    )  # fmt: skip
    labels: str = argument("Column of the labels.", default="labels")
    separator: str = argument("Separator of labels.", default=";")
    path: str = argument("Column of the picture files.", default="path")
    method: str | Classifier = method(DEFAULTS["classify"], "A system that needs no labels.")
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    templates: TemplatesLike = argument(TEMPLATES, kinds.TEMPLATES, None)
    texts: TextsLike = the_same(BoardClassify, "texts", None)
    seed: int = argument("Seed of the two halves.", default=0)

    def check(self) -> None:
        """Refuse a separator that divides nothing."""
        if not self.separator:
            raise UsageError(
                "An empty {separator} separates no labels: give the text between two of them, such as ';'."
            )

    def check_with(self, system: Any) -> None:
        """Refuse a system that learns from photos."""
        if {"train", "unlabelled"} & set(system.card.needs.evidence):
            raise UsageError(
                f"{system.card.slug} learns from photos: give a classifier that sees none, such as "
                f"{DEFAULTS['classify']}."
            )

    def run(self, context: Context) -> Thresholds:
        """Open the table, then the model, choose and measure."""
        from diptych.core import Evidence
        from diptych.data.formats.typed import Typed, read_typed
        from diptych.evaluation.several import several_labels

        data = read_typed(
            Path(self.table), {"labels": Typed("multilabel", self.labels, self.separator)}, items=self.path
        )
        if len(data.splits) > 1:
            raise UsageError(
                f"{self.table} has the splits {', '.join(data.splits)}, and halves are drawn here: give a table of one "
                f"split."
            )
        pool = pool_of(self.texts)
        classes, _ = classes_of(list(data.classes), data.classes, self.templates)
        evidence: Evidence[object] = Evidence(texts=pool.texts if pool else None)
        (only,) = data.splits.values()
        model = context.model()
        return Thresholds(
            several_labels(only, classes, self.system(), model, context.run(), evidence=evidence), model.spec.name
        )


class Thresholds(Answer[ClassThreshold]):
    """The threshold of each class, and what they reach together."""

    rows_key = "classes"
    item_kind = "class"
    done = "with thresholds"
    listed = False

    def __init__(self, result: SeveralLabels, backbone: str) -> None:
        super().__init__(iter(map(ClassThreshold, result.names, result.thresholds)))
        self.result, self.backbone = result, backbone
        self.failed += result.facts["skipped"]

    def title(self, items: Sequence[ClassThreshold]) -> str:
        """Return how many classes and photos there were."""
        return f"{len(items)} classes, {self.result.items} photos"

    def line(self, item: ClassThreshold) -> str:
        """Return the threshold."""
        return f"{item.threshold:+.2f}"

    def row(self, item: ClassThreshold) -> dict[str, Any]:
        """Return plain data of one class."""
        return asdict(item)

    def columns(self, items: Sequence[ClassThreshold]) -> Mapping[str, Sequence[Any]]:
        """Return the threshold of each class."""
        return {"threshold": [item.threshold for item in items]}

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return what was chosen and measured."""
        return self.result.as_dict()

    def tables(self) -> Sequence[Shown | str]:
        """Return the thresholds, and F1 with its interval."""
        result = self.result
        rows = [(name, f"{t:+.2f}") for name, t in zip(result.names, result.thresholds, strict=True)]
        low, high = 100 * result.micro.low, 100 * result.micro.high
        return (
            Shown(("class", "there from"), rows, (1,)),
            f"Chosen on {result.chosen_on} photos, measured on {result.items} others, {len(rows)} classes, "
            f"{self.backbone}:",
            f"  F1 {100 * result.micro.value:.1f} ({low:.1f}-{high:.1f}), over classes {100 * result.macro:.1f}; "
            f"the one best class alone {100 * result.top1:.1f}; "
            f"mean average precision {100 * result.average_precision:.1f}.",
        )
