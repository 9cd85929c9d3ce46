"""CounterAnimal: how much accuracy a model loses when the same things stand on an unusual ground.

acc(y, a)  = share of items of class y and group a that the reference model gets right, on the selecting items
common(y)  = argmax_a acc(y, a),  counter(y) = argmin_a acc(y, a);   y is kept where acc(common) - acc(counter) > gap
drop       = mean over kept y of [ acc_subject(y, common(y)) - acc_subject(y, counter(y)) ], on the measured items

Selecting and measuring on the same items makes a drop out of noise alone, so each half selects for the other, and the
whole is repeated with the groups drawn at random among the items of a class: that drop must be 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core.audit import Auditor, Finding
from diptych.core.backbone import Backbone
from diptych.core.card import Card, Headline, Needs, ProofPlan, Reference
from diptych.core.data import ClassNames, Samples, Table
from diptych.core.errors import DataError, UsageError
from diptych.core.kit import Kit
from diptych.core.method import FittedClassifier
from diptych.core.ranges import at_least, between, check, one_of
from diptych.core.run import Run
from diptych.features.embed import embed
from diptych.features.heads import text_head

PROMPT = "A photo of {}."
"""The authors' prompt, with its full stop."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Pair:
    """The two groups of a class, and the items on which they are compared.

    Args:
        label: class position y.
        common, counter: group positions a.
        common_items, counter_items: positions of the measured items of each.
    """

    label: int
    common: int
    counter: int
    common_items: Ints
    counter_items: Ints


def accuracies(hits: Bools, labels: Ints, groups: Ints, shape: tuple[int, int], least: int = 1) -> Floats:
    """Return (K, A) accuracies of class y in group a; NaN where fewer than ``least`` of the N items are of that kind."""
    cell = labels * shape[1] + groups
    size = np.prod(shape)
    counts = np.bincount(cell, minlength=size).astype(np.float64)
    right = np.bincount(cell, weights=hits.astype(np.float64), minlength=size)
    return np.where(counts >= least, right / np.maximum(counts, 1), np.nan).reshape(shape)


def halves(labels: Ints, groups: Ints, rng: np.random.Generator) -> Bools:
    """Return (N,) bool: a random half of the items of every class and group; an odd one falls to either side."""
    first = np.zeros(len(labels), dtype=bool)
    for y, a in sorted(set(zip(labels.tolist(), groups.tolist(), strict=True))):
        own = rng.permutation(np.flatnonzero((labels == y) & (groups == a)))
        first[own[: (len(own) + int(rng.integers(2))) // 2]] = True
    return first


def select(
    hits: Bools,
    labels: Ints,
    groups: Ints,
    shape: tuple[int, int],
    selecting: Bools,
    measured: Bools,
    gap: float,
    least: int,
) -> tuple[Pair, ...]:
    """Choose the two groups of each class on some of the items, and return them with the items that they are measured
    on.

    Args:
        hits: (N,) of the reference model.
        labels: (N,) class positions.
        groups: (N,) group positions.
        shape: (K, A).
        selecting: (N,) which items choose.
        measured: (N,) which items are measured.
        gap: the two accuracies must differ by more, a fraction.
        least: items a cell must have, to be chosen and to be measured.
    """
    found = accuracies(hits[selecting], labels[selecting], groups[selecting], shape, least)
    pairs = []
    for y, row in enumerate(found):
        if np.isnan(row).all() or np.nanmax(row) - np.nanmin(row) <= gap:
            continue
        common, counter = int(np.nanargmax(row)), int(np.nanargmin(row))
        items = [np.flatnonzero(measured & (labels == y) & (groups == a)) for a in (common, counter)]
        if min(map(len, items)) >= least:
            pairs.append(Pair(y, common, counter, items[0], items[1]))
    return tuple(pairs)


def drop(hits: NDArray[Any], pairs: Sequence[Pair], weights: Floats | None = None) -> tuple[Any, Any]:
    """Return the class-balanced accuracies (common, counter): means over the pairs of the means over their items.

    Args:
        hits: (N,) of a subject.
        pairs: at least one.
        weights: (R, N) how often each item counts in each of R resamples; None: once, and numbers are returned instead
            of (R,) arrays.
    """
    w, h = np.ones((1, len(hits))) if weights is None else weights, hits.astype(np.float64)

    def mean(items: Ints) -> Floats:
        total = w[:, items].sum(1)
        means: Floats = np.where(
            total > 0, w[:, items] @ h[items] / np.maximum(total, 1), h[items].mean()
        )  # an empty cell: as it is
        return means

    def balanced(sides: list[Ints]) -> Floats:
        balance: Floats = np.mean([mean(items) for items in sides], axis=0)
        return balance

    common, counter = balanced([p.common_items for p in pairs]), balanced([p.counter_items for p in pairs])
    return (float(common[0]), float(counter[0])) if weights is None else (common, counter)


def resampled(labels: Ints, groups: Ints, rng: np.random.Generator, draws: int = 1000) -> Floats:
    """Return (draws, N) counts of items drawn with replacement within every class and group."""
    weights = np.zeros((draws, len(labels)), dtype=np.float32)  # small whole numbers, which it holds exactly
    for y, a in sorted(set(zip(labels.tolist(), groups.tolist(), strict=True))):
        own = np.flatnonzero((labels == y) & (groups == a))
        weights[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)
    return weights


def relabelled(labels: Ints, groups: Ints, rng: np.random.Generator) -> Ints:
    """Return the groups, permuted among the items of each class: the control whose drop must be 0."""
    out = groups.copy()
    for y in np.unique(labels):
        own = np.flatnonzero(labels == y)
        out[own] = groups[rng.permutation(own)]
    return out


def predictions(kit: Kit, classes: ClassNames, items: Samples[Any], run: Run) -> Ints:
    """Return (N,) top-1 classes: of the kit's part "classifier" where it holds a fitted one, else zero-shot of its
    backbone.
    """
    if "classifier" in kit.parts:
        fitted = kit.need(FittedClassifier, "classifier")
        return fitted.scores(items, run).predicted().numpy()
    backbone = kit.need(Backbone)
    head = text_head(backbone, classes.prompts(), run)
    return (normalize(embed(backbone.image, items, run), dim=-1) @ head.T).argmax(dim=1).numpy()


@dataclass(frozen=True)
class CounterAnimal(Auditor):
    """Find the two groups between which a reference model differs most, class by class, and measure every model between
    them.

    Args:
        reference: name of the subject that selects; "": the first. Its own numbers are optimistic where ``selection``
            is "all".
        gap: accuracies of the two groups must differ by more than this, a fraction in [0, 1) (0.05).
        selection: "half": each half of the items selects for the other half, and both results are averaged; "all": as
            in the paper, select and measure on the same items.
        least: items that a class must have in a group, in each half (5).

    Raises:
        UsageError: a number out of its range, or an unknown selection.

    Source: Wang et al. 2024, section 2 (construction), section 3 (protocol), appendix (class-balanced drop).
    Differs: see the card.
    """

    reference: str = ""
    gap: float = 0.05
    selection: Literal["half", "all"] = "half"
    least: int = 5

    card: ClassVar[Card] = Card(
        slug="counteranimal",
        name="CounterAnimal",
        title="A Sober Look at the Robustness of CLIPs to Spurious Features",
        url="https://arxiv.org/abs/2403.11497",
        year=2024,
        verb="audit",
        claim="On animals before unusual backgrounds CLIPs lose more accuracy than ImageNet classifiers of similar level.",
        needs=Needs(hooks=("image", "text")),
        trains="nothing",
        headlines=(
            Headline(
                "CounterAnimal, 1 vs 1000",
                "CLIP ViT-B/32 LAION-400M",
                "drop",
                30.18,
                "common 67.13, counter 36.95",
                "paper",
            ),
            Headline(
                "CounterAnimal, 1 vs 1000",
                "CLIP ViT-B/32 OpenAI",
                "drop",
                23.51,
                "common 69.13, counter 45.62",
                "paper",
            ),
            Headline(
                "CounterAnimal, 1 vs 1000",
                "CLIP ViT-L/14 DataComp-1B",
                "drop",
                9.39,
                "common 89.29, counter 79.90",
                "paper",
            ),
            Headline(
                "CounterAnimal, 1 vs 1000", "ImageNet-1K ViT-B/16", "drop", 9.99, "common 84.97, counter 74.98", "paper"
            ),
        ),
        reference=Reference("https://github.com/counteranimal/counteranimal.github.io", "", "none found"),
        differs=(
            "The paper selects and measures on the same photos; here each half selects for the other, so chance alone "
            "gives no drop.",
            "Any class and any group column, over the label space of the data at hand; the paper has 45 animals and "
            "1,000 names.",
            "A class needs a stated number of items in each group; the paper cleans its photos by hand.",
        ),
        proof=ProofPlan(
            claim="Between the groups that one half selects, accuracy on the other half drops.",
            control="With groups drawn at random among the items of each class, the drop is 0.",
            datasets=("pacs_small",),
        ),
    )

    def __post_init__(self) -> None:
        check(self, between(0, 1, "[)"), "gap")
        check(self, at_least(1), "least")
        check(self, one_of("half", "all"), "selection")

    def audit(self, subjects: Mapping[str, Kit], classes: ClassNames, table: Table[Any], run: Run) -> list[Finding]:
        """Measure every subject between the groups that the reference selects.

        Args:
            subjects: name -> kit with a backbone, or with a fitted classifier of the same classes as the part
                "classifier".
            classes: K names.
            table: N items with a "label" column, and a "group" column.
            run: device, cache, and the seed of halves and controls.

        Returns:
            For each subject "drop" with its interval, the same for random groups ("drop, random groups"), "common" and
            "counter", the accuracies per item, and one "drop" a class.

        Raises:
            UsageError: there is no subject, or none of the reference's name.
            MissingPart: a kit holds neither classifier nor backbone.
            DataError: a column is missing, or no class has two groups that differ.
        """
        labels, groups, names = columns(table)
        shape = (len(classes), len(names))
        reference = self.reference or next(iter(subjects), "")
        if reference not in subjects:
            raise UsageError(
                f"The reference {reference!r} is none of the subjects ({', '.join(subjects) or 'there are none'}): "
                f"name one."
            )
        hits = {name: predictions(kit, classes, table.items, run) == labels for name, kit in subjects.items()}
        pairs = self.pairs(hits[reference], labels, groups, shape, run, "halves")
        if not pairs:
            raise DataError(
                f"No class has two groups of {self.least} items or more between which {reference} differs by over "
                f"{self.gap:g}:"
                " give more items, or a smaller gap."
            )
        shuffled = relabelled(labels, groups, np.random.default_rng(run.integer("relabel")))
        control = self.pairs(hits[reference], labels, shuffled, shape, run, "control")
        weights = resampled(labels, groups, np.random.default_rng(run.integer("bootstrap")))
        dealt = resampled(labels, shuffled, np.random.default_rng(run.integer("bootstrap control")))
        found = []
        for name, own in hits.items():
            found += _findings(name, own, pairs, weights, classes, names, {"reference": name == reference})
            found.append(_control(name, own, control, dealt))
        return found

    def pairs(
        self, hits: Bools, labels: Ints, groups: Ints, shape: tuple[int, int], run: Run, purpose: str
    ) -> list[Pair]:
        """Return the chosen groups of both directions of one random halving, or of all items."""
        first = halves(labels, groups, np.random.default_rng(run.integer(purpose)))
        every = np.ones(len(labels), dtype=bool)
        sides = [(every, every)] if self.selection == "all" else [(first, ~first), (~first, first)]
        return [
            p for side, other in sides for p in select(hits, labels, groups, shape, side, other, self.gap, self.least)
        ]


def columns(table: Table[Any]) -> tuple[Ints, Ints, tuple[str, ...]]:
    """Return labels, group positions, and the group names in order; raises DataError where there is no group column."""
    column = table.columns.get("group")
    if column is None or column.kind != "group":
        raise DataError(
            "This table has no group column: name the column that holds the background, domain or other nuisance."
        )
    names, groups = np.unique(np.asarray(column.values, dtype=np.str_), return_inverse=True)
    if len(names) < 2:
        raise DataError(f"All items are of one group ({', '.join(names)}): an audit compares at least two.")
    return table.labels(), groups.astype(np.int64), tuple(names.tolist())


def _findings(
    name: str,
    hits: Bools,
    pairs: Sequence[Pair],
    weights: Floats,
    classes: ClassNames,
    names: Sequence[str],
    details: Mapping[str, Any],
) -> list[Finding]:
    (common, counter), drawn = drop(hits, pairs), drop(hits, pairs, weights)
    kept = sorted({p.label for p in pairs})
    sides = [np.concatenate([getattr(p, side) for p in pairs]) for side in ("common_items", "counter_items")]
    found = [
        Finding(
            name, "drop", common - counter, _between(drawn[0] - drawn[1]), details={**details, "classes": len(kept)}
        ),
        Finding(name, "common", common, _between(drawn[0])),
        Finding(name, "counter", counter, _between(drawn[1])),
        Finding(
            name,
            "drop per item",
            float(hits[sides[0]].mean() - hits[sides[1]].mean()),
            details={"items": sum(map(len, sides))},
        ),
    ]
    for y in kept:
        own = [p for p in pairs if p.label == y]
        (high, low), (first, second) = drop(hits, own), drop(hits, own, weights)
        chosen = {side: sorted({names[getattr(p, side)] for p in own}) for side in ("common", "counter")}
        about = {"common accuracy": high, "counter accuracy": low, **chosen}
        found.append(Finding(name, "drop", high - low, _between(first - second), classes.names[y], about))
    return found


def _control(name: str, hits: Bools, pairs: Sequence[Pair], weights: Floats) -> Finding:
    """Return the drop between random groups; 0 where no class has two that differ by chance."""
    if not pairs:
        return Finding(name, "drop, random groups", 0.0, (0.0, 0.0), details={"classes": 0})
    (common, counter), drawn = drop(hits, pairs), drop(hits, pairs, weights)
    about = {"classes": len({p.label for p in pairs})}
    return Finding(name, "drop, random groups", common - counter, _between(drawn[0] - drawn[1]), details=about)


def _between(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
