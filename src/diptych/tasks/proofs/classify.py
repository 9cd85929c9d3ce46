"""Proofs of classifiers: gains over a baseline on labelled photos, and the same system with the one thing spoiled that it lives on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from diptych.core.data import ClassNames, Column, Evidence, Table
from diptych.core.errors import UsageError
from diptych.core.run import Run

CHANCE = "chance"
"""The baseline that draws a class at random: 1/K expected hits an item."""

Spoil: TypeAlias = Callable[[ClassNames, Evidence[Any], Run], tuple[ClassNames, Evidence[Any]]]


@dataclass(frozen=True)
class Claim:
    """One gain that must show.

    Args:
        over: slug of the baseline, or ``CHANCE``.
        shots: train items a class; 0 for systems that see none.
    """

    over: str
    shots: int


@dataclass(frozen=True)
class Trial:
    """The proof of one classifier.

    Args:
        claims: all must show.
        spoil: makes the control's names and evidence from the honest ones.
        control_over: what the control must not beat, at the shots of each claim.
        variant: row of the card that is proved; "" is the default.
    """

    claims: tuple[Claim, ...]
    spoil: Spoil
    control_over: str
    variant: str = ""


def shuffled_labels(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Permute the labels of train among its items; val keeps its own, so that choices can only help the control."""
    if evidence.train is None:
        raise UsageError("There are no train labels to shuffle: this control needs shots.")
    labels = np.random.default_rng(run.integer("shuffled labels")).permutation(evidence.train.labels())
    train: Table[Any] = Table(evidence.train.items, {**evidence.train.columns, "label": Column("label", labels)})
    return classes, replace(evidence, train=train)


def shuffled_names(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Give every class the name of another one, along one random cycle, so that none keeps its own."""
    order = np.random.default_rng(run.integer("shuffled names")).permutation(len(classes))
    names = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return replace(classes, names=tuple(classes.names[names[k]] for k in range(len(classes)))), evidence


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "zero-shot": Trial((Claim(CHANCE, 0),), shuffled_names, CHANCE, variant="ensemble"),
        "linear-probe": Trial((Claim("zero-shot", 16),), shuffled_labels, CHANCE),
        "tip-adapter": Trial(tuple(Claim("zero-shot", s) for s in (1, 4, 16)), shuffled_labels, "zero-shot"),
        "tip-adapter-f": Trial((Claim("tip-adapter", 16),), shuffled_labels, "zero-shot"),
        "gda": Trial((Claim("tip-adapter", 16), Claim("zero-shot", 4), Claim("zero-shot", 16)), shuffled_labels, "zero-shot"),
    }
)
