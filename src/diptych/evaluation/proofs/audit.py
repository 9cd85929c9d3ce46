"""Proofs of audits: the drop between groups that other photos selected, and swapped words found in captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Evidence, Table, Texts
from diptych.core.errors import DataError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.foils import Foil, counted, foil, kinds
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.wordnet import WordNet
from diptych.evaluation.arms import Arm, Statistic
from diptych.evaluation.datasets import known_set
from diptych.evaluation.proofs.trial import Claim, Tabled, Trial, hash_of_words
from diptych.features.embed import embed
from diptych.methods.audit.clip4dm import CLIP4DM
from diptych.methods.audit.counteranimal import (
    PROMPT,
    CounterAnimal,
    Pair,
    class_accuracies,
    columns,
    over_classes,
    predictions,
    relabelled,
)
from diptych.metrics.interval import Interval
from diptych.nn.text.word_spans import words

Floats = NDArray[np.float64]
_WORD, _NOUN = "a word at random", "a swappable word at random"


def _drop(values: Floats, _: int) -> Interval:
    return over_classes(values[np.isfinite(values)].tolist())


def _gain(first: Floats, second: Floats, _: int, *, sides: int = 2) -> Interval:
    gains, least = first - second, -2.0 if second.any() else -1.0
    return over_classes(gains[np.isfinite(gains)].tolist(), least=least, sides=sides)


DROPS = Statistic(_drop, _gain, partial(_gain, sides=1))
"""(1, K) drops of K classes, means over both directions and the seeds; NaN: the class has no two groups that differ.
Intervals are over classes, see ``over_classes``.
"""


def open_groups(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the drop between groups; seeds draw the halves: each half selects the groups for the other.

    The control draws the groups at random within each class.

    Raises:
        NotAvailable: the data set is not on this machine.
        DataError: fewer than two classes have two groups of enough items.
    """
    folder, method, known = present(name), CounterAnimal(), known_set(name)
    data = open_data(folder, need="groups", group=known.group if known and known.group else "group")
    table, classes = data.split("test"), ClassNames(tuple(tidy(c) for c in data.classes), (PROMPT,))
    labels, groups, names = columns(table)
    counts = np.bincount(labels * len(names) + groups, minlength=len(classes) * len(names)).reshape(len(classes), -1)
    enough = int(((counts >= 2 * method.least).sum(axis=1) >= 2).sum())
    if enough < 2:
        raise DataError(
            f"{enough} classes of {name} have two groups of {2 * method.least} items, and an interval over classes "
            f"needs 2: give more items in each class and group."
        )
    hits = predictions(Kit({"main": backbone}), classes, table.items, run) == labels

    def drops(method: CounterAnimal, random: bool) -> Floats:
        pairs: list[Pair] = []
        for seed in seeds:
            run_of_seed = replace(run, seed=seed)
            rng = np.random.default_rng(run_of_seed.integer("relabel"))
            given = relabelled(labels, groups, rng) if random else groups
            pairs += method.pairs(hits, labels, given, (len(classes), len(names)), run_of_seed, "halves")
        values = np.full((1, len(classes)), np.nan)
        for y, (common, counter) in class_accuracies(hits, pairs).items():
            values[0, y] = common - counter
        return values

    values = {
        "own": drops(method, False),
        "random groups": drops(method, True),
        "same items": drops(replace(method, selection="all"), True),
        "no drop": np.zeros((1, len(classes))),
    }
    facts = {"data_hash": data.hash, "items": len(table), "classes": len(classes), "groups": names}
    return Tabled(backbone, run, seeds, "drop", facts, values, statistic=DROPS)


def open_foils(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure where swapped words are found; seeds draw one caption a photo and the swap.

    The control sees the photo of another caption.

    LA is the share of captions whose most negative word is the swapped one. Nouns may be more negative than "a" and
    "of" on any photo, so it is also measured among the words that could have been swapped, where chance is 1 over their
    number; there the control is judged.
    """
    wordnet, data = WordNet.load(), open_data(present(name), need="captions", text="caption_*")
    split = "val" if "val" in data.splits else next(iter(data.splits))
    said = [tuple(own) for own in data.split(split).columns["captions"].values]
    kind = kinds(wordnet, counted([tuple(own) for t in data.splits.values() for own in t.columns["captions"].values]))
    rows = [i for i, own in enumerate(said) if foil(own, kind, np.random.default_rng(0), wordnet)]
    items = data.split(split).take(rows).items
    fitted = CLIP4DM("most-negative").fit(Kit({"main": backbone}), Evidence(), run)
    table: dict[str, list[Floats]] = {}
    precision: dict[str, list[float]] = {}
    for seed in seeds:
        rng = np.random.default_rng(replace(run, seed=seed).integer("foils"))
        foils = [f for i in rows if (f := foil(said[i], kind, rng, wordnet))]
        order = rng.permutation(len(rows))
        other = np.empty(len(rows), dtype=np.int64)
        other[order] = np.roll(order, 1)
        wrong: Table[Any] = Table(items, {"captions": Column("captions", tuple((f.wrong,) for f in foils))})
        right: Table[Any] = Table(items, {"captions": Column("captions", tuple((f.right,) for f in foils))})
        scored = fitted.score(wrong, run)
        swapped = fitted.score(Table(wrong.take(other.tolist()).items, wrong.columns), run)
        places = [words(f.wrong) for f in foils]
        nouns = [
            [i for i, (a, b) in enumerate(p) if f.wrong[a:b].lower() in kind]
            for f, p in zip(foils, places, strict=True)
        ]
        for key, parts in (("own", scored.parts), ("other photo", swapped.parts)):
            weights = [np.array([p.weight for p in own]) for own in parts]
            table.setdefault(key, []).append(_hits(foils, places, weights, None))
            table.setdefault(f"{key}, nouns", []).append(_hits(foils, places, weights, nouns))
        without = _leave_one_out(backbone, items, [f.wrong for f in foils], places, run)
        table.setdefault("leave one word out", []).append(_hits(foils, places, without, None))
        table.setdefault(_WORD, []).append(np.array([1 / len(p) for p in places]))
        table.setdefault(_NOUN, []).append(np.array([1 / len(n) for n in nouns]))
        honest = fitted.score(right, run)
        for key, good, bad in (
            ("F-CLIPScore", honest.values, scored.values),
            ("CLIPScore", honest.columns["clipscore"], scored.columns["clipscore"]),
        ):
            precision.setdefault(key, []).append(_average_precision(good.numpy(), bad.numpy()))
    facts = {
        "data_hash": hash_of_words(items, [t for i in rows for t in said[i]], ""),
        "items": len(rows),
        "split": split,
        "swappable_words": len(kind),
        "average_precision": {key: float(np.mean(values)) for key, values in precision.items()},
    }
    return Tabled(backbone, run, seeds, "la", facts, {key: np.stack(values) for key, values in table.items()})


def _hits(
    foils: Sequence[Foil],
    places: Sequence[Sequence[tuple[int, int]]],
    weights: Sequence[Floats],
    among: Sequence[Sequence[int]] | None,
) -> Floats:
    """(N,) 1.0 where the lowest weight, among some words or all, is the swapped word's."""
    found = []
    for i, (f, p, w) in enumerate(zip(foils, places, weights, strict=True)):
        candidates = range(len(p)) if among is None else among[i]
        lowest = min(candidates, key=lambda j: float(w[j]))
        found.append(float(p[lowest][0] <= f.start < p[lowest][1]))
    return np.array(found)


def _leave_one_out(
    backbone: Backbone, items: Any, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], run: Run
) -> list[Floats]:
    """Weight of a word: by how much the cosine falls when it is left out."""
    cut = [
        (text, *(f"{text[:a]}{text[b:]}".replace("  ", " ").strip() or " " for a, b in p))
        for text, p in zip(texts, places, strict=True)
    ]
    flat = list(dict.fromkeys(t for own in cut for t in own))
    z = embed(backbone.image, items, run)
    t = embed(backbone.text, Texts(tuple(flat)), run)
    z, t = z / z.norm(dim=-1, keepdim=True), t / t.norm(dim=-1, keepdim=True)
    at = {text: i for i, text in enumerate(flat)}
    found = []
    for i, own in enumerate(cut):
        cosines = (t[[at[text] for text in own]] @ z[i]).numpy().astype(np.float64)
        found.append(cosines[0] - cosines[1:])
    return found


def _average_precision(good: NDArray[np.float32], bad: NDArray[np.float32]) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(np.r_[np.ones(len(good)), np.zeros(len(bad))], np.r_[good, bad]))


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "counteranimal": Trial(
            (Claim("no drop"),),
            own=Arm("own"),
            controls=(Claim("no drop", own=Arm("random groups")),),
            beside={"random groups, selected and measured on the same items": Arm("same items")},
            bench=open_groups,
        ),
        "clip4dm": Trial(
            (Claim(_WORD), Claim(_NOUN, own=Arm("own, nouns"))),
            own=Arm("own"),
            controls=(Claim(_NOUN, own=Arm("other photo, nouns")),),
            beside={
                "leave one word out": Arm("leave one word out"),
                "photo of another caption, all words": Arm("other photo"),
            },
            bench=open_foils,
        ),
    }
)
