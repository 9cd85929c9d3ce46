"""CLIPs trained from random weights on two recipes of scenes, on a mixture, and on more of the first, with checkpoints.

The trainings of a seed differ in their scenes alone, first weights, number of steps, batch and settings are equal; but
one has a smaller learning rate.

    ER = mean over a of  g^{-1}( b0 + b1 g(a) ) - g^{-1}( c0 + c1 g(a) )          effective robustness of a training

a: reference accuracies that all trainings of the seed reach, in equal distances
b0, b1, c0, c1: line of the training, and of that on the first source, through their own checkpoints;  g: the probit

So trainings are compared at equal reference accuracies, though some learn faster than others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.backbones.sources.openclip_config import architecture, build, spec
from diptych.backbones.sources.openclip_sources import from_model
from diptych.backbones.tokens import ClipBpe
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DamagedStore,
    DataError,
    Evidence,
    Kit,
    ModelRecord,
    PixelRecipe,
    Probe,
    Run,
    Space,
    Subject,
    Table,
)
from diptych.core.train import everything
from diptych.data.joined import Joined
from diptych.data.memory import InMemory
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.sprites import SpriteBank
from diptych.evaluation.kept import digest, read_or_make, write_arrays
from diptych.features.subjects import answers
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.metrics.source_lines import Points
from diptych.metrics.trend import inverse, transform
from diptych.tasks.record import versions
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from proofs.benches.audits.mixed_lines import mixed_slope
from proofs.benches.audits.shortcut import INDEPENDENT
from proofs.trial import Tabled, hash_of

Floats = NDArray[np.float64]

FIRST, SECOND, MIXTURE, MORE = "first source", "second source", "mixture", "more of the first"
SLOW = "slow training on the first"
BOTH, CLOSED = "ensemble", "closed form"

SIZE = 32
"""Side of the pictures in pixels."""
CONFIG: Mapping[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
"""A ResNet with attention pooling, the paper's kind of tower, and a text tower of one block."""
BANK = SpriteBank(
    shapes=("circle", "square", "triangle", "star", "heart", "cross"),
    colours=("red", "green", "blue"),
    textures=("plain",),
)
NARROW = SceneRecipe(BANK, size=SIZE, sides=(0.6, 0.9), backgrounds=("light",))
"""The first source, and the reference: plain shapes on light backgrounds."""
VARIED = replace(NARROW, bank=replace(BANK, textures=("plain", "striped")), backgrounds=("light", "dark", "noise"))
"""The second source, and the shift: backgrounds and textures vary, and captions name the texture of striped shapes."""
SCENES, TEST = 2000, 300
"""Scenes of each training but that on more of the first, and of each test."""
FIT = Fit(
    lr=3e-3, batch=64, steps=200, decay=0.1, schedule=Schedule(warmup=20), clip=1.0, log_every=50, watch_every=10
)  # fmt: skip
SEEN = (10, 20, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200)
"""Steps after which a checkpoint is tested: more of them early, when accuracies change most."""
SOURCES: Mapping[str, tuple[tuple[SceneRecipe, float], ...]] = {
    FIRST: ((NARROW, 1.0),),
    SECOND: ((VARIED, 1.0),),
    MIXTURE: ((NARROW, 0.5), (VARIED, 0.5)),
    MORE: ((NARROW, 2.0),),
    SLOW: ((NARROW, 1.0),),
}
"""Training -> recipes, and their scenes as multiples of ``SCENES``.

The mixture has half of the scenes of either source; more of the first are its scenes and as many again. The slow
training comes to a reference accuracy after as many steps as one on a source from which it learns less.
"""
PACES = {SLOW: 0.02}
"""Training -> factor on the learning rate."""


def open_scene_sources(backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the effective robustness of trainings, (seeds, 1); seeds draw weights, scenes and their order.

    The backbone is that of the rest of the proof. Beside the trainings stand the ensembles of checkpoints of the two
    sources, and the line that the closed form lets expect of the mixture.

    Raises:
        DataError: the trainings of a seed share no reference accuracy.
    """
    table: dict[str, list[float]] = {}
    reached: dict[str, list[dict[str, float]]] = {}
    keys, shared = [], []
    with run.track("trainings", len(seeds)) as bar:
        for seed in seeds:
            seeded = replace(run, seed=seed)
            probes = probes_of(seeded)
            keys.append(hash_of(*(probe.table.items for probe in probes.values())))
            points = _accuracies({source: checkpoints(source, probes, seeded) for source in SOURCES}, probes)
            x = _shared(points)
            shared.append((float(x[0]), float(x[-1])))
            for word, value in _robust(points, x).items():
                table.setdefault(word, []).append(value)
            for word, models in points.items():
                reached.setdefault(word, []).append(_reached(models))
            bar.advance()
    others = {
        word: {key: float(np.mean([one[key] for one in rows])) for key in rows[0]} for word, rows in reached.items()
    }
    facts = {
        "data_hash": hashlib.sha256("".join(keys).encode()).hexdigest(),
        "items": TEST,
        "classes": len(BANK.shapes),
        "composite": "generated scenes",
        "fit": FIT.as_dict(),
        "model_cfg": dict(CONFIG),
        "shared_reference_accuracies": shared,
    }
    values = {word: np.array(shares)[:, None] for word, shares in table.items()}
    return Tabled(backbone, run, seeds, "effective_robustness", facts, values, others, statistic=INDEPENDENT)


def _accuracies(logits: Mapping[str, Mapping[str, Floats]], probes: Mapping[str, Probe]) -> dict[str, Points]:
    """Return the accuracies of checkpoints, and of the mean logits of those of the two sources at equal steps."""
    every = {**logits, BOTH: {name: logits[FIRST][name] + logits[SECOND][name] for name in probes}}
    labels = {name: probe.table.labels() for name, probe in probes.items()}
    return {
        word: Points(*((rows[name].argmax(axis=2) == labels[name]).mean(axis=1) for name in labels))
        for word, rows in every.items()
    }


def _shared(points: Mapping[str, Points]) -> Floats:
    """Return reference accuracies that all trainings reach, (20,)."""
    ends = [(points[source].x.min(), points[source].x.max()) for source in SOURCES]
    low, high = max(least for least, _ in ends), min(most for _, most in ends)
    if not low < high:
        raise DataError(f"The trainings share no reference accuracy ({low:.2f} to {high:.2f}): train for more steps.")
    return np.linspace(low, high, 20)


def _robust(points: Mapping[str, Points], x: Floats) -> dict[str, float]:
    """Return the effective robustness of each training at reference accuracies (20,).

    The closed form's line goes through chance. Its slope is that of the sum of both sources' probits, less that of
    chance, over checkpoints of equal steps: where the weights of both have one norm, these probits are in the ratio of
    the products of weights and means.
    """
    base = points[FIRST].line(TEST).at(x)
    expected = {word: line_of.line(TEST).at(x) for word, line_of in points.items()}
    chance = transform(1 / len(BANK.shapes), "probit", TEST)
    first, second = (
        [(transform(accuracies, "probit", TEST) - chance).sum() for accuracies in (points[word].x, points[word].y)]
        for word in (FIRST, SECOND)
    )
    slope = mixed_slope(first, second, (1, 0), (0, 1))
    expected[CLOSED] = inverse(chance + slope * (transform(x, "probit", TEST) - chance), "probit")
    return {word: float((values - base).mean()) for word, values in expected.items()}


def _reached(models: Points) -> dict[str, float]:
    """Return the line of the checkpoints, their number, and the accuracies of the last one."""
    line = models.line(TEST)
    return {
        "slope": line.slope, "intercept": line.intercept, "models": float(len(models)),
        "last_acc1_reference": float(models.x[-1]), "last_acc1_shift": float(models.y[-1]),
    }  # fmt: skip


def scenes(recipe: SceneRecipe, count: int, seed: int) -> Table[Image.Image]:
    """Return scenes of one object with "captions" and its shape as "label"; they are painted once."""
    stream = Scenes(recipe, count, seed)
    shown = [stream[i] for i in range(count)]
    names, keys = ([of(i) for i in range(count)] for of in (stream.name, stream.key))
    columns = {
        "captions": Column("captions", tuple((s.captions["short"],) for s in shown)),
        "label": Column("label", np.array([BANK.shapes.index(s.objects[0].noun) for s in shown], dtype=np.int64)),
    }
    return Table(InMemory([Image.fromarray(s.image) for s in shown], names, keys), columns)


def probes_of(run: Run) -> dict[str, Probe]:
    """Return the reference and the shift of a seed; a class has the texts of its shape in each colour."""
    words = tuple(tuple(f"{colour} {shape}" for colour in BANK.colours) for shape in BANK.shapes)
    classes = ClassNames(BANK.shapes, ("a {}",), words)
    return {
        "reference": Probe(scenes(NARROW, TEST, run.integer("reference scenes")), "id", classes),
        "shift": Probe(scenes(VARIED, TEST, run.integer("shift scenes")), "shift", classes),
    }


def new_towers(run: Run) -> Backbone:
    """Return the random weights of a seed, from which all its trainings start."""
    tokens, module = ClipBpe(), build(CONFIG, run.integer("towers") % 2**31)
    pixels = PixelRecipe(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    facts = spec("small CLIP, random", architecture(CONFIG), "", CONFIG, pixels, tokens, module)
    return from_model(module, facts, tokens, config=CONFIG)


def checkpoints(source: str, probes: Mapping[str, Probe], run: Run) -> dict[str, Floats]:
    """Train on a source, and return test -> (checkpoints, N, K) logits; a training that was finished is read again.

    Raises:
        DataError, Diverged: as ``train_space``.
    """
    fit = replace(FIT, lr=FIT.lr * PACES.get(source, 1.0))
    local_run = replace(run, cache=None, out=None, engine=None, workers=0)
    tables = [probe.table for probe in probes.values()]
    made_of = [CONFIG, fit, SEEN, SOURCES[source], SCENES, tables, local_run, versions().get("torch")]
    name = f"{source.replace(' ', '-')}-{run.seed}-{digest(made_of)[:12]}.npz"
    path = None if run.cache is None else run.cache / "source-trainings" / name
    return read_or_make(path, _read, lambda: _trained(source, fit, probes, local_run), write_arrays)


def rows_of(source: str, run: Run) -> Table[Image.Image]:
    """Return the scenes of a source with their captions; those of one recipe are of one stream in all trainings."""
    parts = [
        scenes(recipe, round(share * SCENES), run.integer(f"scenes on {recipe.backgrounds}"))
        for recipe, share in SOURCES[source]
    ]
    captions = tuple(texts for part in parts for texts in part.columns["captions"].values)
    return Table(Joined(tuple(part.items for part in parts)), {"captions": Column("captions", captions)})


def _trained(source: str, fit: Fit, probes: Mapping[str, Probe], run: Run) -> dict[str, Floats]:
    logits: dict[str, list[Floats]] = {name: [] for name in probes}

    def see(space: Space, step: int) -> dict[str, float]:
        if step not in SEEN:
            return {}
        subject = Subject(Kit({"main": space}), ModelRecord("clip", source, step * FIT.batch))
        for name, probe in probes.items():
            result = answers(subject, probe.named(), probe.table.items, probe.table.labels(), run)
            logits[name].append(result.logits)
        return {}

    start, rows = Kit({"main": new_towers(run)}), Evidence(train=rows_of(source, run))
    trained = train_space(CLIPLoss(), start, rows, fit, run, learns=everything, watch=see)
    see(trained.space, trained.steps)
    return {name: np.stack(draws) for name, draws in logits.items()}


def _read(path: Path) -> dict[str, Floats]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("reference", "shift")}
    except Exception as error:  # np.load raises OSError, ValueError, KeyError, BadZipFile, EOFError ...
        raise DamagedStore(f"{path} does not hold logits of checkpoints: delete it and run again.") from error
