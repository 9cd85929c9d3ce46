"""Proof of the holistic audit: factors, one temperature, classes without a name, and conflicting cues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, ClassNames, DataError, Run, Samples, Subject, Subset
from diptych.data.cues import read_cues
from diptych.data.factors import FACTORS, Altered
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.words.classnames import tidy
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import Floats
from diptych.features.subjects import answers, class_scores, embeddings
from diptych.metrics.axes.calibration import drawn, log_likelihood, outlier_scores
from diptych.metrics.axes.common import half_of
from diptych.metrics.axes.factors import shuffled_factors, worst_beyond_mean
from diptych.metrics.calibration import fit_temperature
from diptych.metrics.outliers import maximum_probability, nearest
from proofs.trial import Tabled, Trial, each_seed, hash_of, over

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
MOST = 400
"""Pictures of a set that are altered by every factor."""
PHOTOS, CUES = ("cifar10_small", "caltech40"), ("cue_conflict16",)


def open_axes(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the axes that a data set has: conflicting cues where its table names textures, else all others.

    Raises:
        DataError: fewer than four classes, which have to be halved.
    """
    folder = present(name)
    listing = folder / "labels.csv"
    if listing.is_file() and "texture_class" in listing.read_text(encoding="utf-8").partition("\n")[0]:
        return _cues(listing, backbone, run, seeds)
    data = open_data(folder, need="classes")
    table = data.split("test") if "test" in data.splits else data.split("val")
    classes = ClassNames(tuple(tidy(c) for c in data.classes), ENSEMBLE)
    if len(classes) < 4:
        raise DataError(f"{name} has {len(classes)} classes, and half of them must be two at least: give four.")
    order = np.random.default_rng(0).permutation(len(table))[:MOST]
    rows = np.sort(order)
    items, labels = Subset(table.items, tuple(rows.tolist())), table.labels()[rows]
    values = _factors(Subject.of(backbone), classes, items, labels, run, seeds)
    values |= _unknown(Subject.of(backbone), classes, items, labels, run, seeds)
    facts = {"data_hash": hash_of(items), "items": len(items), "classes": len(classes), "factors": list(FACTORS)}
    return Tabled(backbone, run, seeds, "value", facts, values)


def _factors(
    subject: Subject, classes: ClassNames, items: Samples[object], labels: Ints, run: Run, seeds: tuple[int, ...]
) -> dict[str, Floats]:
    """Return values of the worst factor and of temperatures; seeds draw halves, permutations and random factors."""
    plain = answers(subject, classes, items, labels, run)
    altered = {factor: answers(subject, classes, Altered(items, factor), labels, run) for factor in FACTORS}
    hits = np.array([a.hits for a in altered.values()])

    def once(of_seed: Run) -> dict[str, Floats]:
        first = half_of(len(labels), of_seed, "halves")
        random = shuffled_factors(hits, np.random.default_rng(of_seed.integer("random factors")))
        taught = permuted(labels, first, of_seed)
        lucky = drawn(plain.logits, np.random.default_rng(of_seed.integer("drawn labels")))
        return {
            "worst factor": worst_beyond_mean(hits, first),
            "random factors": worst_beyond_mean(random, first),
            "temperature": cross_fitted(plain.logits, labels, first, labels),
            "permuted labels": cross_fitted(plain.logits, labels, first, taught),
            "own probabilities": cross_fitted(plain.logits, lucky, first, lucky),
            "temperature, factors": _carried(plain.logits, [a.logits for a in altered.values()], labels, first, labels),
            "permuted labels, factors": _carried(
                plain.logits, [a.logits for a in altered.values()], labels, first, taught
            ),
        }

    drops = {
        f"drop, {factor}": np.tile(plain.hits.astype(float) - a.hits, (len(seeds), 1)) for factor, a in altered.items()
    }
    zeros = {"none": np.zeros((len(seeds), len(labels)))}
    return each_seed(once, run, seeds) | drops | zeros


def _carried(plain: Floats, altered: list[Floats], labels: Ints, first: NDArray[np.bool_], taught: Ints) -> Floats:
    """Return the gain in log-likelihood under factors, (N,), by temperatures of plain pictures of the other half."""
    gain = np.zeros(len(labels))
    for fitted, measured in ((first, ~first), (~first, first)):
        t = fit_temperature(plain[fitted], taught[fitted])
        each = [
            log_likelihood(z[measured], labels[measured], t) - log_likelihood(z[measured], labels[measured])
            for z in altered
        ]
        gain[measured] = np.mean(each, axis=0)
    return gain


def _unknown(
    subject: Subject, classes: ClassNames, items: Samples[object], labels: Ints, run: Run, seeds: tuple[int, ...]
) -> dict[str, Floats]:
    """Return, for each item, the share of items of nameless classes that score lower; seeds draw the named classes."""
    vectors = embeddings(subject, items, run).double().numpy()

    def once(of_seed: Run) -> dict[str, Floats]:
        rng = np.random.default_rng(of_seed.integer("named classes"))
        order = rng.permutation(len(classes))
        values = {k: np.zeros(len(labels)) for k in ("mcm", "energy", "scaled", "nearest", "own halves")}
        for named in (order[: len(order) // 2], order[len(order) // 2 :]):
            names = ClassNames(tuple(classes.names[k] for k in sorted(named)), classes.templates)
            scores = class_scores(subject, names, items, run)
            inside = np.isin(labels, named)
            shown = np.flatnonzero(inside)
            scored = outlier_scores(scores)
            scored["scaled"] = maximum_probability(100 * scores.values.double().numpy())
            for key, score in scored.items():
                values[key][inside] = _below(score[inside], score[~inside])
            half = rng.permutation(shown)
            sides = half[: len(half) // 2], half[len(half) // 2 :]
            for one, other in (sides, sides[::-1]):
                values["own halves"][one] = _below(scored["mcm"][one], scored["mcm"][other])
                bank = vectors[other]
                k = min(10, len(bank))
                values["nearest"][one] = _below(nearest(vectors[one], bank, k), nearest(vectors[~inside], bank, k))
        return {**values, "a coin": np.full(len(labels), 0.5)}

    return each_seed(once, run, seeds)


def _below(inside: Floats, outside: Floats) -> Floats:
    """Return the share of outside scores below each inside score, ties half: their mean is AUROC."""
    ranked = np.sort(outside)
    return (np.searchsorted(ranked, inside, "left") + np.searchsorted(ranked, inside, "right")) / (2 * len(outside))


def _cues(listing: Path, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure answers to pictures whose shape and texture are of two classes; seeds draw whose cues the control has."""
    data = read_cues(listing)
    photos, classes = data.split("test"), ClassNames(tuple(tidy(c) for c in data.classes), ENSEMBLE)
    items, shapes, n = photos.items, photos.labels(), len(photos)
    textures = np.array([data.classes.index(t) for t in photos.columns["texture"].values])
    predicted = answers(Subject.of(backbone), classes, items, shapes, run).predicted

    def once(of_seed: Run) -> dict[str, Floats]:
        other = np.random.default_rng(of_seed.integer("other pictures")).permutation(n)
        named = {
            "shape": predicted == shapes,
            "texture": predicted == textures,
            "shape or texture": (predicted == shapes) | (predicted == textures),
            "cues of other pictures": (predicted == shapes[other]) | (predicted == textures[other]),
            "two classes at random": np.full(n, 2 / len(classes)),
        }
        return {key: value.astype(np.float64) for key, value in named.items()}

    facts = {"data_hash": hash_of(items), "items": n, "classes": len(classes)}
    return Tabled(backbone, run, seeds, "value", facts, each_seed(once, run, seeds))


TRIAL = Trial(
    (
        over("none", "worst factor", "worst factor, below the mean of all factors", PHOTOS),
        over("none", "temperature", "log-likelihood gained by a temperature, in distribution", PHOTOS),
        over("permuted labels", "temperature", "log-likelihood gained over a temperature of permuted labels", PHOTOS),
        over("none", "temperature, factors", "log-likelihood gained by the same temperature, under factors", PHOTOS),
        over("a coin", "mcm", "AUROC of MCM, classes without a name", PHOTOS),
        over("two classes at random", "shape or texture", "answers that name one of two cues", CUES),
    ),
    controls=(
        over("none", "random factors", "factors drawn at random for each picture", PHOTOS),
        over("none", "own probabilities", "temperature, where labels are drawn from the model's probabilities", PHOTOS),
        over("a coin", "own halves", "AUROC between halves of the named classes", PHOTOS),
        over("two classes at random", "cues of other pictures", "cues of other pictures", CUES),
    ),
    beside={
        "temperature of permuted labels, under factors": over(
            "permuted labels, factors", "temperature, factors", on=PHOTOS
        ),
        "AUROC of MCM, on scaled cosines": over("scaled", "mcm", on=PHOTOS),
        "AUROC of the energy": over("energy", "mcm", on=PHOTOS),
        "AUROC of the nearest neighbours": over("nearest", "mcm", on=PHOTOS),
        "answers that name the texture": over("texture", "shape", on=CUES),
        **{f"drop, {factor}": over("none", f"drop, {factor}", on=PHOTOS) for factor in FACTORS},
    },
    bench=open_axes,
)


def cross_fitted(logits: Floats, labels: Ints, first: Bools, taught: Ints) -> Floats:
    """Return the gain in log-likelihood by a temperature, (N,): each half is scaled by that of the other half.

    Args:
        logits: (N, K).
        labels: (N,) true class positions.
        first: (N,) mask of one half.
        taught: (N,) labels that the temperature is fitted on; ``labels``, or permuted ones, by which any softening that
            knows nothing of the answers shows what it gains.
    """
    gain = np.zeros(len(labels))
    for fitted, measured in ((first, ~first), (~first, first)):
        t = fit_temperature(logits[fitted], taught[fitted])
        z, y = logits[measured], labels[measured]
        gain[measured] = log_likelihood(z, y, t) - log_likelihood(z, y)
    return gain


def permuted(labels: Ints, first: Bools, run: Run) -> Ints:
    """Return (N,) labels permuted within each half, so that each half keeps its counts."""
    rng, taught = np.random.default_rng(run.integer("permuted labels")), labels.copy()
    for half in (first, ~first):
        taught[half] = rng.permutation(taught[half])
    return taught
