"""What is spoiled in an arm: names, texts or labels that say something else, or the system itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np

from diptych.core import Card, ClassNames, Evidence, Run

SpoilEvidence: TypeAlias = Callable[[ClassNames, Evidence[Any], Run], tuple[ClassNames, Evidence[Any]]]


@dataclass(frozen=True)
class Altered:
    """What changes the system itself, where what is spoiled is neither name nor evidence.

    Args:
        change: makes the spoiled system from the honest one.
        spoil: makes its names and evidence, where these change too.
        draws: whether the seed decides what is changed.
    """

    change: Callable[[Any, Run], Any]
    spoil: SpoilEvidence | None = None
    draws: bool = True


Spoil: TypeAlias = SpoilEvidence | Altered


def as_subclass(kind: type, *, draws: bool = True) -> Altered:
    """Return what makes an instance of a subclass from a system, with the same settings.

    Args:
        kind: the subclass.
        draws: whether the seed decides what it does, beside what it decides in the system.
    """
    return Altered(
        lambda system, run: kind(**{f.name: getattr(system, f.name) for f in fields(system) if f.init}), draws=draws
    )


def draws_by_seed(spoil: Spoil | None, card: Card) -> bool:
    """Return whether another seed gives another fit of a system, spoiled or not; where none does, one seed is enough.

    Example:
        >>> from diptych.methods.detect.gaussian import Gaussian
        >>> draws_by_seed(None, Gaussian.card), draws_by_seed(shuffled_names, Gaussian.card)
        (False, True)
    """
    spoiled = spoil.draws or spoil.spoil is not None if isinstance(spoil, Altered) else spoil is not None
    return spoiled or card.seeded


def applied(
    spoil: Spoil | None, system: Any, classes: ClassNames, evidence: Evidence[Any], run: Run
) -> tuple[Any, ClassNames, Evidence[Any]]:
    """Return system, names and evidence with what is spoiled."""
    if isinstance(spoil, Altered):
        system, spoil = spoil.change(system, run), spoil.spoil
    return (system, *(spoil(classes, evidence, run) if spoil else (classes, evidence)))


def shuffled_names(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Give every class the name of another one, along one random cycle, so that none keeps its own."""
    order = np.random.default_rng(run.integer("shuffled names")).permutation(len(classes))
    names = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    given = [f for f in ("names", "words") if getattr(classes, f)]
    moved = {f: tuple(getattr(classes, f)[names[k]] for k in range(len(classes))) for f in given}
    return replace(classes, **moved), evidence
