"""Which facts of an answer tell whether it is right, and whether the thing is there at all?

    python -m benchmarks.cut_features --data FOLDER --backbones lite:2026-11 lite:views --out results/cut-features.json

An answer is a query and one of its first 50 pictures. Half of the weight is that of queries for what is there, half
that of the nouns for absent things that the index drew, all of whose answers are wrong. A logistic regression on the
facts, fitted in five folds by query, gives Brier scores (*brier*) and how well the best answer tells queries for what
is there from words for what is not (*presence*, area under the ROC curve; words of ``recipes.search_truth``, kept
aside).

    cosine     s
    standard   (s - mean) / std over all pictures, for the query
    empty      s - mean cosine of the picture and "a photo", "a picture", "an image"
    margin     s - mean cosine of the picture and 256 nouns
    nouns      the same margin, over the standard deviation of those cosines
    gap        the first answer's cosine less the twentieth's

``CHOSEN_ON`` chooses, the other sets judge.
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

CHOSEN_ON, DEPTH, FOLDS, NOUNS = "caltech40", 50, 5, 256
EMPTY = ["a photo", "a picture", "an image"]
FEATURES = (
    ("cosine",), ("standard",), ("empty",), ("margin",), ("nouns",), ("cosine", "standard"), ("standard", "margin"),
    ("standard", "nouns"), ("cosine", "nouns"), ("cosine", "standard", "nouns", "gap"),
)  # fmt: skip


def facts(
    embedded_set: Embedded, queries: Floats, empty: Floats, nouns: Floats
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
    ordered["gap"] = np.repeat(first[:, :1] - first[:, [min(STRATA[0], first.shape[1]) - 1]], first.shape[1], axis=1)
    return ordered, order


def folded(names: tuple[str, ...], sides: list[dict[str, Floats]], right: NDArray[np.bool_]) -> list[Floats]:
    """Return the probability of each answer of queries, drawn nouns and words kept aside, from the other folds."""
    x = [np.stack([side[name] for name in names], axis=-1) for side in sides]
    folds = [np.random.default_rng(i).permutation(len(values)) % FOLDS for i, values in enumerate(x[:2])]
    sums = [np.zeros(values.shape[:2]) for values in x]
    for k in range(FOLDS):
        seen = [values[fold != k] for values, fold in zip(x, folds, strict=False)]
        rows = np.concatenate([part.reshape(-1, len(names)) for part in seen])
        truth = np.concatenate([right[folds[0] != k].ravel(), np.zeros(seen[1].shape[:2], dtype=bool).ravel()])
        sizes = [part.shape[0] * part.shape[1] for part in seen]
        weight = np.concatenate([np.full(size, len(rows) / size / 2) for size in sizes])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=10))
        model.fit(rows, truth, logisticregression__sample_weight=weight)
        for i, values in enumerate(x):
            part = values if i == 2 else values[folds[i] == k]
            p = model.predict_proba(part.reshape(-1, len(names)))[:, 1].reshape(part.shape[:2])
            if i == 2:
                sums[i] += p / FOLDS
            else:
                sums[i][folds[i] == k] = p
    return sums


def measured(embedded_set: Embedded, empty: Floats, nouns: Floats, drawn: Floats) -> dict[str, Any]:
    """Return features -> Brier score and area of presence."""
    features, order = facts(embedded_set, embedded_set.queries, empty, nouns)
    sides = [features, *(facts(embedded_set, v, empty, nouns)[0] for v in (drawn, embedded_set.aside))]
    right = np.take_along_axis(embedded_set.right, order, axis=1)
    rows: dict[str, Any] = {}
    for names in FEATURES:
        there, absent, aside = folded(names, sides, right)
        p, truth = np.append(there, absent), np.append(right, np.zeros(absent.shape, dtype=bool))
        weight = np.append(np.full(there.size, 1 / there.size), np.full(absent.size, 1 / absent.size))
        best, present = np.append(there.max(axis=1), aside.max(axis=1)), np.arange(len(there) + len(aside)) < len(there)
        rows[" + ".join(names)] = {
            "brier": float(brier_score_loss(truth, p, sample_weight=weight)),
            "presence": float(roc_auc_score(present, best)),
        }
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--backbones", nargs="*", default=["lite"])
    parser.add_argument("--out", type=Path, default=Path("out/cut_features.json"))
    options = parser.parse_args()
    command = f"python -m benchmarks.cut_features --data FOLDER --backbones {' '.join(options.backbones)}"
    result: dict[str, Any] = {"command": f"{command} --out results/cut-features.json", "chosen_on": CHOSEN_ON}
    for backbone in options.backbones:
        model = diptych.load(backbone, cache=options.cache or True)
        bank = np.random.default_rng(0).permutation(picture_nouns())[:NOUNS].tolist()
        empty, nouns = encoded(EMPTY, model, model.run), encoded(bank, model, model.run)
        result[backbone] = {}
        for name in SETS:
            embedded_set = embedded(name, options.data, model)
            drawn = encoded(list(embedded_set.drawn.words), model, model.run)
            result[backbone][name] = measured(embedded_set, empty, nouns, drawn)
            for features, row in result[backbone][name].items():
                print(f"{backbone} {name} {features:38} {row['brier']:.4f} {row['presence']:.3f}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
