"""Measure captions against those of people, and by a judge: a backbone that did not write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Run, Samples, Texts, UsageError
from diptych.data.captions import PROMPT
from diptych.features.embed import embed
from diptych.metrics.caption import bleu, cider_d, clip_score, distinct, ref_clip_score, repetition, rouge_l


def measure(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return "cider_d" (in [0, 10]), "bleu4" and "rouge_l" of N captions against their references, and how they are
    worded: "distinct2" and "repetition2", of pairs of words.

    Raises:
        DataError: sizes differ, or an item has no reference.
    """
    return {
        "cider_d": float(cider_d(candidates, references).mean()),
        "bleu4": bleu(candidates, references),
        "rouge_l": float(rouge_l(candidates, references).mean()),
        "distinct2": distinct(candidates),
        "repetition2": float(repetition(candidates, n=2).mean()),
    }


def check_judge(backbone: Backbone, by: Backbone) -> None:
    """Refuse a judge that would praise itself; asked before anything is trained.

    Raises:
        UsageError: the judge is the captioner's backbone, or shares one of its towers.
    """
    if {e.fingerprint for e in backbone.encoders.values()} & {e.fingerprint for e in by.encoders.values()}:
        raise UsageError(
            f"{by.spec.name} cannot judge captions that {backbone.spec.name} made, as they share a tower: name "
            f"another judge."
        )


def judge(photos: Samples[Any], candidates: Sequence[str], backbone: Backbone, by: Backbone, run: Run) -> float:
    """Return the mean CLIPScore of N captions by another backbone than the captioner's, which would praise itself.

    Raises:
        UsageError: the judge is the captioner's backbone, or shares one of its towers.
    """
    check_judge(backbone, by)
    return float(clip_score(embed(by.image, photos, run).numpy(), _embedded(candidates, by, run)).mean())


def judge_against(
    photos: Samples[Any],
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    backbone: Backbone,
    by: Backbone,
    run: Run,
) -> dict[str, float]:
    """Return "clip_score" as ``judge`` does, and "ref_clip_score", which also knows the references of each photo.

    Raises:
        UsageError: the judge is the captioner's backbone, or shares one of its towers.
        DataError: sizes differ, or a photo has no reference.
    """
    check_judge(backbone, by)
    images, texts = embed(by.image, photos, run).numpy(), _embedded(candidates, by, run)
    others = [_embedded(of_photo, by, run) for of_photo in references]
    scores = {"clip_score": clip_score(images, texts), "ref_clip_score": ref_clip_score(images, texts, others)}
    return {name: float(values.mean()) for name, values in scores.items()}


def _embedded(captions: Sequence[str], by: Backbone, run: Run) -> NDArray[np.float32]:
    return embed(by.text, Texts(tuple(PROMPT + caption for caption in captions)), run).numpy()
