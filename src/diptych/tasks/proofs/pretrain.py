"""Proofs of what trains on pairs: recall on held-out photos over a baseline, and the same training with the one thing spoiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.run import Run
from diptych.methods.pretrain.clip_loss import ClipLoss
from diptych.methods.pretrain.siglip_loss import SigLipLoss
from diptych.metrics.interval import bootstrap_mean, one_sided_lower
from diptych.tasks.proofs.classify import CHANCE
from diptych.tasks.proofs.coca import CoCaTrial
from diptych.tasks.proofs.own import OwnTrial
from diptych.tasks.proofs.pairs import FRESH, Arm, PairBench, shuffled_captions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what an arm reaches, or how far it lies above another arm.

    Args:
        arm: None is chance.
        less: what is taken away.
    """

    arm: Arm | None
    less: Arm | None = None

    def recall(self, bench: PairBench, k: int) -> Floats:
        """Return (seeds, N)."""
        own = bench.recall(self.arm, k)
        return own if self.less is None else own - bench.recall(self.less, k)


@dataclass(frozen=True)
class Comparison:
    """A gain in recall at 1.

    Args:
        over: what the baseline is called.
        own: must be above ``base`` in a claim, and must not in a control.
        base: the baseline.
        k: recall at how many.
    """

    over: str
    own: Side
    base: Side
    k: int = 1


@dataclass(frozen=True)
class PairTrial:
    """The proof of an objective or a recipe.

    Args:
        claims: all must show.
        controls: none may show.
        beside: name -> a twin that is measured and reported.
        queries: which captions of the held-out photos are searched for.
    """

    claims: tuple[Comparison, ...]
    controls: tuple[Comparison, ...]
    beside: Mapping[str, Comparison] = field(default_factory=dict)
    queries: slice = field(default_factory=lambda: slice(None))  # Python 3.11 hashes no slice
    metric: str = "recall"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return hash, items, claims, controls and twins of one data set; see ``OwnTrial``."""
        bench = PairBench(name, backbone, run, seeds, self.queries)
        seed = run.integer("bootstrap")

        def compared(c: Comparison) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], float]:
            gain = one_sided_lower(c.own.recall(bench, c.k), c.base.recall(bench, c.k), seed)
            about = {"over": c.over, "variant": None, "shots": 0, "k": c.k, "gain": gain.value, "gain_lower95": gain.low}
            return about, _measured(c.own, bench, c.k, seed), _measured(c.base, bench, c.k, seed), gain.low

        claims, controls, beside = [], [], []
        for c in self.claims:
            about, own, base, low = compared(c)
            claims.append({**about, "method": own, "baseline": base, "shown": low > 0})
        for c in self.controls:
            about, own, _, low = compared(c)
            controls.append({**about, "control": own, "failed": low <= 0})
        for kind, c in self.beside.items():
            about, own, base, low = compared(c)
            beside.append({**about, "name": kind, "own": own, "twin": base})
        facts = {"data_hash": bench.hash, "split": "val", "items": len(bench.test), "train": len(bench.train)}
        return {**facts, "trains": "linear heads on frozen towers", "claims": claims, "controls": controls, "beside": beside}


def _measured(side: Side, bench: PairBench, k: int, seed: int) -> dict[str, Any]:
    found = bootstrap_mean(side.recall(bench, k), seed)
    more = {f"recall_at_{n}": float(side.recall(bench, n).mean()) for n in (1, 5, 10)}
    return {"recall": found.value, "ci95": [found.low, found.high], **more}


CLIP = Arm(ClipLoss())
CLIP_SHUFFLED = replace(CLIP, rows=shuffled_captions)
CLIP_16 = replace(CLIP, fit=replace(FRESH, batch=16))
SIGLIP = Arm(SigLipLoss(), start=(10.0, -10.0))
SIGLIP_16 = replace(SIGLIP, fit=replace(FRESH, batch=16))
NO_BIAS = replace(SIGLIP, start=(10.0, 0.0), learns=lambda name: not name.endswith("logit_bias"))

TRIALS: Mapping[str, OwnTrial] = MappingProxyType(
    {
        "clip-loss": PairTrial(
            (Comparison(CHANCE, Side(CLIP), Side(None)), Comparison(CHANCE, Side(CLIP), Side(None), 5)),
            (Comparison(CHANCE, Side(CLIP_SHUFFLED), Side(None)), Comparison(CHANCE, Side(CLIP_SHUFFLED), Side(None), 5)),
        ),
        "siglip-loss": PairTrial(
            (Comparison(CHANCE, Side(SIGLIP), Side(None)), Comparison("clip-loss", Side(SIGLIP_16, SIGLIP), Side(CLIP_16, CLIP))),
            (
                Comparison(CHANCE, Side(replace(SIGLIP, rows=shuffled_captions)), Side(None)),
                Comparison("bias learnt from -10", Side(NO_BIAS), Side(SIGLIP)),
            ),
            {"clip-loss": Comparison("clip-loss", Side(SIGLIP), Side(CLIP))},
        ),
        "coca-loss": CoCaTrial(),
    }
)
