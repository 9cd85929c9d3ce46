"""Which facts of an answer tell whether it is right, and whether the thing is there at all?

    python -m benchmarks.cut_features --data FOLDER --backbones lite:2026-11 lite:views --out results/cut-features.json

An answer is a query and one of its first 50 pictures. Half of the weight is that of queries for what is there, half
that of the nouns for absent things that the index drew, all of whose answers are wrong. A logistic regression on the
facts gives Brier scores (*brier*), how well the best answer tells queries for what is there from words for what is not
(*presence*, area under the ROC curve; words of ``recipes.search_truth``, kept aside), and the share of queries with a
right answer above the lowest threshold of this set at which a share of 0.5, 0.7, 0.8 or 0.9 is right and at most the
rest of these words have an answer (*with_a_right_answer*: what no threshold on it can exceed). It is fitted on all
other sets, each of which counts alike.

    cosine     s
    standard   (s - mean) / std over all pictures, for the query
    empty      s - mean cosine of the picture and "a photo", "a picture", "an image"
    margin     s - mean cosine of the picture and 256 nouns
    nouns      the same margin, over the standard deviation of those cosines
    rank       - log(1 + number of 256 nouns that are nearer to the picture)
    nearest    s - largest cosine of the picture and 256 nouns
    spread     s - log(mean of exp(20 cosine) over 256 nouns) / 20
    gap        the first answer's cosine less the twentieth's
    place      - log(place of the answer among those to its query)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import diptych
from benchmarks.cut import Embedded, embedded
from diptych.metrics.cut import STRATA, Floats
from diptych.tasks.search.absent import encoded, picture_nouns
from recipes.search_truth import SETS

DEPTH, NOUNS = 50, 256
EMPTY = ["a photo", "a picture", "an image"]
LEVELS, SHARPNESS = (0.5, 0.7, 0.8, 0.9), 20.0
EVERY = 8
"""Of how many queries and words one is fitted on."""
FEATURES = (
    ("cosine",), ("standard",), ("empty",), ("margin",), ("nouns",), ("rank",), ("nearest",), ("spread",),
    ("cosine", "standard"), ("cosine", "nouns"), ("cosine", "rank"), ("cosine", "nearest"), ("cosine", "place"),
    ("cosine", "nouns", "place"), ("cosine", "standard", "nouns", "gap"),
    ("cosine", "standard", "empty", "margin", "nouns", "rank", "nearest", "spread", "gap", "place"),
)  # fmt: skip
Vectors = NDArray[np.floating[Any]]
Sides = list[dict[str, Floats]]
"""Facts of the answers to queries, to nouns that were drawn, and to words that are kept aside."""


def facts(
    embedded_set: Embedded, queries: Vectors, empty: Vectors, nouns: Vectors
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Return name -> (q, k) facts of the first answers, and their places."""
    scores = (queries @ embedded_set.entries.T).astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    bank = embedded_set.entries @ nouns.T
    every = {
        "cosine": scores,
        "standard": (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True),
        "empty": scores - (embedded_set.entries @ empty.T).mean(axis=1),
        "margin": scores - bank.mean(axis=1),
        "nouns": (scores - bank.mean(axis=1)) / bank.std(axis=1),
    }
    ordered = {name: np.take_along_axis(values, order, axis=1) for name, values in every.items()}
    first = ordered["cosine"]
    shown = bank.astype(np.float64)[order]
    ordered["rank"] = -np.log1p((shown > first[..., None]).sum(axis=-1))
    ordered["nearest"] = first - shown.max(axis=-1)
    ordered["spread"] = first - np.log(np.exp(SHARPNESS * shown).mean(axis=-1)) / SHARPNESS
    ordered["gap"] = np.repeat(first[:, :1] - first[:, [min(STRATA[0], first.shape[1]) - 1]], first.shape[1], axis=1)
    ordered["place"] = np.broadcast_to(-np.log(np.arange(1, first.shape[1] + 1)), first.shape)
    return ordered, order


def stacked(names: tuple[str, ...], sides: Sides) -> list[Floats]:
    """Return (m, k, f) values of some facts, for each side."""
    return [np.stack([side[name] for name in names], axis=-1) for side in sides]


def regression(parts: list[tuple[Floats, Floats, NDArray[np.bool_]]]) -> Any:
    """Return a logistic regression on facts of answers to queries, facts of those to absent words, and which of the
    first are right; each part, and each side of it, counts alike.
    """
    x, y, weight = list[Floats](), list[NDArray[np.bool_]](), list[Floats]()
    for there, absent, right in parts:
        rows = [values.reshape(-1, values.shape[-1]) for values in (there, absent)]
        x += rows
        y += [right.ravel(), np.zeros(len(rows[1]), dtype=bool)]
        weight += [np.full(len(r), 1000 / max(len(r), 1)) for r in rows]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10))
    return model.fit(np.concatenate(x), np.concatenate(y), logisticregression__sample_weight=np.concatenate(weight))


def probability(model: Any, values: Floats) -> Floats:
    """Return (m, k) probabilities of (m, k, f) facts."""
    p: Floats = model.predict_proba(values.reshape(-1, values.shape[-1]))[:, 1].reshape(values.shape[:2])
    return p


def quality(p: list[Floats], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the figures of some probabilities."""
    there, absent, aside = p
    both, truth = np.append(there, absent), np.append(right, np.zeros(absent.shape, dtype=bool))
    weight = np.append(np.full(there.size, 1 / there.size), np.full(absent.size, 1 / absent.size))
    best, present = np.append(there.max(axis=1), aside.max(axis=1)), np.arange(len(there) + len(aside)) < len(there)
    order = np.argsort(-there.ravel(), kind="stable")
    share = np.cumsum(right.ravel()[order]) / np.arange(1, there.size + 1)
    highest, reached = np.sort(aside.max(axis=1))[::-1], dict[str, float]()
    for level in LEVELS:
        precise = np.flatnonzero(share >= level)
        least = float(there.ravel()[order][precise[-1]]) if len(precise) else np.inf
        above = there >= max(least, float(np.nextafter(highest[int((1 - level) * len(highest))], np.inf)))
        reached[f"{level:g}"] = float((above & right).any(axis=1).mean())
    return {
        "brier": float(brier_score_loss(truth, both, sample_weight=weight)),
        "presence": float(roc_auc_score(present, best)), "with_a_right_answer": reached,
    }  # fmt: skip


def measured(sets: dict[str, tuple[Sides, NDArray[np.bool_]]]) -> dict[str, Any]:
    """Return set -> features -> figures, fitted on the other sets."""
    result: dict[str, Any] = {name: {} for name in sets}
    for names in FEATURES:
        x = {name: (stacked(names, sides), right) for name, (sides, right) in sets.items()}
        for name, (_, right) in sets.items():
            model = regression(
                [(v[0][::EVERY], v[1][::EVERY], r[::EVERY]) for other, (v, r) in x.items() if other != name]
            )
            p = [probability(model, values) for values in x[name][0]]
            result[name][" + ".join(names)] = quality(p, right)
        rows = [result[name][" + ".join(names)] for name in sets]
        means = [np.mean([r[k] for r in rows]) for k in ("brier", "presence")]
        means += [np.mean([r["with_a_right_answer"][f"{level:g}"] for r in rows]) for level in LEVELS]
        print(f"{' + '.join(names):60}", *(f"{v:.4f}" for v in means), flush=True)
    return result


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--backbones", nargs="*", default=["lite"])
    parser.add_argument("--out", type=Path, default=Path("out/cut_features.json"))
    options = parser.parse_args()
    command = f"python -m benchmarks.cut_features --data FOLDER --backbones {' '.join(options.backbones)}"
    result: dict[str, Any] = {"command": f"{command} --out results/cut-features.json"}
    for backbone in options.backbones:
        model = diptych.load(backbone, cache=options.cache or True)
        bank = np.random.default_rng(0).permutation(picture_nouns())[:NOUNS].tolist()
        empty, nouns = encoded(EMPTY, model, model.run), encoded(bank, model, model.run)
        sets: dict[str, tuple[Sides, NDArray[np.bool_]]] = {}
        for name in SETS:
            embedded_set = embedded(name, options.data, model)
            drawn = encoded(list(embedded_set.drawn.words), model, model.run)
            features, order = facts(embedded_set, embedded_set.queries, empty, nouns)
            sides = [features, *(facts(embedded_set, v, empty, nouns)[0] for v in (drawn, embedded_set.aside))]
            sets[name] = sides, np.take_along_axis(embedded_set.right, order, axis=1)
        result[backbone] = measured(sets)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
