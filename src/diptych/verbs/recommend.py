"""``recommend``: which classifier to try on labelled photos, by cross-validation among the quick ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError
from diptych.core.ranges import at_least
from diptych.core.wording import number_of
from diptych.verbs import kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import LOCAL, NAMES, TEMPLATES, argument
from diptych.verbs.declare import RUN, Verb
from diptych.verbs.photos import open_labelled

if TYPE_CHECKING:
    from diptych.core import ClassNames
    from diptych.evaluation.recommendation import Candidate, Recommendation
    from diptych.metrics.estimate import Interval
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike, TemplatesLike


@dataclass(frozen=True, kw_only=True)
class Recommend(Verb):
    """Recommend a classifier for your labelled photos, with the gain to expect; test photos are not used."""

    item: ClassVar[str] = "Candidate"
    report: ClassVar[str] = "Also write a .json file."
    trains: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = ("recommend birds/", "recommend labels.csv --most 16 --json")
    offers: ClassVar[tuple[str, ...]] = (*RUN, "batch", "workers")

    data: Any = argument(
        "A folder of class folders, or a table with labels. With splits, train and val are used.", kinds.Kind(str),
        flag="DATA", positional=True, faces=LOCAL,
    )  # fmt: skip
    names: NamesLike = argument(NAMES, kinds.NAMES, None, faces=LOCAL)
    templates: TemplatesLike = argument(TEMPLATES, kinds.TEMPLATES, None, faces=LOCAL)
    methods: Sequence[str] = argument(
        "Classifiers to compare, with commas (default: all that learn from labelled photos in seconds).", kinds.WORDS,
        (), faces=LOCAL,
    )  # fmt: skip
    folds: int = argument(
        "Cross-validation folds: each is predicted by what was fitted on the others.", default=5, range=at_least(2),
        faces=LOCAL,
    )  # fmt: skip
    most: int = argument("Largest number of photos per class.", default=32, range=at_least(2), faces=LOCAL)
    seed: int = argument("Seed of the folds, and of the draw if there are more photos.", default=0, faces=LOCAL)

    def check(self) -> None:
        """Refuse systems that are no classifiers."""
        from diptych.evaluation.recommendation import quick_systems

        if self.methods:
            quick_systems(self.methods)

    def run(self, context: Context) -> Recommended:
        """Open the photos, then load the backbone and compare."""
        from diptych.evaluation.recommendation import quick_systems, recommend
        from diptych.tasks.classify import with_store
        from diptych.verbs.names import names_of

        data = open_labelled(self.data, "classes", context.keys)
        if not data.classes:
            raise DataError(
                f"{data.name} has no labels, by which systems are compared: put the photos in a folder for each class, "
                f"or give a table with a column 'label'{data.heading}."
            )
        classes = names_of(self.names, data.classes, self.templates)
        model = context.model()
        with with_store(context.run()) as run:
            result = recommend(
                data, model, classes, run, systems=quick_systems(self.methods), folds=self.folds, most=self.most
            )
        return Recommended(self, result, data.name, model.spec.name, classes)


class Recommended(Answer["Candidate"]):
    """The systems that were compared, class names alone first, then the best."""

    rows_key = "systems"
    item_kind = "system"
    right = (1, 2, 3)
    listed = False

    def __init__(self, verb: Recommend, result: Recommendation, data: str, backbone: str, classes: ClassNames) -> None:
        super().__init__(iter(result.candidates))
        self.verb, self.result, self.source, self.backbone, self.counted = verb, result, data, backbone, classes
        self.failed += result.failed

    def title(self, items: Sequence[Candidate]) -> str:
        """Return what was compared on what, and what to try."""
        return f"{self._compared()}\n{self.advice()}"

    def _compared(self) -> str:
        r = self.result
        sizes = str(r.fewest) if r.fewest == r.largest else f"{r.fewest} to {r.largest}"
        of = f"{r.photos} labelled photos, {sizes} of each of {len(self.counted)} classes"
        return f"{self.source}: {of}, {r.folds} folds, {self.backbone}, 95 % intervals"

    def name(self, item: Candidate) -> str:
        """Return the system."""
        return item.system

    def line(self, item: Candidate) -> str:
        """Return its accuracy and gain."""
        low, high = 100 * item.accuracy.low, 100 * item.accuracy.high
        gain = "" if item.gain is None else f"gain {_points(item.gain)}, "
        return f"{100 * item.accuracy.value:.1f} % right ({low:.0f} to {high:.0f}), {gain}{item.seconds:.1f} s to fit"

    def label(self, item: Candidate) -> str:
        """Return the accuracy in percent."""
        return f"{100 * item.accuracy.value:.1f} %"

    def summary(self, out: object) -> list[str]:
        """Return the systems as lines, then the recommendation."""
        width = max(len(c.system) for c in self.result.candidates)
        return [
            self._compared(),
            *(f"{c.system:<{width}}  {self.line(c)}" for c in self.result.candidates),
            self.advice(),
        ]

    def advice(self) -> str:
        """Return what to try, the gain to expect, and what more labels may be worth."""
        r, plain = self.result, self.result.candidates[0].system
        if r.best.gain is None:
            return f"Try {plain}: no system that learns from these photos is right more often."
        expected = f"{_points(r.expected)} over {plain}, corrected for being the best of {len(r.candidates)} compared"
        if not r.better:
            return f"Try {plain}: {r.best.system} is right most often, but that may be chance (gain {expected})."
        more = ""
        if r.doubling is not None:
            counsel = "label more" if r.doubling.low > 0 else "more labels may change little"
            more = f" The second half of the labels brought {_points(r.doubling)}: {counsel}."
        return f"Try {r.best.system}: expect {expected}.{more}"

    def remarks(self, items: Sequence[Candidate]) -> list[str]:
        """Return that names are numbers, what could not be fitted, and which photos were left out."""
        from diptych.data.words.classnames import unreadable_names

        numbers = "" if self.verb.names else unreadable_names(self.counted.names)
        repeated = self.result.repeated
        left_out = number_of(repeated, "photo is", "photos are")
        twice = f"{left_out} left out, for each shows what another one does." if repeated else ""
        missing = [f"{label} did not run: {reason}" for label, reason in self.result.missing.items()]
        return [line for line in (numbers, twice, *missing) if line]

    def facts(self) -> dict[str, Any]:
        """Return what follows, as plain data."""
        r = self.result
        gain = [r.expected.value, r.expected.low, r.expected.high]
        doubling = None if r.doubling is None else [r.doubling.value, r.doubling.low, r.doubling.high]
        return {
            "recommended": r.best.system if r.better else r.candidates[0].system, "best": r.best.system,
            "expected_gain": gain, "gain_of_the_second_half_of_the_labels": doubling, "photos": r.photos,
            "folds": r.folds, "data": self.source, "backbone": self.backbone, "seed": self.verb.seed,
            "missing": dict(r.missing), "advice": self.advice(),
        }  # fmt: skip


def _points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} points ({100 * value.low:+.1f} to {100 * value.high:+.1f})"
