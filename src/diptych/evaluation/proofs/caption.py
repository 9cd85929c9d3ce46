"""Proofs of captioners: CIDEr-D of captions of held-out photos, whatever was learnt coming from sentences alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.data import Evidence, Text, TextPool
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.proofs.own import OwnTrial
from diptych.methods.caption.maccap import FittedMacCap, MacCap
from diptych.methods.caption.nearest_caption import NearestCaption
from diptych.metrics.caption import bleu, cider_d, rouge_l
from diptych.metrics.interval import one_sided_lower

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CaptionTrial:
    """Seeds train. The metric is CIDEr-D over 10, an image; the idf is that of the held-out photos' references."""

    metric: str = "cider_d"
    variant: str = "small"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return claim, control and twins; see ``OwnTrial``."""
        data = open_data(present(name), need="captions", text="caption_*")
        test = data.split("val")
        references = [list(own) for own in test.columns["captions"].values]
        learnt = tuple(Text(t) for own in data.split("train").columns["captions"].values for t in own)
        evidence: Evidence[Any] = Evidence(texts=TextPool({"": learnt}))
        method = MacCap(**MacCap.card.variants[self.variant])
        measured: dict[str, list[Floats]] = {}
        others: dict[str, list[float]] = {"bleu4": [], "rouge_l": []}

        def scored(kind: str, texts: Sequence[str]) -> None:
            measured.setdefault(kind, []).append(cider_d(texts, references) / 10)

        nearest = NearestCaption().fit(Kit({"main": backbone}), evidence, run)
        near = [own[0].value for own in nearest.caption(test.items, run)]
        for seed in seeds:
            own = replace(run, seed=seed)
            fitted = method.fit(Kit({"main": backbone}), evidence, own)
            texts = _first(fitted, test.items, own)
            scored("own", texts)
            others["bleu4"].append(bleu(texts, references))
            others["rouge_l"].append(float(rouge_l(texts, references).mean()))
            order = np.random.default_rng(own.integer("permuted images")).permutation(len(texts))
            scored("permuted", [texts[i] for i in order])
            scored("pure noise", _of_noise(fitted, len(texts), own))
            scored("no regions", _first(replace(fitted, method=replace(method, region=0.0)), test.items, own))
            scored(
                "no noise",
                _first(replace(method, noise=0.0).fit(Kit({"main": backbone}), evidence, own), test.items, own),
            )
            scored("nearest-caption", near)
        m = {kind: np.stack(values) for kind, values in measured.items()}

        def against(kind: str, base: str) -> dict[str, Any]:
            gain = one_sided_lower(m[kind], m[base], run.integer("bootstrap"))
            return {"variant": None, "shots": 0, "gain": gain.value, "gain_lower95": gain.low}

        claim, control = against("own", "no noise"), against("permuted", "pure noise")
        mean = {kind: {self.metric: float(values.mean())} for kind, values in m.items()}
        return {
            "data_hash": hashlib.sha256(
                "\0".join([*(test.items.key(i) for i in range(len(test))), *(t.value for t in learnt)]).encode()
            ).hexdigest(),
            "items": len(test),
            "sentences": len(learnt),
            "proved_variant": self.variant,
            **{k: float(np.mean(v)) for k, v in others.items()},
            "claims": [
                {
                    "over": "no noise",
                    **claim,
                    "method": mean["own"],
                    "baseline": mean["no noise"],
                    "shown": claim["gain_lower95"] > 0,
                }
            ],
            "controls": [
                {"over": "pure noise", **control, "control": mean["permuted"], "failed": control["gain_lower95"] <= 0}
            ],
            "beside": [
                {"name": twin, "twin": mean[twin], **against("own", twin)} for twin in ("no regions", "nearest-caption")
            ],
        }


@dataclass(frozen=True)
class NearestTrial:
    """Seeds draw the random sentences and the permutation. The metric is CIDEr-D over 10, an image."""

    metric: str = "cider_d"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return claim and control; see ``OwnTrial``."""
        data = open_data(present(name), need="captions", text="caption_*")
        test = data.split("val")
        references = [list(own) for own in test.columns["captions"].values]
        pool = tuple(Text(t) for own in data.split("train").columns["captions"].values for t in own)
        fitted = NearestCaption().fit(Kit({"main": backbone}), Evidence(texts=TextPool({"": pool})), run)
        near = [own[0].value for own in fitted.caption(test.items, run)]
        rows: dict[str, list[Floats]] = {"own": [], "permuted": [], "random": []}
        for seed in seeds:
            rng = np.random.default_rng(replace(run, seed=seed).integer("nearest"))
            moved = [near[i] for i in rng.permutation(len(near))]
            drawn = [fitted.texts[i] for i in rng.integers(len(fitted.texts), size=len(near))]
            for kind, texts in (("own", near), ("permuted", moved), ("random", drawn)):
                rows[kind].append(cider_d(texts, references) / 10)
        m = {kind: np.stack(values) for kind, values in rows.items()}
        mean = {kind: {self.metric: float(values.mean())} for kind, values in m.items()}
        gain, control = (
            one_sided_lower(m[kind], m["random"], run.integer("bootstrap")) for kind in ("own", "permuted")
        )
        about = {"over": "a sentence at random", "variant": None, "shots": 0}
        claim = {
            "gain": gain.value,
            "gain_lower95": gain.low,
            "method": mean["own"],
            "baseline": mean["random"],
            "shown": gain.low > 0,
        }
        spoilt = {
            "gain": control.value,
            "gain_lower95": control.low,
            "control": mean["permuted"],
            "failed": control.low <= 0,
        }
        keys = [*(test.items.key(i) for i in range(len(test))), *(t.value for t in pool)]
        return {
            "data_hash": hashlib.sha256("\0".join(keys).encode()).hexdigest(),
            "items": len(test),
            "sentences": len(pool),
            "bleu4": bleu(near, references),
            "rouge_l": float(rouge_l(near, references).mean()),
            "claims": [{**about, **claim}],
            "controls": [{**about, **spoilt}],
            "beside": [],
        }


def _first(fitted: FittedMacCap, items: Any, run: Run) -> list[str]:
    return [own[0].value if own else "" for own in fitted.caption(items, run)]


def _of_noise(fitted: FittedMacCap, count: int, run: Run) -> list[str]:
    """Captions of images that are random directions."""
    lm, aligner = fitted.models(run)
    found = []
    with torch.no_grad():
        for i in range(count):
            v = normalize(
                torch.randn(fitted.method.copies, fitted.backbone.text.dim, generator=run.generator(f"pure noise/{i}")),
                dim=-1,
            )
            found.append(fitted.write(v, run, f"pure noise/{i}", lm, aligner)[0])
    return found


TRIALS: Mapping[str, OwnTrial] = MappingProxyType({"maccap": CaptionTrial(), "nearest-caption": NearestTrial()})
