"""Proofs of audits: the drop between groups that other photos selected, and swapped words found in captions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from diptych.evaluation.datasets import known_set
from diptych.evaluation.proofs.own import OwnTrial
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
from diptych.metrics.interval import one_sided_lower
from diptych.nn.text.word_spans import words

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupsTrial:
    """Seeds draw the halves: each half selects the groups for the other; the control draws the groups at random within
    each class.
    """

    metric: str = "drop"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return claim and control; see ``OwnTrial``. Bounds are over classes, of means over both directions and the
        seeds.
        """
        folder, method, known = present(name), CounterAnimal(), known_set(name)
        data = open_data(folder, need="groups", group=known.group if known and known.group else "group")
        table, classes = data.split("test"), ClassNames(tuple(tidy(c) for c in data.classes), (PROMPT,))
        labels, groups, names = columns(table)
        counts = np.bincount(labels * len(names) + groups, minlength=len(classes) * len(names)).reshape(
            len(classes), -1
        )
        enough = int(((counts >= 2 * method.least).sum(axis=1) >= 2).sum())
        if enough < 2:
            raise DataError(
                f"{enough} classes of {name} have two groups of {2 * method.least} items, and an interval over classes "
                f"needs 2: give more items in each class and group."
            )
        hits = predictions(Kit({"main": backbone}), classes, table.items, run) == labels

        def drops(method: CounterAnimal, random: bool) -> dict[int, float]:
            pairs: list[Pair] = []
            for seed in seeds:
                run_of_seed = replace(run, seed=seed)
                rng = np.random.default_rng(run_of_seed.integer("relabel"))
                given = relabelled(labels, groups, rng) if random else groups
                pairs += method.pairs(hits, labels, given, (len(classes), len(names)), run_of_seed, "halves")
            return {y: common - counter for y, (common, counter) in class_accuracies(hits, pairs).items()}

        own, chance = drops(method, False), drops(method, True)
        same = drops(replace(method, selection="all"), True)
        claim, control = (over_classes(list(d.values()), sides=1) for d in (own, chance))
        gain = over_classes([own[y] - same[y] for y in own if y in same], least=-2.0, sides=1)
        about = {"over": "no drop", "variant": None, "shots": 0}
        return {
            "data_hash": data.hash,
            "items": len(table),
            "classes": len(classes),
            "groups": names,
            "claims": [
                {
                    **about,
                    "gain": claim.value,
                    "gain_lower95": claim.low,
                    "method": {self.metric: claim.value},
                    "baseline": {self.metric: 0.0},
                    "shown": claim.low > 0,
                }
            ],
            "controls": [
                {
                    **about,
                    "gain": control.value,
                    "gain_lower95": control.low,
                    "control": {self.metric: control.value},
                    "failed": control.low <= 0,
                },
            ],
            "beside": [
                {
                    "name": "random groups, selected and measured on the same items",
                    "shots": 0,
                    "twin": {self.metric: over_classes(list(same.values())).value},
                    "gain": gain.value,
                    "gain_lower95": gain.low,
                }
            ],
        }


@dataclass(frozen=True)
class FoilTrial:
    """Seeds draw one caption a photo and the swap; the control sees the photo of another caption.

    LA is the share of captions whose most negative word is the swapped one. Nouns may be more negative than "a" and
    "of" on any photo, so it is also measured among the words that could have been swapped, where chance is 1 over their
    number; there the control is judged.
    """

    metric: str = "la"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return claims, control and twins; see ``OwnTrial``."""
        folder, wordnet = present(name), WordNet.load()
        data = open_data(folder, need="captions", text="caption_*")
        split = "val" if "val" in data.splits else next(iter(data.splits))
        said = [tuple(own) for own in data.split(split).columns["captions"].values]
        kind = kinds(
            wordnet, counted([tuple(own) for t in data.splits.values() for own in t.columns["captions"].values])
        )
        rows = [i for i, own in enumerate(said) if foil(own, kind, np.random.default_rng(0), wordnet)]
        items = data.split(split).take(rows).items
        fitted = CLIP4DM("most-negative").fit(Kit({"main": backbone}), Evidence(), run)
        measured: dict[str, list[Floats]] = {}
        precision = []
        for seed in seeds:
            rng = np.random.default_rng(replace(run, seed=seed).integer("foils"))
            foils = [f for i in rows if (f := foil(said[i], kind, rng, wordnet))]
            order = rng.permutation(len(rows))
            other = np.empty(len(rows), dtype=np.int64)
            other[order] = np.roll(order, 1)
            wrong: Table[Any] = Table(items, {"captions": Column("captions", tuple((f.wrong,) for f in foils))})
            right: Table[Any] = Table(items, {"captions": Column("captions", tuple((f.right,) for f in foils))})
            scored, swapped = (
                fitted.score(wrong, run),
                fitted.score(Table(wrong.take(other.tolist()).items, wrong.columns), run),
            )
            places = [words(f.wrong) for f in foils]
            nouns = [
                [i for i, (a, b) in enumerate(p) if f.wrong[a:b].lower() in kind]
                for f, p in zip(foils, places, strict=True)
            ]
            for key, parts in (("own", scored.parts), ("other", swapped.parts)):
                weights = [np.array([p.weight for p in own]) for own in parts]
                measured.setdefault(key, []).append(_hits(foils, places, weights, None))
                measured.setdefault(f"{key} nouns", []).append(_hits(foils, places, weights, nouns))
            without = _leave_one_out(backbone, items, [f.wrong for f in foils], places, run)
            measured.setdefault("leave one word out", []).append(_hits(foils, places, without, None))
            measured.setdefault("chance", []).append(np.array([1 / len(p) for p in places]))
            measured.setdefault("chance nouns", []).append(np.array([1 / len(n) for n in nouns]))
            honest = fitted.score(right, run)
            for key, good, bad in (
                ("F-CLIPScore", honest.values, scored.values),
                ("CLIPScore", honest.columns["clipscore"], scored.columns["clipscore"]),
            ):
                precision.append((key, _average_precision(good.numpy(), bad.numpy())))
        m = {key: np.stack(values) for key, values in measured.items()}
        claims = [
            self._claim(m["own"], m["chance"], "a word at random", run),
            self._claim(m["own nouns"], m["chance nouns"], "a swappable word at random", run),
        ]
        control = one_sided_lower(m["other nouns"], m["chance nouns"], run.integer("bootstrap"))
        beside = []
        for twin, own, base in (
            ("leave one word out", "own", "leave one word out"),
            ("photo of another caption, all words", "own", "other"),
        ):
            gain = one_sided_lower(m[own], m[base], run.integer("bootstrap"))
            beside.append(
                {
                    "name": twin,
                    "shots": 0,
                    "twin": {self.metric: float(m[base].mean())},
                    "gain": gain.value,
                    "gain_lower95": gain.low,
                }
            )
        return {
            "data_hash": hashlib.sha256(
                "".join([*(items.key(i) for i in range(len(items))), *(t for i in rows for t in said[i])]).encode()
            ).hexdigest(),
            "items": len(rows),
            "split": split,
            "swappable_words": len(kind),
            "average_precision": {
                k: float(np.mean([v for key, v in precision if key == k])) for k in ("F-CLIPScore", "CLIPScore")
            },
            "claims": claims,
            "controls": [
                {
                    "over": "a swappable word at random",
                    "variant": None,
                    "shots": 0,
                    "gain": control.value,
                    "gain_lower95": control.low,
                    "control": {self.metric: float(m["other nouns"].mean())},
                    "failed": control.low <= 0,
                }
            ],
            "beside": beside,
        }

    def _claim(self, own: Floats, base: Floats, over: str, run: Run) -> dict[str, Any]:
        gain = one_sided_lower(own, base, run.integer("bootstrap"))
        return {
            "over": over,
            "variant": None,
            "shots": 0,
            "gain": gain.value,
            "gain_lower95": gain.low,
            "method": {self.metric: float(own.mean())},
            "baseline": {self.metric: float(base.mean())},
            "shown": gain.low > 0,
        }


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


TRIALS: Mapping[str, OwnTrial] = MappingProxyType({"counteranimal": GroupsTrial(), "clip4dm": FoilTrial()})
