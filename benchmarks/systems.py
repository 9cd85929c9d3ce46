"""Systems on features that are there: a board cold and cached, one method at size, all of them on one page, and what
FuDD encodes.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.encoders import engines
from benchmarks.measure import Row, Target, say
from benchmarks.scripted import ScriptedBackbone, scripted_data, scripted_pool
from diptych import catalog
from diptych.backbones.engines.engine import Engines
from diptych.backbones.sources.load import load
from diptych.core import ClassNames, Evidence, Kit, Run, Texts
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.views import TIP_VIEWS
from diptych.data.words.pools import VERSUS
from diptych.data.words.wordnet import WordNet
from diptych.evaluation.few_shot.board import board
from diptych.evaluation.few_shot.plan import Plan
from diptych.features.embed import embed
from diptych.methods.classify.fudd import FuDD
from diptych.nn.gaussian_discriminant import class_means, discriminant, pooled_scatter, shrunk_precision

SIX = ("zero-shot", "perceptionclip", "gda", "tip-adapter", "caps-adapter", "linear-probe")


@contextlib.contextmanager
def cached_board(classes: int, test: int) -> Iterator[Row]:
    """A board of six systems that need features only, on photos that ship, with lite: in an empty cache, and again.

    Args:
        classes: the first of the data set, at most.
        test: items of the test split, at most.
    """
    whole = open_data("demo:clothes")
    chosen = whole.classes[:classes]
    splits = {}
    for name, table in whole.splits.items():
        rows = [i for i, label in enumerate(table.labels()) if label < len(chosen)]
        splits[name] = table.take(rows[:: max(1, len(rows) // test)] if name == "test" else rows)
    data = LabelledData("clothes, part", chosen, splits)
    backbone = load("lite")
    plan = Plan(methods=SIX, shots=(4,), seeds=(1,))
    with tempfile.TemporaryDirectory(prefix="bench-board-") as work:
        engine = Engines(Path(engines().name), "auto", say)
        for encoder in (backbone.image, backbone.text):
            engine.runner(encoder, Run())
        numbers, encoded = itertools.count(), {"cold": 0, "cached": 0}

        def one(kind: str, cache: str) -> Any:
            run = Run(cache=Path(work) / cache, engine=engine)
            measured = board(data, backbone, run, plan)
            if measured.missing:
                raise ValueError(f"rows are missing: {measured.missing}")
            encoded[kind] = run.tally["encoded"]
            if kind == "cached" and encoded[kind]:
                raise ValueError(f"the cached board encoded {encoded[kind]} items")
            return [row.as_dict()["metrics"]["acc1"] for row in measured.rows]

        facts = {"methods": list(SIX), "classes": len(chosen), "test_items": len(splits["test"]), "encoded": encoded}
        yield Row(
            {"cold": lambda: one("cold", f"cache{next(numbers)}"), "cached": lambda: one("cached", "cache0")},
            len(SIX),
            "rows",
            facts=facts,
            targets=(
                Target("items encoded by the cached board", lambda _: float(encoded["cached"]), 0.0, least=False),
            ),
            rounds=2,
            warm=False,
        )


@contextlib.contextmanager
def gaussian(classes: int, shots: int, dim: int) -> Iterator[Row]:
    """GDA's class models from given features, beside the same classifier by NumPy and by scikit-learn."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, dim), dtype=np.float32)
    y = np.repeat(np.arange(classes), shots)
    x = centres[y] + 2 * rng.standard_normal((len(y), dim), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    features, labels = torch.from_numpy(x), torch.from_numpy(y)
    sample = x[:: max(1, len(x) // 200)]

    def ours() -> Any:
        means = class_means(features, labels, classes)
        weight, bias = discriminant(means, shrunk_precision(pooled_scatter(features, labels, means), len(features)))
        return sample @ weight.numpy().T + bias.numpy()

    def numpy_script() -> Any:
        means = np.stack([x[y == k].mean(axis=0) for k in range(classes)]).astype(np.float64)
        centred = x.astype(np.float64) - means[y]
        covariance = centred.T @ centred / (len(x) - 1)
        precision = dim * np.linalg.pinv((len(x) - 1) * covariance + np.trace(covariance) * np.eye(dim), hermitian=True)
        weight = means @ precision
        return sample @ weight.T - np.log(classes) - 0.5 * (weight * means).sum(axis=1)

    def sklearn_script() -> Any:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=dim / (dim + len(x) - 1)).fit(
            x.astype(np.float64), y
        )
        return model.decision_function(sample)

    yield Row(
        {"NumPy script": numpy_script, "scikit-learn LDA": sklearn_script, "diptych": ours},
        len(x),
        "samples",
        same=lambda scores: scores - scores.mean(axis=1, keepdims=True),
        facts={"classes": classes, "shots": shots, "dim": dim},
        rounds=1,  # scikit-learn takes half a minute
        warm=False,
    )


def feature_only() -> tuple[str, ...]:
    """Return the classifiers that ask for embeddings and no more."""
    return tuple(
        card["slug"]
        for card in catalog.cards()
        if card["verb"] == "classify"
        and set(card["needs"]["hooks"]) <= {"image", "text"}
        and not card["needs"]["extras"]
    )


@contextlib.contextmanager
def all_systems(classes: int, shots: int, test: int, dim: int) -> Iterator[Row]:
    """Every classifier that needs features only, fitted and measured on given features; texts are encoded before,
    and timed apart.
    """
    data = scripted_data(classes, shots, 4, test)
    backbone = ScriptedBackbone(classes, dim)
    slugs = feature_only()
    pool = scripted_pool(data.classes, 3)
    plan = Plan(methods=slugs, shots=(shots,), seeds=(1,))
    with tempfile.TemporaryDirectory(prefix="bench-systems-") as work:
        run = Run(cache=Path(work) / "cache", batch=1024)
        start = time.perf_counter()
        for table in data.splits.values():
            embed(backbone.image, table.items, run)
        for draws in (1, 10, 20):  # those that the systems ask for
            embed(backbone.image, data.splits["train"].items, run, views=replace(TIP_VIEWS, draws=draws))
        middle = time.perf_counter()
        texts = dict.fromkeys(text.value for texts in pool.texts.texts.values() for text in texts) | dict.fromkeys(
            WordNet.load().general_words()
        )
        embed(backbone.text, Texts(tuple(texts)), run)
        facts: dict[str, Any] = {
            "classes": classes, "shots": shots, "test_items": classes * test, "dim": dim, "texts": len(texts),
            "image_seconds": middle - start, "text_seconds": time.perf_counter() - middle,
        }  # fmt: skip

        def one() -> None:
            measured = board(data, backbone, run, plan, texts=pool)
            if measured.missing:
                raise ValueError(f"rows are missing: {measured.missing}")
            rows = [row.as_dict() for row in measured.rows]
            facts["systems"] = {
                ", ".join(part for part in (row["method"], row["variant"]) if part): {
                    "fit": row["seconds"]["fit"], "predict": row["seconds"]["predict"], "acc1": row["metrics"]["acc1"],
                } for row in rows
            }  # fmt: skip

        who = "diptych board, all systems that need features only"
        yield Row(
            {who: one},
            len(slugs),
            "systems",
            same=None,
            facts=facts,
            targets=(Target("seconds of the whole board", lambda rates: len(slugs) / rates[who], 60.0, least=False),),
            rounds=1,
            warm=False,
        )


@contextlib.contextmanager
def follow_ups(classes: int, photos: int) -> Iterator[Row]:
    """FuDD on given features: what it encodes of a pool with texts for every pair, and how often."""
    data = scripted_data(classes, 1, 1, photos // classes)
    backbone = ScriptedBackbone(classes)
    pool = scripted_pool(data.classes, 4).texts
    facts: dict[str, Any] = {}

    def one() -> None:
        backbone.written.asked.clear()
        with tempfile.TemporaryDirectory(prefix="bench-fudd-") as work:
            run, names = Run(cache=Path(work)), ClassNames(data.classes)
            fitted = FuDD().fit(Kit({"main": backbone}), names, Evidence(texts=pool), run)
            first = sum(backbone.written.asked.values())
            chosen = fitted.scores(data.splits["test"].items, run).candidates
        assert chosen is not None
        together = chosen.float().T @ chosen.float()
        pairs = [(a, b) for a, b in itertools.permutations(range(classes), 2) if together[a, b] > 0]
        of_pairs = {text.value for a, b in pairs for text in pool.texts[f"{names.names[a]}{VERSUS}{names.names[b]}"]}
        facts.update(
            classes=classes, photos=len(data.splits["test"]), pairs=classes * (classes - 1),
            pairs_that_occur=len(pairs),
            sentences_written=sum(len(texts) for key, texts in pool.texts.items() if VERSUS in key),
            distinct_sentences_of_pairs_that_occur=len(of_pairs),
            sentences_encoded=sum(backbone.written.asked.values()) - first,
            most_times_a_sentence=max(backbone.written.asked.values()),
        )  # fmt: skip

    yield Row(
        {"diptych FuDD, vectors given": one},
        classes * (photos // classes),
        "photos",
        same=None,
        facts=facts,
        targets=(
            Target(
                "sentences encoded / distinct sentences of pairs that occur",
                lambda _: facts["sentences_encoded"] / facts["distinct_sentences_of_pairs_that_occur"],
                1.0,
                least=False,
            ),
            Target(
                "times a sentence is encoded, at most",
                lambda _: float(facts["most_times_a_sentence"]),
                1.0,
                least=False,
            ),
        ),
        rounds=1,
        warm=False,
    )
