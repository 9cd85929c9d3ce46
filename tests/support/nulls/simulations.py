"""How often the project's intervals hold the truth; ``tools/intervals.py`` writes the table of ``docs/intervals.md``.

Every run draws data from a law whose truth is known, and asks for the 95 % interval, or for the one-sided 95 % bound. A
share of 93 to 97 % of 400 runs is what a right interval gives: its standard error is 1.1 points. Intervals without a
bootstrap have 4,000 runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from diptych.evaluation.outcome import Outcome, intervals
from diptych.evaluation.several import _interval as micro_f1
from diptych.metrics.auroc_intervals import auroc_difference, auroc_gain, auroc_interval
from diptych.metrics.closed_intervals import newcombe, t_mean, wilson
from diptych.metrics.group_drop import over_classes
from diptych.metrics.interval import one_sided_lower
from diptych.metrics.ratio import ratio, ratio_gain
from diptych.metrics.segmentation import miou_difference, miou_gain, miou_interval
from diptych.metrics.two_way import item_gain, item_gain_p, item_mean
from tests.support.nulls import audits as null_audits
from tests.support.nulls.cells import DRAWS, RUNS, Cell, holds
from tests.support.nulls.pixels import pixels, sparse_pixels, true_miou, true_sparse_miou


def hit_table(rng: np.random.Generator, seeds: int, items: int, *, mean: float, spread: float) -> NDArray[np.bool_]:
    """Return (R, N) hits of expected share ``mean``: items are easy or hard, and a seed moves all of them.

    Args:
        rng: of the draw.
        seeds, items: R and N.
        mean: expected share.
        spread: standard deviation of the accuracy between seeds, to first order.
    """
    moved = spread / norm.pdf(norm.ppf(mean)) * np.sqrt(2)
    latent = rng.normal(size=(1, items)) + moved * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, items))
    return np.asarray(latent < norm.ppf(mean) * np.sqrt(2 + moved**2))


def scores(
    rng: np.random.Generator, seeds: int, bad: NDArray[np.bool_], area: float, wide: float = 1.0
) -> NDArray[np.float64]:
    """Return (R, N) scores of expected AUROC ``area``, half of whose variance belongs to the item; those of anomalous
    items are spread ``wide`` times as far.
    """
    common = rng.normal(size=(1, len(bad))) + rng.normal(size=(seeds, len(bad)))
    return np.asarray(np.where(bad, wide, 1.0) * common + bad * np.sqrt(2 + 2 * wide**2) * norm.ppf(area))


def outcome(rng: np.random.Generator, seeds: int, items: int, classes: int) -> list[Outcome]:
    """Return outcomes of seeds on the same items; confidences are right, and lie in (0.3, 0.9)."""
    labels = rng.integers(classes, size=items)
    ease = rng.uniform(0.3, 0.9, size=items)
    outcomes = []
    for _ in range(seeds):
        correct = rng.random(items) < ease
        predicted = np.where(correct, labels, (labels + 1) % classes)
        rank = np.where(correct, 0, 1)
        likelihood = np.log(np.where(correct, ease, 1 - ease))
        outcomes.append(Outcome(labels, predicted, rank, ease, likelihood, classes))
    return outcomes


def true_metric(name: str) -> float:
    """Return what the metric of ``outcome`` tends to."""
    if name == "nll":
        p = np.linspace(0.3, 0.9, 100_001)
        return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean())
    return 0.6


def kept(rng: np.random.Generator, seeds: int, photos: int) -> NDArray[np.float64]:
    """Return (R, N, 2) kept and right pairs of five captions a photo; 0.7 of the kept ones are right."""
    ease = rng.beta(7, 3, size=(1, photos))
    number = rng.binomial(5, 0.5, size=(seeds, photos))
    return np.stack([number, rng.binomial(number, ease)], axis=-1).astype(np.float64)


def several(rng: np.random.Generator, items: int, classes: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (N, K) predictions and truth, of sensitivity 0.7 and false alarms 0.2."""
    truth = rng.random((items, classes)) < rng.beta(2, 4, size=(items, 1))
    return rng.random(truth.shape) < np.where(truth, 0.7, 0.2), truth


MICRO_F1 = 2 * 0.7 / 3 / (0.7 / 3 + 0.2 * 2 / 3 + 1 / 3)


def anomalous(items: int) -> NDArray[np.bool_]:
    """Return (N,) of which half are anomalous."""
    return np.arange(items) % 2 == 0


def _mean(seeds: int, items: int, mean: float, spread: float, rng: np.random.Generator, run: int) -> bool:
    return holds(item_mean(hit_table(rng, seeds, items, mean=mean, spread=spread)), mean)


def _pair(seeds: int, items: int, spread: float, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    latent = rng.normal(size=(1, items))
    moved = spread / norm.pdf(norm.ppf(0.7)) * np.sqrt(2)
    return [latent + moved * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, items)) < 0.7416 for _ in range(2)]


def _gain(seeds: int, items: int, spread: float, rng: np.random.Generator, run: int) -> bool:
    return holds(item_gain(*_pair(seeds, items, spread, rng), run), 0.0)


def _lower(seeds: int, items: int, spread: float, rng: np.random.Generator, run: int) -> bool:
    return holds(one_sided_lower(*_pair(seeds, items, spread, rng), run, draws=DRAWS), 0.0)


def _few(items: int, share: float, rng: np.random.Generator, run: int) -> bool:
    """Tell whether the interval of a gain holds it where few items are won, often none, and none is lost."""
    won = rng.random(items) < share
    return holds(item_gain(won, np.zeros(items), run), share)


def _few_lower(items: int, share: float, rng: np.random.Generator, run: int) -> bool:
    """Tell whether the bound of a gain holds it where few items are not won, often none."""
    won = rng.random(items) >= share
    return holds(one_sided_lower(won, np.zeros(items), run, draws=DRAWS), 1 - share)


def _p(seeds: int, items: int, spread: float, rng: np.random.Generator, run: int) -> bool:
    return item_gain_p(*_pair(seeds, items, spread, rng), run) > 0.05


def _auroc(seeds: int, items: int, area: float, wide: float, rng: np.random.Generator, run: int) -> bool:
    bad = anomalous(items)
    return holds(auroc_interval(scores(rng, seeds, bad, area, wide), bad), area)


def _auroc_gain(seeds: int, items: int, area: float, rng: np.random.Generator, run: int) -> bool:
    bad, common = anomalous(items), rng.normal(size=(1, items))
    first, second = (common + scores(rng, seeds, bad, area) for _ in range(2))
    return holds(auroc_gain(first, second, bad, run, draws=DRAWS), 0.0)


def _auroc_difference(seeds: int, items: int, area: float, rng: np.random.Generator, run: int) -> bool:
    bad, common = anomalous(items), rng.normal(size=(1, items))
    first, second = (common + scores(rng, seeds, bad, area) for _ in range(2))
    return holds(auroc_difference(first, second, bad, run), 0.0)


def _auroc_chance(seeds: int, items: int, rng: np.random.Generator, run: int) -> bool:
    first = scores(rng, seeds, anomalous(items), 0.5)
    return holds(auroc_gain(first, np.zeros_like(first), anomalous(items), run, draws=DRAWS), 0.0)


def _miou(seeds: int, items: int, classes: int, spread: float, rng: np.random.Generator, run: int) -> bool:
    return holds(miou_interval(pixels(rng, seeds, items, classes, spread)), true_miou(classes, spread))


def _sparse(items: int, rng: np.random.Generator, run: int) -> bool:
    return holds(miou_interval(sparse_pixels(rng, items)), true_sparse_miou())


def _miou_gain(seeds: int, items: int, classes: int, rng: np.random.Generator, run: int) -> bool:
    both = pixels(rng, 2 * seeds, items, classes)
    return holds(miou_gain(both[:seeds], both[seeds:], run, draws=DRAWS), 0.0)


def _miou_difference(seeds: int, items: int, classes: int, rng: np.random.Generator, run: int) -> bool:
    both = pixels(rng, 2 * seeds, items, classes)
    return holds(miou_difference(both[:seeds], both[seeds:], run), 0.0)


def _metric(name: str, seeds: int, items: int, classes: int, rng: np.random.Generator, run: int) -> bool:
    ends = intervals(outcome(rng, seeds, items, classes))
    return holds(ends[name], true_metric(name))


def _precision(seeds: int, items: int, rng: np.random.Generator, run: int) -> bool:
    return holds(ratio(kept(rng, seeds, items), run), 0.7)


def _precision_gain(seeds: int, items: int, rng: np.random.Generator, run: int) -> bool:
    both = kept(rng, 2 * seeds, items)
    return holds(ratio_gain(both[:seeds], both[seeds:], run), 0.0)


def _micro_f1(items: int, classes: int, rng: np.random.Generator, run: int) -> bool:
    return holds(micro_f1(*several(rng, items, classes)), MICRO_F1)


def _wilson(items: int, rng: np.random.Generator, run: int) -> bool:
    p = rng.uniform(0.02, 0.98)
    return holds(wilson(int(rng.binomial(items, p)), items), p)


def _newcombe(items: int, rng: np.random.Generator, run: int) -> bool:
    p, q = rng.uniform(0.05, 0.95, size=2)
    a, b = (int(rng.binomial(items, r)) for r in (p, q))
    return holds(newcombe(a, items, b, items), p - q)


def _t(classes: int, sides: int, rng: np.random.Generator, run: int) -> bool:
    return holds(t_mean(rng.normal(size=classes), sides=sides), 0.0)


def _over_classes(classes: int, sides: int, rng: np.random.Generator, run: int) -> bool:
    hits = rng.binomial(10, 0.6, size=(classes, 4))
    return holds(over_classes(((hits[:, :2] - hits[:, 2:]).mean(1) / 10).tolist(), sides=sides), 0.0)


def cells() -> Iterator[Cell]:
    """Yield the rows."""
    for mean in (0.7, 0.9):
        for items in (20, 50, 100, 200):
            yield Cell("mean of items", f"hits, {mean}", 1, items, partial(_mean, 1, items, mean, 0.0), 10 * RUNS)
    for spread in (0.0, 0.01, 0.05, 0.15):
        law = f"seeds differ by {100 * spread:g} points"
        for seeds in (3, 5, 10):
            for items in (20, 200):
                run = partial(_mean, seeds, items, 0.7, spread)
                yield Cell("mean of items", f"hits, 0.7, {law}", seeds, items, run, 5 * RUNS)
    for seeds, items in ((3, 20), (3, 200), (5, 20), (5, 200)):
        run = partial(_mean, seeds, items, 0.95, 0.05)
        yield Cell("mean of items", "hits, 0.95, seeds differ by 5 points", seeds, items, run, 5 * RUNS)
    for name, run in (("paired gain", _gain), ("one-sided bound of a gain", _lower), ("paired p-value, 5 %", _p)):
        for seeds, items in ((1, 20), (1, 50), (1, 200), (3, 20), (3, 200), (5, 20), (5, 50), (5, 200)):
            yield Cell(name, "hits, seeds differ by 0 points", seeds, items, partial(run, seeds, items, 0.0))
        for seeds, spread in ((3, 0.02), (5, 0.02), (10, 0.02), (3, 0.1), (5, 0.1)):
            law = f"hits, seeds differ by {100 * spread:g} points"
            yield Cell(name, law, seeds, 200, partial(run, seeds, 200, spread))
    for share in (0.01, 0.03, 0.1):
        for items in (10, 20, 32, 50, 100):
            law = f"{100 * share:g} % of items"
            yield Cell("paired gain", f"{law} won, none lost", 1, items, partial(_few, items, share))
            yield Cell("one-sided bound of a gain", f"all but {law} won", 1, items, partial(_few_lower, items, share))
    for area in (0.7, 0.95):
        for seeds, items in ((1, 20), (1, 50), (1, 200), (3, 20), (5, 50)):
            yield Cell("AUROC", f"{area}", seeds, items, partial(_auroc, seeds, items, area, 1.0), 5 * RUNS)
    for seeds, items in ((1, 20), (1, 50), (1, 200), (5, 50)):
        run = partial(_auroc, seeds, items, 0.9, 3.0)
        yield Cell("AUROC", "0.9, anomalous scores spread three times as far", seeds, items, run, 5 * RUNS)
    for seeds, items in ((1, 20), (1, 50), (1, 200), (3, 20), (5, 50)):
        yield Cell("one-sided bound of a gain in AUROC", "0.8", seeds, items, partial(_auroc_gain, seeds, items, 0.8))
    for seeds, items in ((1, 20), (1, 50), (5, 20), (5, 50)):
        yield Cell("one-sided bound of a gain in AUROC", "chance", seeds, items, partial(_auroc_chance, seeds, items))
    for seeds, items in ((1, 50), (3, 20), (3, 50), (5, 50)):
        yield Cell("gain in AUROC", "0.8", seeds, items, partial(_auroc_difference, seeds, items, 0.8))
    for classes in (2, 5):
        for seeds, items in ((1, 10), (1, 20), (1, 50), (1, 200), (3, 20), (5, 50)):
            yield Cell("mIoU", f"{classes} classes", seeds, items, partial(_miou, seeds, items, classes, 0.0))
    for seeds, items in ((3, 20), (5, 50)):
        run = partial(_miou, seeds, items, 5, 0.1)
        yield Cell("mIoU", "5 classes, seeds differ by 10 points", seeds, items, run)
    for items in (20, 50, 200):
        yield Cell("mIoU", "12 classes, on a quarter of the images each", 1, items, partial(_sparse, items))
    for classes, seeds, items in ((2, 1, 20), (2, 5, 50), (5, 1, 20), (5, 3, 20), (5, 5, 50)):
        run = partial(_miou_gain, seeds, items, classes)
        yield Cell("one-sided bound of a gain in mIoU", f"{classes} classes", seeds, items, run)
    for seeds, items in ((1, 20), (3, 20), (5, 50)):
        yield Cell("gain in mIoU", "5 classes", seeds, items, partial(_miou_difference, seeds, items, 5))
    for classes, name in ((5, "acc1"), (2, "mean_per_class_recall"), (5, "mean_per_class_recall"), (5, "nll")):
        for seeds, items in ((1, 20), (1, 50), (1, 200), (3, 50), (5, 200)):
            run = partial(_metric, name, seeds, items, classes)
            yield Cell(f"board: {name}", f"{classes} classes", seeds, items, run, 3 * RUNS)
    for seeds, items in ((1, 20), (1, 50), (1, 200), (3, 20), (5, 50)):
        yield Cell("board: precision of curators", "0.7", seeds, items, partial(_precision, seeds, items))
        yield Cell("board: gain in precision", "0.7", seeds, items, partial(_precision_gain, seeds, items))
    for classes in (2, 5):
        for items in (20, 50, 200):
            yield Cell("micro F1", f"{classes} classes", 1, items, partial(_micro_f1, items, classes), 5 * RUNS)
    for items in (20, 50, 200):
        yield Cell("Wilson", "p even in 0.02 to 0.98", 1, items, partial(_wilson, items), 10 * RUNS)
        yield Cell("Newcombe", "p and q even in 0.05 to 0.95", 1, items, partial(_newcombe, items), 10 * RUNS)
    for classes in (2, 3, 4, 5, 10):
        for sides in (2, 1):
            law = "two-sided" if sides == 2 else "one-sided"
            yield Cell("Student over classes", f"normal, {law}", 1, classes, partial(_t, classes, sides), 10 * RUNS)
            yield Cell(
                "Student over classes", f"drops, {law}", 1, classes, partial(_over_classes, classes, sides), 10 * RUNS
            )
    yield from null_audits.cells()
