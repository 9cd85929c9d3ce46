"""Proof of MMVP: scenes and edits of them that ``tiny`` finds alike and Lite0 different."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.sources.load import load
from diptych.core import Backbone, DataError, Kit, Run, Samples, Subject, Texts
from diptych.data.draws import random_state_kept
from diptych.data.joined import Joined
from diptych.data.scenes.compose import Scene, SceneRecipe, Scenes
from diptych.data.scenes.tables import Pictures
from diptych.evaluation.arms import Floats
from diptych.features.embed import embed
from diptych.features.unit_rows import unit_rows
from diptych.features.visual import Unprojected
from diptych.methods.audit.mmvp import MMVP, pair_scores, seen
from diptych.metrics.blind_pairs import blind_pairs, right_pairs, thresholds
from proofs.scenes.edited import EDITS, EditedScenes
from proofs.trial import Tabled, Trial, hash_of, over

Ints = NDArray[np.int64]
SCENES = 240
"""Scenes a seed, each before and after every edit."""
PAIRS = 120
"""Pairs of a kind a seed, at most."""
STREAM = 91_000
RECIPE = SceneRecipe(objects=(2,))
AUDIT = MMVP(top=0.03, neighbours=50, template="{}")


def open_blind(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure which pairs a backbone is right about, and heads that name an edit; seeds draw scenes and pairs.

    The name of the data set is not read: scenes are generated. The second encoder is Lite0, without the projection of
    ``lite``. Statements are the captions of the scenes, and pairs with equal ones are left out.

    Raises:
        DataError: no pair is blind.
    """
    subject = Subject(Kit({"main": backbone, "vision": Unprojected.of(load("lite"))}))
    table: dict[str, list[Floats]] = {}
    counts, keys = [], []
    for seed in seeds:
        seeded = replace(run, seed=seed)
        before = Scenes(RECIPE, SCENES, STREAM + seed)
        streams: list[Samples[Scene]] = [before, *(EditedScenes(before, edit) for edit in EDITS)]
        items = Joined(tuple(Pictures(s) for s in streams))
        captions = [s[i].captions["short"] for s in streams for i in range(SCENES)]
        keys.append(hash_of(items))
        first, second = seen(subject, items, seeded)
        texts = embed(backbone.text, Texts(tuple(captions)), seeded).double().numpy()
        kinds = dict(_kinds(first, second, np.array(captions), seeded))
        counts.append({kind: len(pairs) for kind, pairs in kinds.items()})
        for kind, pairs in kinds.items():
            rows = own_rows(pairs, seeded.integer(kind))
            scores = pair_scores(unit_rows(texts), first, rows)
            table.setdefault(kind, []).append(right_pairs(scores).astype(float))
        for kind, hits in _heads(first, second, seeded):
            table.setdefault(kind, []).append(hits)
    if not all(c["blind"] for c in counts):
        raise DataError("No pair of scenes is blind: the two encoders agree too well.")
    least = {kind: min(len(v) for v in values) for kind, values in table.items()}
    n = min(number for kind, number in least.items() if kind in counts[0])
    cut = {k: np.stack([v[: n if k in counts[0] else None] for v in values]) for k, values in table.items()}
    facts = {"data_hash": keys[0], "items": n, "composite": "generated scenes", "pairs_found": counts[0]}
    return Tabled(backbone, run, seeds, "accuracy", facts, cut)


def own_rows(pairs: Ints, seed: int) -> Ints:
    """Return at most ``PAIRS`` of (P, 2) pairs, drawn at random."""
    return pairs[np.random.default_rng(seed).permutation(len(pairs))[:PAIRS]]


def _kinds(first: Floats, second: Floats, captions: NDArray[np.str_], run: Run) -> Iterator[tuple[str, Ints]]:
    """Yield kinds of pairs whose statements differ: blind, in swapped roles, alike for the backbone alone, random."""
    rng = np.random.default_rng(run.integer("pairs"))

    def mined(one: Floats, two: Floats) -> Ints:
        similar, different = thresholds(one, two, AUDIT.top, AUDIT.bottom, rng)
        pairs, _ = blind_pairs(one, two, similar, different, AUDIT.neighbours)
        unequal: Ints = pairs[captions[pairs[:, 0]] != captions[pairs[:, 1]]]
        return unequal

    yield "blind", mined(first, second)
    yield "swapped roles", mined(second, first)
    yield "alike", mined(first, second[rng.permutation(len(second))])
    i = rng.integers(len(captions), size=4 * PAIRS)
    pairs = np.stack([i, (i + rng.integers(1, len(captions), size=len(i))) % len(captions)], axis=1)
    yield "random", pairs[captions[pairs[:, 0]] != captions[pairs[:, 1]]]


def _heads(first: Floats, second: Floats, run: Run) -> Iterator[tuple[str, Floats]]:
    """Yield hits of heads that name the edit between two scenes, (E N / 2,), on scenes they were not trained on."""
    with random_state_kept():
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(run.integer("heads"))
    clip, other = (_changes(v) for v in (first, second))
    train = np.tile(np.arange(SCENES) < SCENES // 2, len(EDITS))
    edits = np.repeat(np.arange(len(EDITS)), SCENES)
    strange = other.copy()
    for half in (train, ~train):
        strange[half] = other[half][rng.permutation(int(half.sum()))]
    down = np.linalg.qr(rng.standard_normal((other.shape[1], clip.shape[1])))[0]
    for word, x in (
        ("head", clip),
        ("head, both", np.hstack([clip, other])),
        ("head, sum", 0.5 * clip + 0.5 * other @ down),
        ("head, other scenes", np.hstack([clip, strange])),
        ("head, copy", np.hstack([clip, clip])),
    ):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        yield word, (model.fit(x[train], edits[train]).predict(x[~train]) == edits[~train]).astype(float)


def _changes(vectors: Floats) -> Floats:
    """Return (E N, D) differences of the vectors of scenes after each edit and before."""
    before, *after = np.split(vectors, 1 + len(EDITS))
    return np.concatenate([v - before for v in after])


TRIAL = Trial(
    (over("blind", "random", "random pairs are right more often than blind ones"),),
    controls=(over("swapped roles", "random", "random pairs, over pairs with the encoders' roles swapped"),),
    beside={
        "random pairs, over pairs that are alike for the first encoder alone": over("alike", "random"),
        "edits named from both encoders, over one": over("head", "head, both"),
        "edits named from the sum of both": over("head", "head, sum"),
        "edits named with the second encoder on other scenes": over("head", "head, other scenes"),
        "edits named from the first encoder twice": over("head", "head, copy"),
    },
    bench=open_blind,
)
