"""Proof of CLIP4DM: swapped words found in captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Column, Evidence, Kit, Run, Table, Texts
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.words.wordnet import WordNet
from diptych.evaluation.arms import Arm, Floats
from diptych.features.embed import embed
from diptych.methods.audit.clip4dm import CLIP4DM
from diptych.nn.text.word_spans import words
from proofs.benches.audits.foils import Foil, counted, foil, kinds
from proofs.trial import Claim, Tabled, Trial, hash_of_words

_WORD, _NOUN = "a word at random", "a swappable word at random"
_OTHER = "the photo of another caption, among swappable words"


def open_foils(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure where swapped words are found; seeds draw one caption per photo and the swap.

    The control sees the photo of another caption.

    LA is the share of captions whose most negative word is the swapped one. Nouns may be more negative than "a" and
    "of" on any photo, so it is also measured among the words that could have been swapped, where chance is 1 over their
    number; there the control is judged.
    """
    wordnet, data = WordNet.load(), open_data(present(name), need="captions", text="caption_*")
    split = "val" if "val" in data.splits else next(iter(data.splits))
    captions = [tuple(texts) for texts in data.split(split).columns["captions"].values]
    kind = kinds(
        wordnet, counted([tuple(texts) for t in data.splits.values() for texts in t.columns["captions"].values])
    )
    rows = [i for i, texts in enumerate(captions) if foil(texts, kind, np.random.default_rng(0), wordnet)]
    items = data.split(split).take(rows).items
    fitted = CLIP4DM("most-negative").fit(Kit({"main": backbone}), Evidence(), run)
    table: dict[str, list[Floats]] = {}
    precision: dict[str, list[float]] = {}
    for seed in seeds:
        rng = np.random.default_rng(replace(run, seed=seed).integer("foils"))
        foils = [f for i in rows if (f := foil(captions[i], kind, rng, wordnet))]
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
            weights = [np.array([p.weight for p in row]) for row in parts]
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
        "data_hash": hash_of_words(items, [t for i in rows for t in captions[i]], ""),
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
    rows = []
    for i, (f, p, w) in enumerate(zip(foils, places, weights, strict=True)):
        candidates = range(len(p)) if among is None else among[i]
        lowest = min(candidates, key=lambda j: float(w[j]))
        rows.append(float(p[lowest][0] <= f.start < p[lowest][1]))
    return np.array(rows)


def _leave_one_out(
    backbone: Backbone, items: Any, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]], run: Run
) -> list[Floats]:
    """Weight of a word: by how much the cosine falls when it is left out."""
    cut = [
        (text, *(f"{text[:a]}{text[b:]}".replace("  ", " ").strip() or " " for a, b in p))
        for text, p in zip(texts, places, strict=True)
    ]
    flat = list(dict.fromkeys(t for pieces in cut for t in pieces))
    z = embed(backbone.image, items, run)
    t = embed(backbone.text, Texts(tuple(flat)), run)
    z, t = z / z.norm(dim=-1, keepdim=True), t / t.norm(dim=-1, keepdim=True)
    at = {text: i for i, text in enumerate(flat)}
    rows = []
    for i, pieces in enumerate(cut):
        cosines = (t[[at[text] for text in pieces]] @ z[i]).numpy().astype(np.float64)
        rows.append(cosines[0] - cosines[1:])
    return rows


def _average_precision(good: NDArray[np.float32], bad: NDArray[np.float32]) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(np.r_[np.ones(len(good)), np.zeros(len(bad))], np.r_[good, bad]))


TRIAL = Trial(
    (
        Claim(_NOUN, arm=Arm("own, nouns")),
        Claim(_OTHER, arm=Arm("own, nouns"), base=Arm("other photo, nouns")),
    ),
    arm=Arm("own"),
    controls=(Claim(_NOUN, arm=Arm("other photo, nouns")),),
    beside={
        _WORD: Arm(_WORD),
        "leave one word out": Arm("leave one word out"),
        "photo of another caption, all words": Arm("other photo"),
    },
    bench=open_foils,
)
