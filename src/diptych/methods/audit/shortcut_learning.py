"""Shortcut learning: which of two features a head follows depends on predictivity and on availability.

    z | y ~ N(y mu, S)                              two latents, of predictivity rho_s <= rho_c
    x     = f_s(a_s w_s z_s) + f_c(a_c w_c z_c)     a_s / a_c: availability of the shortcut
    R     = |mean y'_i sign(z_s,i)| - |mean y'_i sign(z_c,i)|        over a grid of probes
    B     = R(head) - R(best)                                        shortcut bias (``metrics.reliance``)

    bias on pictures = r(informed) - r(uninformed),    r = mean over pictures and squares of y' s - y' c

y' = h(x): decisions -1 or +1 of a head h that was trained on draws of x, or on features of pictures
best: the best decisions for the law of z, sign(z^T S^-1 mu)
c: which of two classes a picture is of, the core feature
s: which of two colours a square in its corner has, the shortcut; its opacity is its availability
informed, uninformed: the head was trained where s agrees with the label in a share rho_s of the pictures, or in half

A linear head that is converged without a penalty has one bias at every availability, near 0. Nonlinear heads follow the
more available feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import (
    AuditData,
    Auditor,
    Control,
    DataError,
    Example,
    Finding,
    Probe,
    Run,
    Samples,
    Subject,
    Subset,
    UsageError,
)
from diptych.core.findings import EXAMPLES
from diptych.core.ranges import at_least, between, check
from diptych.data.markers import Marked
from diptych.features.subjects import embeddings
from diptych.metrics.closed_intervals import at_chance
from diptych.metrics.two_way import item_gain
from diptych.nn.two_class_head import Bools, Cued, Head

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST = 10
"""Pictures that each of the two classes must have in each half."""


def two_classes(probe: Probe, most: int, rng: np.random.Generator) -> tuple[Ints, Ints, Bools]:
    """Return positions of pictures of the two largest classes, (N,), which is which, -1 or +1, and a mask of half.

    Args:
        probe: a table with labels and at least two classes.
        most: pictures of both classes together, at most.
        rng: draws the pictures and the halves.

    Raises:
        DataError: there are fewer than two classes, or a class has too few pictures.
    """
    labels, names = probe.table.labels(), probe.named().names
    counts = np.bincount(labels, minlength=len(names))
    if len(names) < 2:
        raise DataError("Only one class: heads need two.")
    sides = np.argsort(-counts, kind="stable")[:2]
    n = min(most // 2, int(counts[sides].min()))
    if n < 2 * LEAST:
        raise DataError(
            f"{names[sides[1]]} has {counts[sides[1]]} pictures, and both classes need {2 * LEAST}: give more."
        )
    rows = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:n] for k in sides])
    return rows, np.repeat([-1, 1], n), np.tile(np.arange(n) < n // 2, 2)


@dataclass(frozen=True)
class ShortcutLearning(Auditor):
    """Train heads on a model's features where a square of set visibility also predicts the label.

    Use it to see how visible a spurious mark must be before heads on these features follow it instead of the class.

    Args:
        shortcut: rho_s, share of training pictures whose square agrees with the label, in (0, 1); 0.85.
        core: rho_c, the same of the class, in (0, 1); 0.9 (the paper's).
        opacities: of the square, each in (0, 1] (ours).
        draws: trainings a head and opacity, >= 2; 10 (ours).
        most: pictures of the two classes together, >= 40; 160 (ours).
        heads: name -> head; a penalised logistic head (features outnumber pictures, so without a penalty there is no
            minimum) and a network with one hidden layer (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Hermann et al. 2024.

    Example:
        Decisions that follow the shortcut alone, where it disagrees with the class in one of two pictures:

        >>> from diptych.metrics.reliance import reliance
        >>> reliance(np.array([1, 1]), np.array([[1.0, 1.0], [1.0, -1.0]]))
        1.0
    """

    shortcut: float = 0.85
    core: float = 0.9
    opacities: tuple[float, ...] = (0.1, 0.3, 1.0)
    draws: int = 10
    most: int = 160
    heads: tuple[tuple[str, Head], ...] = (
        ("linear head", Head(c=0.01)),
        ("network", Head(depth=1, width=32, epochs=60)),
    )

    def __post_init__(self) -> None:
        check(self, between(0, 1, "()"), "shortcut", "core")
        check(self, at_least(2), "draws")
        check(self, at_least(4 * LEAST), "most")
        if not self.opacities or any(not 0 < o <= 1 for o in self.opacities):
            raise UsageError(f"opacities must be in (0, 1], at least one, got {self.opacities}.")

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack: one table in distribution, with labels and classes."""
        return data.lacks_labels()

    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Measure how far heads on each model's features follow the square.

        Returns:
            A finding "shortcut_bias" about each head and opacity, in [-2, 2]: how much further decisions go with the
            square, and away from the class, than those of the same head where squares say nothing. Its control
            compares two heads for which squares say nothing.

        Raises:
            UsageError: there is no subject.
            MissingPart: a kit has no backbone.
            DataError: there is not exactly one table in distribution, or it has no labels.
        """
        self.check(subjects, data)
        return [f for name, subject in subjects.items() for f in self._of(name, subject, data, run)]

    def _of(self, name: str, subject: Subject, data: AuditData, run: Run) -> Iterator[Finding]:
        key, probe = data.one()
        try:
            rows, core, train = two_classes(probe, self.most, np.random.default_rng(run.integer("two classes")))
        except DataError as error:
            embeddings(subject, Subset(probe.table.items, ()), run)  # a kit without a backbone is named all the same
            yield Finding.not_testable(name, "shortcut_bias", str(error), count=len(probe.table))
            return
        pictures = Subset(probe.table.items, tuple(rows.tolist()))
        for opacity in self.opacities:
            cued = Cued(cued_features(subject, pictures, opacity, run), core, train)
            for word, head in self.heads:
                yield self._finding(name, f"{word}, square at {100 * opacity:g} %", head, cued, key, pictures, run)

    def _finding(
        self, name: str, about: str, head: Head, cued: Cued, key: str, pictures: Samples[object], run: Run
    ) -> Finding:
        seeds = [run.integer(f"{about} {i}") for i in range(2 * self.draws)]
        first, second = seeds[: self.draws], seeds[self.draws :]
        informed = np.stack([cued.decisions(head, self.shortcut, self.core, s) for s in first])
        blind, other = (np.stack([cued.decisions(head, 0.5, self.core, s) for s in draws]) for draws in (first, second))
        right = int((blind[0] == cued.core[~cued.train]).mean(axis=0).sum())  # both squares are on one picture
        if reason := at_chance(right, blind.shape[2], 0.5):
            return Finding.not_testable(name, "shortcut_bias", reason, about=about, count=int((~cued.train).sum()))
        with_cue, plain, again = (np.stack([cued.reliance(d) for d in draws]) for draws in (informed, blind, other))
        bias, none = (item_gain(v, plain, run.integer(about)) for v in (with_cue, again))
        follows, anyway = (float(np.mean([cued.followed(d) for d in draws])) for draws in (informed, blind))
        probes, squares = np.flatnonzero(~cued.train), np.array([[-1], [1]])
        against = ((informed == squares) & (squares != cued.core[~cued.train])).sum(axis=(0, 1))
        worst = np.argsort(-against, kind="stable")[:EXAMPLES]
        return Finding(
            name, "shortcut_bias", bias.value, (bias.low, bias.high), about,
            {"follows_square": follows, "follows_square_anyway": anyway, "predictivity": [self.shortcut, self.core]},
            unit="reliance", range=(-2.0, 2.0), count=len(probes), units=(with_cue - plain).mean(axis=0),
            control=Control("bias_of_squares_that_say_nothing", none.value, (none.low, none.high)),
            examples=tuple(
                Example(key, pictures.key(int(probes[i])), f"{against[i]} of {self.draws} heads follow the square")
                for i in worst if against[i]
            ),
            says=f"Where class and square disagree, it goes with the square in {100 * follows:.0f} % of its decisions "
            f"({about}), and in {100 * anyway:.0f} % where squares said nothing in training.",
            advice="Look for marks that go with a label in the training pictures, and test on pictures in which they "
            "disagree.",
        )  # fmt: skip


def cued_features(subject: Subject, pictures: Samples[object], opacity: float, run: Run) -> Floats:
    """Return (2, N, D) features of N pictures with the orange and with the blue square, of norm sqrt(D).

    Raises:
        MissingPart: the kit has no backbone.
        UnreadableItem: a picture cannot be read.
    """
    n = len(pictures)
    both = [embeddings(subject, Marked(pictures, (side,) * n, opacity), run).double().numpy() for side in (-1, 1)]
    return np.asarray(np.stack(both) * np.sqrt(both[0].shape[1]))
