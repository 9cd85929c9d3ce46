"""Proof of shortcut learning: networks on two latents, and heads on features of photos with a square."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from diptych.core import Backbone, ClassNames, Probe, Run, Subject, Subset
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Floats, Statistic
from diptych.methods.audit.shortcut_learning import ShortcutLearning, cued_features, two_classes
from diptych.metrics.closed_intervals import t_mean
from diptych.metrics.estimate import Interval
from diptych.metrics.reliance import best_decisions, reliance
from diptych.nn.two_class_head import Cued, Head
from proofs.benches.audits.latents import Latents
from proofs.trial import Tabled, Trial, hash_of, over

RATIOS = {"core": 1 / 16, "equal": 1.0, "shortcut": 16.0}
"""Which feature is the more available one, and the ratio."""
LINEAR = Head()
HEADS = {"network": Head(depth=3), "linear": LINEAR, "one hidden layer": Head(depth=1)}
DRAWS, TRAININGS = 4, 12
"""Trainings a seed and head: of each opacity on photos, and of each ratio on latents."""
LATENTS, PHOTOS = ("latents",), ("cifar10_small",)


def _mean(values: Floats, _: int) -> Interval:
    return t_mean(values.ravel(), possible=(-1.0, 1.0))


def _gain(first: Floats, second: Floats, _: int, *, sides: int = 2) -> Interval:
    return t_mean((first - second).ravel(), sides=sides, possible=(-2.0, 2.0))


INDEPENDENT = Statistic(_mean, _gain, partial(_gain, sides=1))
"""(seeds, draws) values, each of latents, directions and weights of its own: Student's interval over all of them."""


def open_biases(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure biases on generated latents, where the name is "latents", or on photos with a square.

    Raises:
        DataError: a class has too few pictures.
    """
    return _latents(backbone, run, seeds) if name in LATENTS else _photos(name, backbone, run, seeds)


def _latents(backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure B, (seeds, trainings): each value is of its own latents, directions and weights."""
    law, ratios, table = Latents(), tuple(RATIOS.values()), dict[str, Floats]()
    with run.track("heads", len(HEADS) * len(seeds)) as bar:
        for word, head in HEADS.items():
            curves = []
            for seed in seeds:
                seeded = replace(run, seed=seed)
                curves.append([bias_curve(head, ratios, law, seeded.integer(f"draw {i}")) for i in range(TRAININGS)])
                bar.advance()
            for i, more in enumerate(RATIOS):
                table[f"{word}, {more}"] = np.array(curves)[:, :, i]
    table["none"] = np.zeros((len(seeds), TRAININGS))
    recipe = f"{asdict(law)} {ratios} {HEADS} {TRAININGS}"
    facts = {"data_hash": hashlib.sha256(recipe.encode()).hexdigest(), "items": TRAININGS, "ratios": list(ratios)}
    return Tabled(backbone, run, seeds, "bias", facts, table, statistic=INDEPENDENT)


def _photos(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure y' s - y' c of probes, (seeds, P); seeds draw labels, squares and weights."""
    data, audit = open_data(present(name), need="classes"), ShortcutLearning()
    split = data.split("test") if "test" in data.splits else data.whole()
    probe = Probe(split, "id", ClassNames(tuple(tidy(c) for c in data.classes)))
    rows, core, train = two_classes(probe, audit.most, np.random.default_rng(0))
    items, table = Subset(split.items, tuple(rows.tolist())), dict[str, list[Floats]]()
    for opacity in audit.opacities:
        cued = Cued(cued_features(Subject.of(backbone), items, opacity, run), core, train)
        for word, head in audit.heads:
            for seed in seeds:
                seeded = replace(run, seed=seed)
                draws = [seeded.integer(f"draw {i}") for i in range(2 * DRAWS)]
                for cue, rho, part in (("", audit.shortcut, 0), (", nothing", 0.5, 0), (", nothing again", 0.5, DRAWS)):
                    values = [
                        cued.reliance(cued.decisions(head, rho, audit.core, d)) for d in draws[part : part + DRAWS]
                    ]
                    table.setdefault(f"{word}, {opacity:g}{cue}", []).append(np.mean(values, axis=0))
    classes = [probe.named().names[k] for k in dict.fromkeys(split.labels()[rows].tolist())]
    facts = {
        "data_hash": hash_of(items),
        "items": int((~train).sum()),
        "composite": f"a square on photos of {' and '.join(classes)}",
    }
    return Tabled(backbone, run, seeds, "bias", facts, {key: np.stack(v) for key, v in table.items()})


TRIAL = Trial(
    (
        over("network, core", "network, shortcut", "bias, shortcut over core 16 times as available", LATENTS),
        over("network, equal", "network, shortcut", "bias, shortcut 16 times as available, over equal", LATENTS),
        over("network, core", "network, equal", "bias, equal, over core 16 times as available", LATENTS),
        over("linear, shortcut", "network, shortcut", "bias of a network, over a linear head", LATENTS),
        over("network, 0.1", "network, 1", "reliance of a network, opaque over faint square", PHOTOS),
        over("network, 1, nothing", "network, 1", "reliance, over squares that say nothing", PHOTOS),
    ),
    controls=(
        over("linear, core", "linear, shortcut", "linear head, shortcut over core 16 times as available", LATENTS),
        over("network, 1, nothing", "network, 1, nothing again", "squares that say nothing, drawn again", PHOTOS),
    ),
    beside={
        "one hidden layer, shortcut 16 times as available": over(
            "one hidden layer, equal", "one hidden layer, shortcut", on=LATENTS
        ),
        "bias of the linear head, shortcut 16 times as available": over("none", "linear, shortcut", on=LATENTS),
        "bias of the network, equally available": over("none", "network, equal", on=LATENTS),
        "reliance of a linear head, opaque over faint square": over("linear head, 0.1", "linear head, 1", on=PHOTOS),
        "reliance of a network, square at 30 %": over("network, 0.3, nothing", "network, 0.3", on=PHOTOS),
        "reliance of a network, square at 10 %": over("network, 0.1, nothing", "network, 0.1", on=PHOTOS),
    },
    bench=open_biases,
)


def bias_curve(head: Head, ratios: tuple[float, ...], law: Latents, seed: int, *, samples: int = 3200) -> Floats:
    """Return the shortcut bias B of a head at each availability, (A,).

    Latents, directions and first weights are the same at every ratio, so that values of one seed are paired.

    Args:
        head: what is trained.
        ratios: A ratios a_s / a_c, > 0.
        law: of the latents; its own ratio is not used.
        seed: of latents, directions and weights.
        samples: training draws, >= 2; 3,200 (the paper's).

    Raises:
        UsageError: a number is out of its range.

    Source: Hermann et al. 2024.
    """
    z, y = law.draw(samples, np.random.default_rng([seed, 0]))
    probes = law.grid()
    best = reliance(best_decisions(probes, law.means, law.scatter), probes)
    curve = []
    for ratio in ratios:
        embed = replace(law, ratio=ratio).embedding(np.random.default_rng([seed, 1]))
        curve.append(reliance(head.fit(embed(z), y, seed)(embed(probes)), probes) - best)
    return np.array(curve)
