"""Axis of visual factors: accuracy on the same pictures, one thing changed; and of conflicting cues: pictures whose
shape is of one class and whose texture is of another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diptych.core import Control, Example, Finding, Run
from diptych.data.factors import WORDS
from diptych.metrics.axes.common import half_of, points, too_few
from diptych.metrics.closed_intervals import at_chance, wilson
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import bootstrap_mean

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def error_ratio(plain: Bools, changed: Bools) -> float:
    """Return ER_f of the hits on the plain and on the changed pictures; 1 where there are no errors on either."""
    wrong = [1 - float(hits.mean()) for hits in (plain, changed)]
    return 1.0 if not any(wrong) else float("inf") if not wrong[0] else wrong[1] / wrong[0]


def worst_beyond_mean(hits: Bools, first: Bools) -> Floats:
    """Return by how much the worst factor is below the mean of all factors, (N,) values whose mean is the effect.

    Each half of the items names the factor that the other half measures: on the same items some factor would always be
    worst.

    Args:
        hits: (F, N) hits under F factors.
        first: (N,) mask of one half.
    """
    values = np.zeros(hits.shape[1])
    for named, measured in ((first, ~first), (~first, first)):
        worst = int(hits[:, named].mean(axis=1).argmin())
        values[measured] = hits[:, measured].mean(axis=0) - hits[worst, measured]
    return values


def beyond_interval(values: Floats, first: Bools, seed: int) -> Interval:
    """Return the mean of ``worst_beyond_mean`` with its 95 % interval, whose ends are means over the two halves.

    The interval of one half is right, since the other names the factor. Two halves that agree by chance move both
    means at once, to an unknown degree: means of the ends are right where the halves correlate fully, and too wide
    elsewhere. An interval over all items holds the truth in 88 to 90 % of runs where the factors are alike.

    Args:
        values: (N,) of ``worst_beyond_mean``.
        first: (N,) mask of one half.
        seed: of the bootstraps.
    """
    halves = [bootstrap_mean(values[half][None], seed, possible=(-1.0, 1.0)) for half in (first, ~first)]
    low, high = np.mean([(half.low, half.high) for half in halves], axis=0)
    return Interval(float(values.mean()), float(low), float(high))


def shuffled_factors(hits: Bools, rng: np.random.Generator) -> Bools:
    """Return (F, N) hits whose factors are drawn at random for each item: the control, in which none is worst."""
    return rng.permuted(hits, axis=0)


def factor_drop(
    name: str, factor: str, plain: Bools, changed: Bools, examples: tuple[Example, ...], run: Run
) -> Finding:
    """Return the drop of one factor, paired by picture; its control tosses which of the two answers is the changed one.

    Args:
        name: of the model.
        factor: name of the factor; one of ``data.factors``, or of any other pairs of answers.
        plain: (N,) hits on the pictures as they are.
        changed: (N,) hits under the factor.
        examples: pictures that are right as they are, and wrong under the factor.
        run: seed of the bootstrap and the control.
    """
    gap, word = plain.astype(np.float64) - changed, WORDS.get(factor, f"under the factor {factor}")
    coins = np.random.default_rng(run.integer(f"coins {factor}")).choice([-1.0, 1.0], size=len(gap))
    drop, swapped = (bootstrap_mean(v[None], run.integer(factor), possible=(-1.0, 1.0)) for v in (gap, gap * coins))
    return Finding(
        name, "drop", drop.value, (drop.low, drop.high), factor,
        {"error_ratio": error_ratio(plain, changed), "accuracy": float(changed.mean())},
        count=len(gap), harm=max(0.0, drop.low), examples=examples, units=gap,
        control=Control("drop_plain_and_changed_swapped", swapped.value, (swapped.low, swapped.high)),
        says=f"{points(drop.value)} on the same pictures, {word}.",
        advice=f"Add copies of your training pictures, {word}, or keep such pictures out.",
    )  # fmt: skip


def worst_factor(name: str, factors: tuple[str, ...], hits: Bools, run: Run) -> Finding:
    """Return by how much the worst of F factors is below the mean of all, with factors drawn at random as the control;
    ``hits`` are (F, N).
    """
    first = half_of(hits.shape[1], run, "worst")
    random = shuffled_factors(hits, np.random.default_rng(run.integer("random factors")))
    worst, control = (beyond_interval(worst_beyond_mean(h, first), first, run.integer("worst")) for h in (hits, random))
    return Finding(
        name, "worst_factor", worst.value, (worst.low, worst.high), count=hits.shape[1],
        details={"factor": factors[int(hits.mean(axis=1).argmin())]},
        control=Control("worst_of_random_factors", control.value, (control.low, control.high), above=True),
    )  # fmt: skip


Ints = NDArray[np.int64]


def cues(predicted: Ints, shapes: Ints, textures: Ints) -> tuple[int, int, int]:
    """Return (answers that name the shape, those that name the texture, pictures whose two classes differ)."""
    differ = shapes != textures
    return int((predicted == shapes)[differ].sum()), int((predicted == textures)[differ].sum()), int(differ.sum())


def shape_bias(name: str, about: str, predicted: Ints, shapes: Ints, textures: Ints, classes: int, run: Run) -> Finding:
    """Return the share of answers that name the shape, among those that name shape or texture.

    It is not testable where both together are named no more often than two classes at random. The control tosses which
    of the two cues is called the shape.

    Args:
        name: of the model.
        about: name of the table.
        predicted: (N,) class positions.
        shapes: (N,) class positions of the shapes.
        textures: (N,) class positions of the textures.
        classes: K.
        run: seed of the control.
    """
    shape, texture, n = cues(predicted, shapes, textures)
    decided = shape + texture
    if reason := too_few(n) or at_chance(decided, n, min(0.99, 2 / classes)):
        return Finding.not_testable(name, "shape_bias", reason, about=about, count=n)
    coins = int(np.random.default_rng(run.integer("cues")).binomial(decided, 0.5))
    value = shape / decided
    return Finding(
        name, "shape_bias", value, wilson(shape, decided), about,
        {"answers": decided / n, "shape": shape, "texture": texture},
        range=(0.0, 1.0), count=decided, counted="answers",
        control=Control("cues_swapped_at_random", coins / decided, wilson(coins, decided), expected=0.5),
        says=f"Where shape and texture speak for two classes, it follows the shape in {100 * value:.0f} % of its "
        f"answers, the texture in the others.",
        advice="A model that follows texture fails on drawings, logos and unusual materials: try a larger CLIP.",
    )  # fmt: skip
