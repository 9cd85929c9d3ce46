"""CounterAnimal measures how much accuracy a model loses when the same things appear before an unusual background.

    acc(y, a)  = share of the selecting items of class y and group a that the reference model gets right
    common(y)  = argmax_a acc(y, a)
    counter(y) = argmin_a acc(y, a)
    drop       = mean over Y of [ acc_m(y, common(y)) - acc_m(y, counter(y)) ], on the measured items

y: one of K classes
a: one of A groups of a property that should not matter, such as the background
Y: the classes with acc(y, common(y)) - acc(y, counter(y)) > gap
acc_m: the same share for the model m that is measured

The items are split into two random halves: by the selecting items a reference model chooses the two groups of each
class, and the measured items give the drop. Each half has both roles, and the results are averaged. On the same items a
drop would come out of noise alone. The control draws the groups at random within each class; its drop must be 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diptych.core import (
    AuditData,
    Auditor,
    ClassNames,
    Control,
    DataError,
    Example,
    Finding,
    Run,
    Samples,
    Subject,
    Table,
    UsageError,
)
from diptych.core.findings import EXAMPLES
from diptych.core.ranges import at_least, between, check, one_of
from diptych.data.evidence import grouped_labels
from diptych.features.subjects import class_scores
from diptych.metrics.estimate import Interval
from diptych.metrics.group_drop import (
    Bools,
    Ints,
    Pair,
    class_accuracies,
    halves,
    over_classes,
    pair_interval,
    relabelled,
    select,
)

PROMPT = "A photo of {}."
"""The authors' prompt, with its full stop."""


def predictions(subject: Subject, classes: ClassNames, items: Samples[Any], run: Run) -> Ints:
    """Return the best class of each item, (N,), by the subject's fitted classifier, or zero-shot by its backbone."""
    return class_scores(subject, classes, items, run).predicted().numpy()


@dataclass(frozen=True)
class CounterAnimal(Auditor):
    """Find each class's best and worst group by a reference model, and measure all models between the two.

    Use it to compare how much several models depend on backgrounds, domains or another property with known groups.

    Args:
        reference: name of the subject that selects the groups; "" is the first one (default).
        gap: least difference of the two accuracies, in [0, 1); 0.05 (the paper's).
        selection: "half" (ours, default): each half of the items selects for the other half, and both results are
            averaged. "all" (the paper's): the same items select and are measured, which flatters the drop of the
            reference.
        least: items that a class must have in both groups, in each half, >= 1; 5 (ours).

    Raises:
        UsageError: a number is out of its range, or the selection is unknown.

    Source: Wang et al. 2024, section 2 (construction), section 3 (protocol), appendix (class-balanced drop).

    Example:
        A model that is right in group 0 only:

        >>> labels, groups = np.repeat([0, 1], 40), np.tile([0, 1], 40)
        >>> hits, every = groups == 0, np.ones(80, dtype=bool)
        >>> pairs = select(hits, labels, groups, (2, 2), every, every, gap=0.05, least=5)
        >>> [(p.label, p.common, p.counter) for p in pairs]
        [(0, 0, 1), (1, 0, 1)]
        >>> class_accuracies(hits, pairs)
        {0: (1.0, 0.0), 1: (1.0, 0.0)}
    """

    reference: str = ""
    gap: float = 0.05
    selection: Literal["half", "all"] = "half"
    least: int = 5

    prompt = PROMPT

    def __post_init__(self) -> None:
        check(self, between(0, 1, "[)"), "gap")
        check(self, at_least(1), "least")
        check(self, one_of("half", "all"), "selection")

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack: one table in distribution, with classes and at least two groups."""
        try:
            grouped_labels(data.one()[1].table)
            data.one()[1].named()
        except DataError as error:
            return str(error)
        return ""

    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Measure every subject between the groups that the reference selects.

        Args:
            subjects: name -> model with a backbone, or with a fitted classifier of these classes as "classifier".
            data: one table in distribution, of N items with a "label" column and a "group" column.
            run: device, cache, and the seed of halves and controls.

        Returns:
            Findings about each subject, by measure:

            - "drop": mean over classes, with its interval over classes (see ``over_classes``), the drop between random
              groups as its control, and items of the worst group that are taken for another class.
            - "common" and "counter": mean accuracies in the two groups, with the same interval.
            - "drop_per_item": the drop over items instead of classes; it has no interval.
            - "drop" about each class, with its own interval.

            Without two groups that differ, one finding a subject says that the drop is not testable.

        Raises:
            UsageError: there is no subject, or none has the reference's name.
            MissingPart: a kit holds neither classifier nor backbone.
            DataError: there is not exactly one table in distribution, or a column is missing.
        """
        probe, held = data.one()
        table, classes = held.table, held.named()
        labels, groups, names = grouped_labels(table)
        shape = (len(classes), len(names))
        reference = self.reference or next(iter(subjects), "")
        if reference not in subjects:
            raise UsageError(
                f"The reference {reference!r} is none of the subjects ({', '.join(subjects) or 'there are none'}): "
                f"name one."
            )
        answers = {name: predictions(subject, classes, table.items, run) for name, subject in subjects.items()}
        hits = {name: predicted == labels for name, predicted in answers.items()}
        pairs = self.pairs(hits[reference], labels, groups, shape, run, "halves")
        if not pairs:
            why = self._nothing_differs(labels, groups, shape, reference)
            return [Finding.not_testable(name, "drop", why, count=len(table)) for name in subjects]
        shuffled = relabelled(labels, groups, np.random.default_rng(run.integer("relabel")))
        control = self.pairs(hits[reference], labels, shuffled, shape, run, "control")
        findings = []
        for name, right in hits.items():
            examples = _examples(probe, table, classes, names, answers[name], pairs)
            drop = _drop(name, right, pairs, control, {"reference": name == reference}, examples)
            findings += [drop, *_sides(name, right, pairs), *_of_classes(name, right, pairs, classes, names)]
        return findings

    def _nothing_differs(self, labels: Ints, groups: Ints, shape: tuple[int, int], reference: str) -> str:
        """Return whether items are missing or a difference, where no class has two groups to compare."""
        halved = self.selection == "half"
        need = self.least * (2 if halved else 1)
        counts = np.zeros(shape, dtype=np.int64)
        np.add.at(counts, (labels, groups), 1)
        enough = int(((counts >= need).sum(axis=1) >= 2).sum())
        return (
            f"No class has two groups of {self.least} items or more{' in each half' if halved else ''} between which "
            f"{reference} differs by over {self.gap:g}: "
        ) + (
            f"{enough} of {shape[0]} classes have two groups of {need} items, and they do not differ by that."
            if enough
            else f"none has two groups of {need} items; give more items."
        )

    def pairs(
        self, hits: Bools, labels: Ints, groups: Ints, shape: tuple[int, int], run: Run, purpose: str
    ) -> list[Pair]:
        """Return the chosen groups of both directions of one random halving; those of all items for "all".

        Args:
            hits: (N,) whether the reference model is right.
            labels: (N,) class positions.
            groups: (N,) group positions.
            shape: (K, A).
            run: seed of the halving.
            purpose: names the draw, so that two halvings of one run differ.
        """
        first = halves(labels, groups, np.random.default_rng(run.integer(purpose)))
        every = np.ones(len(labels), dtype=bool)
        sides = [(every, every)] if self.selection == "all" else [(first, ~first), (~first, first)]
        return [
            p for side, other in sides for p in select(hits, labels, groups, shape, side, other, self.gap, self.least)
        ]


def _drop(
    name: str,
    hits: Bools,
    pairs: Sequence[Pair],
    control: Sequence[Pair],
    details: Mapping[str, Any],
    examples: tuple[Example, ...],
) -> Finding:
    """Return the finding of the mean drop over classes, with the drop between random groups as its control."""
    drop, random = _mean_drop(hits, pairs), _mean_drop(hits, control)
    classes = len({p.label for p in pairs})
    return Finding(
        name,
        "drop",
        drop.value,
        (drop.low, drop.high),
        details={**details, "classes": classes},
        count=classes,
        counted="classes",
        control=Control("drop_random_groups", random.value, (random.low, random.high)),
        examples=examples,
        says=f"Accuracy falls by {100 * drop.value:.0f} points from the group in which a class does best to the one in "
        f"which it does worst.",
        advice="Add training pictures of the worst groups, or measure the model on the groups that your users have.",
        harm=max(0.0, drop.low),
        units=np.array([common - counter for common, counter in class_accuracies(hits, pairs).values()]),
    )


def _mean_drop(hits: Bools, pairs: Sequence[Pair]) -> Interval:
    """Return the mean drop over classes; 0 where no class has two groups that differ."""
    return over_classes([common - counter for common, counter in class_accuracies(hits, pairs).values()])


def _sides(name: str, hits: Bools, pairs: Sequence[Pair]) -> list[Finding]:
    """Return the mean accuracy of each side over classes, and the drop over items."""
    accuracies = list(class_accuracies(hits, pairs).values())
    items = [np.concatenate([getattr(p, side) for p in pairs]) for side in ("common_items", "counter_items")]
    findings = []
    for side, measure in enumerate(("common", "counter")):
        mean = over_classes([a[side] for a in accuracies], least=0.0)
        ends, count = (mean.low, mean.high), len(accuracies)
        values = np.array([a[side] for a in accuracies])
        findings.append(
            Finding(name, measure, mean.value, ends, range=(0.0, 1.0), count=count, counted="classes", units=values)
        )
    value = float(hits[items[0]].mean() - hits[items[1]].mean())
    return [*findings, Finding(name, "drop_per_item", value, count=sum(map(len, items)))]


def _of_classes(
    name: str, hits: Bools, pairs: Sequence[Pair], classes: ClassNames, names: Sequence[str]
) -> Iterator[Finding]:
    """Yield the drop of each class, with its own interval."""
    for y, (high, low) in class_accuracies(hits, pairs).items():
        of_class = [p for p in pairs if p.label == y]
        sides = {side: sorted({names[getattr(p, side)] for p in of_class}) for side in ("common", "counter")}
        details = {"common_accuracy": high, "counter_accuracy": low, **sides}
        count = sum(len(p.common_items) + len(p.counter_items) for p in of_class)
        interval = pair_interval(hits, of_class)
        yield Finding(name, "drop", high - low, interval, classes.names[y], details, count=count)


def _examples(
    probe: str, table: Table[Any], classes: ClassNames, names: Sequence[str], predicted: Ints, pairs: Sequence[Pair]
) -> tuple[Example, ...]:
    """Return items of the worst groups that are taken for another class, one per class, largest drops first."""
    drops = class_accuracies(predicted == table.labels(), pairs)
    examples: dict[int, Example] = {}
    for p in sorted(pairs, key=lambda p: drops[p.label][1] - drops[p.label][0]):
        wrong = p.counter_items[predicted[p.counter_items] != p.label]
        if len(wrong) and p.label not in examples:
            i = int(wrong[0])
            note = f"{classes.names[p.label]} ({names[p.counter]}), taken for {classes.names[predicted[i]]}"
            examples[p.label] = Example(probe, table.items.key(i), note)
    return tuple(examples.values())[:EXAMPLES]
