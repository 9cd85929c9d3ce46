"""Proofs of curation: at equal size and equal length of texts, balanced captions name rare things more often than
others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.data import Samples
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.proofs.own import OwnTrial
from diptych.methods.curate.clip_score import CLIPScoreFilter
from diptych.methods.curate.metaclip import EntryCounts, MetaCLIP
from diptych.metrics.interval import one_sided_lower

HEAD = 0.05
"""Share of the entries met that lies above t; the paper's 20,000 puts about 3 % there."""


@dataclass(frozen=True)
class Captions:
    """Captions, or photos with captions, as a stream.

    Args:
        texts: in order.
        start: first position.
    """

    texts: tuple[Any, ...]
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return iter([*enumerate(self.texts)][self.start :])

    def seek(self, position: int) -> Captions:
        """Return the stream from a position on."""
        return replace(self, start=position)


@dataclass(frozen=True)
class BalanceTrial:
    """Seeds draw. Value of a rare entry: the share of its captions that is kept.

    Baseline and size: the verdicts, permuted among captions that hold equally many entries. The control has p_e
    permuted among entries, against its own permuted verdicts.
    """

    metric: str = "tail_recall"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return claim, control and the size of the sets; see ``OwnTrial``."""
        data = open_data(present(name), need="captions", text="caption_*")
        texts = tuple(text for t in data.splits.values() for own in t.columns["captions"].values for text in own)
        curator, stream = MetaCLIP(), Captions(texts)
        plan = curator.plan(Kit(), stream, run)
        met = plan.counts[plan.counts > 0]
        t = float(np.quantile(met, 1 - HEAD, method="lower"))
        curator = replace(curator, t=t)
        rows, found = curator.matcher.match(texts)
        rare = np.flatnonzero((plan.counts > 0) & (plan.counts <= t))

        def recall(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
            kept = np.bincount(found[keep[rows]], minlength=len(plan.counts))
            return kept[rare] / plan.counts[rare].astype(np.float64)

        measured: dict[str, list[NDArray[np.float64]]] = {}
        shares: dict[str, list[float]] = {}
        for seed in seeds:
            own = replace(run, seed=seed)
            for kind, used in (("own", plan), ("control", _permuted(plan, own))):
                keep = np.array([v.keep for v in curator.apply(Kit(), used, stream, own)])
                measured.setdefault(kind, []).append(recall(keep))
                measured.setdefault(f"{kind} random", []).append(
                    recall(_shuffled(keep, np.bincount(rows, minlength=len(texts)), own))
                )
                shares.setdefault(kind, []).append(float(keep.mean()))
        m = {kind: np.stack(values) for kind, values in measured.items()}
        gain, control = (one_sided_lower(m[k], m[f"{k} random"], run.integer("bootstrap")) for k in ("own", "control"))
        about = {"over": "as many captions of the same lengths at random", "variant": None, "shots": 0}
        return {
            "data_hash": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
            "items": len(texts),
            "t": t,
            "entries_met": len(met),
            "rare_entries": len(rare),
            "matched_share": plan.matched / plan.texts,
            "kept_share": float(np.mean(shares["own"])),
            "claims": [
                {
                    **about,
                    "gain": gain.value,
                    "gain_lower95": gain.low,
                    "method": {self.metric: float(m["own"].mean())},
                    "baseline": {self.metric: float(m["own random"].mean())},
                    "shown": gain.low > 0,
                }
            ],
            "controls": [
                {
                    **about,
                    "gain": control.value,
                    "gain_lower95": control.low,
                    "control": {self.metric: float(m["control"].mean())},
                    "failed": control.low <= 0,
                }
            ],
            "beside": [],
        }


@dataclass(frozen=True)
class Shown:
    """A photo and a caption, as a stream gives them.

    Args:
        photos: all photos.
        number: of this one.
        said: the caption.
    """

    photos: Samples[Any]
    number: int
    said: str

    def image(self) -> Any:
        """Return the photo."""
        return self.photos[self.number]

    def text(self) -> str:
        """Return the caption."""
        return self.said


@dataclass(frozen=True)
class MismatchTrial:
    """Seeds draw a caption a photo, and the half of the pairs whose captions move on by one; a verdict is right or
    wrong.
    """

    metric: str = "accuracy"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return claim and control; see ``OwnTrial``."""
        data = open_data(present(name), need="captions", text="caption_*")
        table = data.split("val" if "val" in data.splits else next(iter(data.splits)))
        said = [tuple(own) for own in table.columns["captions"].values]
        kit, filter_ = Kit({"main": backbone}), CLIPScoreFilter(share=0.5)
        hits: dict[str, list[NDArray[np.float64]]] = {"own": [], "control": []}
        for seed in seeds:
            rng = np.random.default_rng(replace(run, seed=seed).integer("mismatch"))
            texts = [own[int(rng.integers(len(own)))] for own in said]
            moved = rng.permutation(len(texts))[: len(texts) // 2]
            right = np.ones(len(texts), dtype=bool)
            right[moved] = False
            spoken = np.array(texts, dtype=object)
            spoken[moved] = spoken[np.roll(moved, 1)]
            for kind, order in (("own", np.arange(len(texts))), ("control", rng.permutation(len(texts)))):
                pairs = Captions(tuple(Shown(table.items, int(i), str(t)) for i, t in zip(order, spoken, strict=True)))
                plan = filter_.plan(kit, pairs, run)
                keep = np.array([v.keep for v in filter_.apply(kit, plan, pairs, run)])
                hits[kind].append((keep == right).astype(np.float64))
        m = {kind: np.stack(values) for kind, values in hits.items()}
        half = np.full_like(m["own"], 0.5)
        gain, control = (one_sided_lower(m[kind], half, run.integer("bootstrap")) for kind in ("own", "control"))
        about = {"over": "half", "variant": None, "shots": 0}
        own, spoiled = ({self.metric: float(m[kind].mean())} for kind in ("own", "control"))
        keys = [*(table.items.key(i) for i in range(len(table))), *(t for texts in said for t in texts)]
        claim = {
            **about,
            "gain": gain.value,
            "gain_lower95": gain.low,
            "method": own,
            "baseline": {self.metric: 0.5},
            "shown": gain.low > 0,
        }
        spoilt = {
            **about,
            "gain": control.value,
            "gain_lower95": control.low,
            "control": spoiled,
            "failed": control.low <= 0,
        }
        return {
            "data_hash": hashlib.sha256("\0".join(keys).encode()).hexdigest(),
            "items": len(table),
            "claims": [claim],
            "controls": [spoilt],
            "beside": [],
        }


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


TRIALS: Mapping[str, OwnTrial] = MappingProxyType({"metaclip": BalanceTrial(), "clip-score": MismatchTrial()})
