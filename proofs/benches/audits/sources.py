"""Proof of quality not quantity: lines of models trained on two sources, on a mixture, and on the first source alone.

Its models are checkpoints of CLIPs trained on scenes, see ``scene_sources``. Heads on features of photographs are what
``diptych audit sources`` trains; they are measured beside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor, cat
from torch.nn.functional import normalize

from diptych.core import Backbone, ClassNames, DataError, Run, Samples, Subset
from diptych.data.factors import WORDS, Altered
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Floats
from diptych.evaluation.datasets import known_set
from diptych.features.embed import embed
from diptych.metrics.source_lines import Points
from diptych.metrics.trend import Line
from diptych.tasks.audit.sources import Sources, drawn, head, ladder
from proofs.benches.audits.mixed_lines import mixed_slope
from proofs.benches.audits.scene_sources import (
    BOTH,
    CLOSED,
    FIRST,
    MIXTURE,
    MORE,
    SECOND,
    SLOW,
    open_scene_sources,
)
from proofs.trial import Tabled, Trial, hash_of, over

Ints = NDArray[np.int64]

GAUSSIANS, DOMAINS, FACTOR = "gaussians", ("cartoon", "sketch"), "color"
"""The closed form; two domains of pacs_small; the factor of the second source elsewhere.

Both were chosen by one criterion: heads of both sources are above chance on both tests, and reach some of the same
reference accuracies. The domains were compared on halves of pacs_small, which overlap the tests here, and no other two
meet it; photos and sketches were tried first. The factors were compared on training photographs that this proof does
not read: heads on stripes are at chance, and heads on four levels a channel fall short of the range.
"""
TRAIN, TEST, MOST = 64, 50, 32
"""Training pictures and test pictures of a class; the largest training size of a class."""
DRAWS = 2
"""Heads of each source and size, a seed."""
HALVES = "halves of the first"
MIXED: Mapping[str, tuple[int, ...]] = {FIRST: (0,), SECOND: (1,), MIXTURE: (0, 1), HALVES: (2, 3)}
"""Name -> the pools of which training pictures are drawn in equal shares."""

WIDTH, SIZES, DIRECTIONS = 20, (25, 50, 100, 200, 400), 40
"""Dimensions of the Gaussians, their training sizes, and training sets of a size, a seed."""
MEANS = {"first": (1.0, 0.3), "second": (0.6, 0.9), "reference": (1.0, 0.0), "shifted": (0.3, 1.0)}
"""m_A, m_B, m_1 and m_2 in their first two dimensions; the others are 0."""
SHARES = {FIRST: 1.0, MIXTURE: 0.5, SECOND: 0.0}
"""Share of items of the first source."""


@dataclass(frozen=True)
class Task:
    """Unit embeddings of what is trained and tested.

    Args:
        train: (M, D) embeddings of training rows, and their (M,) labels.
        tests: embeddings and labels of the reference and of the shift.
        rows: training rows of the first and of the second source.
        paired: whether both sources show the same pictures in the same order; each seed then gives half to each.
        classes: K.
    """

    train: tuple[Tensor, Ints]
    tests: tuple[tuple[Tensor, Ints], ...]
    rows: tuple[Ints, Ints]
    paired: bool
    classes: int

    def pools(self, rng: np.random.Generator) -> list[Ints]:
        """Return rows of both sources, then of two halves of the first; no picture is in two sources."""
        labels, (first, second) = self.train[1], self.rows
        if self.paired:
            kept = halved(labels[first], rng)
            first, second = first[kept], second[~kept]
        half = halved(labels[first], rng)
        return [first, second, first[half], first[~half]]


def halved(labels: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a random half of each class as a mask (N,)."""
    mask = np.zeros(len(labels), dtype=bool)
    for k in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == k))
        mask[rows[: len(rows) // 2]] = True
    return mask


def open_sources(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the effective robustness of heads over the line of the first source; seeds draw training pictures.

    On "gaussians" the line is that of the closed form, and "scenes" have towers in the place of heads. Where the table
    has domains, the sources are two of them; elsewhere they are photographs and altered copies of other photographs.

    Raises:
        DataError: a class has too few pictures.
    """
    if name == GAUSSIANS:
        return _gaussians(backbone, run, seeds)
    if name in SCENES:
        return open_scene_sources(backbone, run, seeds)
    data = open_data(present(name), need="classes")
    classes = ClassNames(tuple(tidy(c) for c in data.classes))
    known = known_set(name)
    if known and known.group:
        task, facts = _domains(name, known.group, backbone, classes, run)
    else:
        test = data.split("test") if "test" in data.splits else data.split("val")
        train = data.split("train")
        task, facts = _copies((train.items, train.labels()), (test.items, test.labels()), backbone, classes, run)
    answered = []
    with run.track("heads", len(seeds)) as bar:
        for seed in seeds:
            answered.append(_hits(task, replace(run, seed=seed)))
            bar.advance()
    every = {word: _points([hits for of in answered for hits in of[word]]) for word in answered[0]}
    first = every[FIRST]
    line = first.line(len(task.tests[0][1]))
    values = {word: np.stack([_robust(of[word], first, line, word) for of in answered]) for word in every}
    others = {word: _reached(models, first, line.items) for word, models in every.items()}
    return Tabled(backbone, run, seeds, "effective_robustness", facts, values, others)


def _hits(task: Task, run: Run) -> dict[str, list[tuple[Floats, Floats]]]:
    """Return the hits of the heads of each source on the reference and under the shift, (N,) each."""
    labels, rng = task.train[1], np.random.default_rng(run.integer("sources"))
    pools = task.pools(rng)
    most = min(MOST, *(int(np.bincount(labels[pool]).min()) for pool in pools[:2]))
    logits: dict[str, list[list[Tensor]]] = {}
    for size in ladder(most):
        for _ in range(DRAWS):
            for word, parts in MIXED.items():
                rows = drawn(labels, [pools[p] for p in parts], size, rng)
                w, b = head(task.train[0][rows], labels[rows], task.classes)
                logits.setdefault(word, []).append([z @ w.T + b for z, _ in task.tests])
    both = zip(logits[FIRST], logits[SECOND], strict=True)
    logits[BOTH] = [[x + y for x, y in zip(a, b, strict=True)] for a, b in both]
    first, second = (y for _, y in task.tests)
    return {
        word: [((x.argmax(1).numpy() == first) * 1.0, (y.argmax(1).numpy() == second) * 1.0) for x, y in of]
        for word, of in logits.items()
    }


def _points(hits: Sequence[tuple[Floats, Floats]]) -> Points:
    return Points(np.array([x.mean() for x, _ in hits]), np.array([y.mean() for _, y in hits]))


def _robust(hits: Sequence[tuple[Floats, Floats]], first: Points, line: Line, word: str) -> Floats:
    """Return effective robustness item by item, (N,): the mean over heads in the range of the first source."""
    kept = [y - line.at(x.mean()) for x, y in hits if first.x.min() <= x.mean() <= first.x.max()]
    if not kept:
        raise DataError(f"No head of {word} reaches a reference accuracy of the first source: give other sources.")
    return np.asarray(np.mean(kept, axis=0))


def _reached(points: Points, first: Points, items: int) -> dict[str, float]:
    """Return the line of all heads of a source, their number, and the share in the range of the first source."""
    line = points.line(items)
    return {
        "slope": line.slope, "intercept": line.intercept, "models": float(len(points)),
        "acc1_reference": float(points.x.mean()), "acc1_shift": float(points.y.mean()),
        "within_range_of_first": len(points.within(first)) / len(points),
    }  # fmt: skip


def _domains(
    name: str, group: str, backbone: Backbone, classes: ClassNames, run: Run
) -> tuple[Task, dict[str, object]]:
    data = open_data(present(name), need="groups", group=group)
    sources = Sources.of(data.whole(), classes, DOMAINS, replace(run, seed=0))
    z, labels = normalize(embed(backbone.image, sources.table.items, run), dim=-1), sources.table.labels()
    first, second = (sources.train[source] for source in DOMAINS)
    tests = tuple((z[rows], labels[rows]) for rows in (sources.test[source] for source in DOMAINS))
    used = Subset(
        sources.table.items, tuple(int(i) for half in (sources.train, sources.test) for s in DOMAINS for i in half[s])
    )
    facts = {"data_hash": hash_of(used), "items": len(tests[1][1]), "classes": len(classes), "sources": list(DOMAINS)}
    return Task((z, labels), tests, (first, second), False, len(classes)), facts


def _copies(
    train: tuple[Samples[object], Ints], test: tuple[Samples[object], Ints], backbone: Backbone, classes: ClassNames,
    run: Run,
) -> tuple[Task, dict[str, object]]:  # fmt: skip
    read, labels = [], []
    for (items, y), most in ((train, TRAIN), (test, TEST)):
        rows = np.concatenate([np.flatnonzero(y == k)[:most] for k in range(len(classes))])
        read.append(Subset(items, tuple(rows.tolist())))
        labels.append(y[rows])
    z = [
        normalize(embed(backbone.image, items, run), dim=-1)
        for probe in read for items in (probe, Altered(probe, FACTOR))
    ]  # fmt: skip
    n = len(read[0])
    both = cat(z[:2]), np.concatenate([labels[0], labels[0]])
    facts = {
        "data_hash": hash_of(*read),
        "items": len(read[1]),
        "classes": len(classes),
        "composite": f"photographs, and copies of other photographs {WORDS[FACTOR]}",
    }
    sources = np.arange(n, dtype=np.int64), n + np.arange(n, dtype=np.int64)
    return Task(both, ((z[2], labels[1]), (z[3], labels[1])), sources, True, len(classes)), facts


def _gaussians(backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure effective robustness over the closed form of the first source, (seeds, sizes x training sets).

    Weights are means of drawn items; their accuracies are exact.
    """
    means = {word: np.pad(np.array(m), (0, WIDTH - 2)) for word, m in MEANS.items()}
    a, b, reference, shifted = (means[word] for word in ("first", "second", "reference", "shifted"))
    closed = {w: mixed_slope(a, b, reference, shifted, share) for w, share in SHARES.items()}
    table: dict[str, list[Floats]] = {}
    reached: dict[str, list[Floats]] = {}
    for seed in seeds:
        rng = np.random.default_rng(replace(run, seed=seed).integer(GAUSSIANS))
        for word, sources in {FIRST: (a, a), SECOND: (b, b), MIXTURE: (a, b), HALVES: (a, a)}.items():
            halves = [
                [m + rng.normal(size=(DIRECTIONS, n // 2, WIDTH)).mean(axis=1) for m in sources] for n in SIZES
            ]  # fmt: skip
            w = np.concatenate([np.mean(half, axis=0) for half in halves])
            x, y = (w @ m / np.linalg.norm(w, axis=1) for m in (reference, shifted))  # probits of the accuracies
            table.setdefault(word, []).append(ndtr(y) - ndtr(closed[FIRST] * x))
            reached.setdefault(word, []).append(np.stack([ndtr(x), ndtr(y), y / x]))
            if word == MIXTURE:
                table.setdefault(CLOSED, []).append(ndtr(closed[MIXTURE] * x) - ndtr(closed[FIRST] * x))
    values = {word: np.stack(rows) for word, rows in table.items()}
    means_of = {word: np.concatenate(rows, axis=1).mean(axis=1).tolist() for word, rows in reached.items()}
    others = {
        w: dict(zip(("acc1_reference", "acc1_shift", "slope"), numbers, strict=True)) for w, numbers in means_of.items()
    }
    facts = {
        "data_hash": hashlib.sha256(f"{MEANS} {WIDTH} {SIZES} {DIRECTIONS}".encode()).hexdigest(),
        "items": len(SIZES) * DIRECTIONS,
        "slopes": closed,
    }
    return Tabled(backbone, run, seeds, "effective_robustness", facts, values, others)


SCENES, PICTURES = ("scenes",), ("cifar10_small", "pacs_small")
HEADS, TRAINED = (GAUSSIANS, *PICTURES), (GAUSSIANS, *SCENES)


TRIAL = Trial(
    (
        over(FIRST, MIXTURE, "mixture, over the first source", TRAINED),
        over(MIXTURE, SECOND, "second source, over the mixture", TRAINED),
    ),
    controls=(
        over(FIRST, HALVES, "halves of the first source, over the first source", HEADS),
        over(HALVES, FIRST, "first source, over halves of it", HEADS),
        over(FIRST, MORE, "twice the scenes of the first source, over the first source", SCENES),
        over(MORE, FIRST, "first source, over twice its scenes", SCENES),
        over(FIRST, SLOW, "slow training on the first source, over the first source", SCENES),
        over(SLOW, FIRST, "first source, over its slow training", SCENES),
    ),
    beside={
        "heads of the mixture, over those of the first source": over(FIRST, MIXTURE, on=PICTURES),
        "heads of the second source, over those of the mixture": over(MIXTURE, SECOND, on=PICTURES),
        "ensemble, over the mixture": over(MIXTURE, BOTH, on=(*SCENES, *PICTURES)),
        "ensemble, over the first source": over(FIRST, BOTH, on=(*SCENES, *PICTURES)),
        "second source, over the first": over(FIRST, SECOND),
        "mixture, over its closed form": over(CLOSED, MIXTURE, on=TRAINED),
        "second source, over the closed form of the mixture": over(CLOSED, SECOND, on=TRAINED),
    },
    bench=open_sources,
)
