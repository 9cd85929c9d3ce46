"""Proofs of curation: at equal size and equal length of texts, balanced captions name rare things more often than
others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.curate import Captions, PhotoPair
from diptych.evaluation.proofs.trial import Claim, Tabled, Trial, hash_of_words
from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.methods.curate.metaclip import EntryCounts, MetaCLIP

HEAD = 0.05
"""Share of the entries met that lies above t; the paper's 20,000 puts about 3 % there."""


RANDOM = "as many captions of the same lengths at random"


def open_balance(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure MetaCLIP on all captions of a set; seeds draw. Value of a rare entry: the share of its captions that is
    kept.

    Baseline and size: the verdicts, permuted among captions that hold equally many entries. The control has p_e
    permuted among entries, against its own permuted verdicts.
    """
    data = open_data(present(name), need="captions", text="caption_*")
    texts = tuple(text for t in data.splits.values() for own in t.columns["captions"].values for text in own)
    curator, stream = MetaCLIP(), Captions(texts)
    plan = curator.plan(Kit(), stream, run)
    met = plan.counts[plan.counts > 0]
    t = float(np.quantile(met, 1 - HEAD, method="lower"))
    curator = replace(curator, t=t)
    rows, entries = curator.matcher.match(texts)
    rare = np.flatnonzero((plan.counts > 0) & (plan.counts <= t))

    def recall(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        kept = np.bincount(entries[keep[rows]], minlength=len(plan.counts))
        return kept[rare] / plan.counts[rare].astype(np.float64)

    table: dict[str, list[NDArray[np.float64]]] = {}
    shares = []
    for seed in seeds:
        own = replace(run, seed=seed)
        for kind, used in (("own", plan), ("permuted", _permuted(plan, own))):
            keep = np.array([v.keep for v in curator.apply(Kit(), used, stream, own)])
            drawn = _shuffled(keep, np.bincount(rows, minlength=len(texts)), own)
            for called, chosen in ((kind, keep), (f"{kind}, random", drawn)):
                table.setdefault(called, []).append(recall(chosen))
            shares += [float(keep.mean())] if kind == "own" else []
    facts = {
        "data_hash": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "items": len(texts),
        "t": t,
        "entries_met": len(met),
        "rare_entries": len(rare),
        "matched_share": plan.matched / plan.texts,
        "kept_share": float(np.mean(shares)),
    }
    return Tabled(backbone, run, seeds, "tail_recall", facts, {k: np.stack(v) for k, v in table.items()})


def open_mismatch(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure the CLIP-score filter; seeds draw a caption a photo, and the half of the pairs whose captions move on by
    one. A verdict is right or wrong.
    """
    data = open_data(present(name), need="captions", text="caption_*")
    table = data.split("val" if "val" in data.splits else next(iter(data.splits)))
    said = [tuple(own) for own in table.columns["captions"].values]
    kit, filter_ = Kit({"main": backbone}), CLIPScoreFilter(share=0.5)
    hits: dict[str, list[NDArray[np.float64]]] = {"own": [], "other photos": []}
    for seed in seeds:
        rng = np.random.default_rng(replace(run, seed=seed).integer("mismatch"))
        texts = [own[int(rng.integers(len(own)))] for own in said]
        moved = rng.permutation(len(texts))[: len(texts) // 2]
        right = np.ones(len(texts), dtype=bool)
        right[moved] = False
        spoken = np.array(texts, dtype=object)
        spoken[moved] = spoken[np.roll(moved, 1)]
        for kind, order in (("own", np.arange(len(texts))), ("other photos", rng.permutation(len(texts)))):
            photo = table.items.__getitem__
            pairs = Captions(tuple(PhotoPair(photo, int(i), str(t)) for i, t in zip(order, spoken, strict=True)))
            keep = np.array([v.keep for v in filter_.apply(kit, filter_.plan(kit, pairs, run), pairs, run)])
            hits[kind].append((keep == right).astype(np.float64))
    values = {kind: np.stack(rows) for kind, rows in hits.items()}
    facts = {"data_hash": hash_of_words(table.items, [t for own in said for t in own]), "items": len(table)}
    return Tabled(backbone, run, seeds, "accuracy", facts, {**values, "half": np.full_like(values["own"], 0.5)})


def _permuted(plan: EntryCounts, run: Run) -> EntryCounts:
    """Give the counts of the entries that were met to other entries that were met."""
    rng, met = np.random.default_rng(run.integer("permuted entries")), np.flatnonzero(plan.counts)
    counts = plan.counts.copy()
    counts[met] = plan.counts[rng.permutation(met)]
    return replace(plan, counts=counts)


def _shuffled(keep: NDArray[np.bool_], lengths: NDArray[np.int64], run: Run) -> NDArray[np.bool_]:
    """Permute the verdicts among texts with equally many entries."""
    rng, out = np.random.default_rng(run.integer("shuffled verdicts")), keep.copy()
    for n in np.unique(lengths):
        own = np.flatnonzero(lengths == n)
        out[own] = keep[rng.permutation(own)]
    return out


TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "metaclip": Trial(
            (Claim(RANDOM, base=Arm("own, random")),),
            own=Arm("own"),
            controls=(Claim(RANDOM, own=Arm("permuted"), base=Arm("permuted, random")),),
            bench=open_balance,
        ),
        "clip-score": Trial(
            (Claim("half"),), own=Arm("own"), controls=(Claim("half", own=Arm("other photos")),), bench=open_mismatch
        ),
    }
)
