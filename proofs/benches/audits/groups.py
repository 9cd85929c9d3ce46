"""Proof of CounterAnimal: the drop between groups that other photos selected."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from diptych.core import Backbone, ClassNames, DataError, Run, Subject
from diptych.data.evidence import grouped_labels
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Arm, Floats, Statistic
from diptych.evaluation.datasets import known_set
from diptych.methods.audit.counteranimal import PROMPT, CounterAnimal, predictions
from diptych.metrics.estimate import Interval
from diptych.metrics.group_drop import Pair, class_accuracies, over_classes, relabelled
from proofs.trial import Claim, Tabled, Trial


def _drop(values: Floats, _: int) -> Interval:
    return over_classes(values[np.isfinite(values)].tolist())


def _gain(first: Floats, second: Floats, _: int, *, sides: int = 2) -> Interval:
    gains, least = first - second, -2.0 if second.any() else -1.0
    return over_classes(gains[np.isfinite(gains)].tolist(), least=least, sides=sides)


DROPS = Statistic(_drop, _gain, partial(_gain, sides=1))
"""(1, K) drops of K classes, means over both directions and the seeds; NaN: the class has no two groups that differ.
Intervals are over classes, see ``over_classes``.
"""


def open_groups(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the drop between groups; seeds draw the halves: each half selects the groups for the other.

    The control draws the groups at random within each class.

    Raises:
        DataError: fewer than two classes have two groups of enough items.
    """
    folder, method, known = present(name), CounterAnimal(), known_set(name)
    data = open_data(folder, need="groups", group=known.group if known and known.group else "group")
    table, classes = data.split("test"), ClassNames(tuple(tidy(c) for c in data.classes), (PROMPT,))
    labels, groups, names = grouped_labels(table)
    counts = np.bincount(labels * len(names) + groups, minlength=len(classes) * len(names)).reshape(len(classes), -1)
    enough = int(((counts >= 2 * method.least).sum(axis=1) >= 2).sum())
    if enough < 2:
        raise DataError(
            f"{enough} classes of {name} have two groups of {2 * method.least} items, and an interval over classes "
            f"needs 2: give more items in each class and group."
        )
    hits = predictions(Subject.of(backbone), classes, table.items, run) == labels

    def drops(method: CounterAnimal, random: bool) -> Floats:
        pairs: list[Pair] = []
        for seed in seeds:
            run_of_seed = replace(run, seed=seed)
            rng = np.random.default_rng(run_of_seed.integer("relabel"))
            given = relabelled(labels, groups, rng) if random else groups
            pairs += method.pairs(hits, labels, given, (len(classes), len(names)), run_of_seed, "halves")
        values = np.full((1, len(classes)), np.nan)
        for y, (common, counter) in class_accuracies(hits, pairs).items():
            values[0, y] = common - counter
        return values

    values = {
        "own": drops(method, False),
        "random groups": drops(method, True),
        "same items": drops(replace(method, selection="all"), True),
        "no drop": np.zeros((1, len(classes))),
    }
    facts = {"data_hash": data.hash, "items": len(table), "classes": len(classes), "groups": names}
    return Tabled(backbone, run, seeds, "drop", facts, values, statistic=DROPS)


TRIAL = Trial(
    (Claim("no drop"),),
    arm=Arm("own"),
    controls=(Claim("no drop", arm=Arm("random groups")),),
    beside={"random groups, selected and measured on the same items": Arm("same items")},
    bench=open_groups,
)
