"""Proofs of captioners: CIDEr-D of captions of held-out photos, whatever was learnt coming from sentences alone.

The metric is CIDEr-D over 10, an image; the idf is that of the held-out photos' references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, Run, Samples, Text, TextPool
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.boards.caption import CaptionBench, CaptionedPhotos, SpoilCaptions, first_captions
from diptych.methods.caption.maccap import FittedMacCap, MacCap
from proofs.benches.scene_captions import open_scene_captions
from proofs.benches.writers import open_writers
from proofs.trial import Claim, Trial


def open_bench(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> CaptionBench:
    """Open captioned photos: those of val are captioned, the captions of train are learnt from."""
    data = open_data(present(name), need="captions", text="caption_*")
    test = data.split("val")
    references = tuple(tuple(texts) for texts in test.columns["captions"].values)
    learnt = tuple(Text(t) for texts in data.split("train").columns["captions"].values for t in texts)
    photos = CaptionedPhotos(data.name, test.items, references, TextPool({"": learnt}), ())
    return CaptionBench(photos, backbone, run, seeds, unit=10.0)


def permuted(purpose: str) -> SpoilCaptions:
    """Return what gives each photo the caption of another; ``purpose`` names the draw."""

    def exchanged(fitted: Any, photos: Samples[Any], run: Run) -> list[str]:
        written = first_captions(fitted, photos, run)
        return [written[i] for i in np.random.default_rng(run.integer(purpose)).permutation(len(written))]

    return exchanged


def at_random(fitted: Any, photos: Samples[Any], run: Run) -> list[str]:
    """Return a learnt sentence at random for each photo."""
    rng = np.random.default_rng(run.integer("nearest"))
    rng.permutation(len(photos))  # the draw of the permutation comes first, as it did when results were written
    return [fitted.texts[i] for i in rng.integers(len(fitted.texts), size=len(photos))]


def no_regions(fitted: FittedMacCap, photos: Samples[Any], run: Run) -> list[str]:
    """Return the captions of the same fit without regions."""
    return first_captions(replace(fitted, method=replace(fitted.method, region=0.0)), photos, run)


def of_noise(fitted: FittedMacCap, photos: Samples[Any], run: Run) -> list[str]:
    """Return captions of images that are random directions."""
    lm, aligner = fitted.models(run)
    size, captions = (fitted.method.copies, fitted.backbone.text.dim), []
    with torch.no_grad():
        for i in range(len(photos)):
            v = normalize(torch.randn(size, generator=run.generator(f"pure noise/{i}")), dim=-1)
            captions.append(fitted.write(v, run, f"pure noise/{i}", lm, aligner)[0])
    return captions


def _part(arm: Arm, measure: str) -> Arm:
    """Return what else was measured of an arm of a bench that measures all arms in one pass."""
    return Arm(f"{arm.system}, {measure}")


_MACCAP = Arm("maccap", "small")
_NO_NOISE = Arm(MacCap(**{**MacCap.card.variants["small"], "noise": 0.0}))
_OTHER_IMAGES = replace(_MACCAP, spoil=permuted("permuted images"))
_OWN, _LIKELY, _NO_GRAMMAR = Arm("clip-reward"), Arm("likelihood"), Arm("no grammar")
_USER, _WRONG, _NO_USERS = Arm("user-aware-prefix"), Arm("users exchanged"), Arm("no users")
_NEAREST, _RANDOM = Arm("nearest-caption"), Arm("nearest-caption", spoil=at_random)
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "maccap": Trial(
            (Claim("no noise", base=_NO_NOISE),),
            variant="small",
            controls=(
                Claim("no noise", arm=_OTHER_IMAGES, base=_NO_NOISE),
                Claim("pure noise", arm=_OTHER_IMAGES, base=replace(_MACCAP, spoil=of_noise)),
            ),
            beside={"no regions": no_regions, "nearest-caption": _NEAREST},
        ),
        "nearest-caption": Trial(
            (Claim("a sentence at random", base=_RANDOM),),
            controls=(Claim("a sentence at random", arm=replace(_NEAREST, spoil=permuted("nearest")), base=_RANDOM),),
        ),
        "clip-reward": Trial(
            (
                Claim("likelihood", base=_LIKELY, name="states more of the truth"),
                Claim("likelihood", arm=_part(_OWN, "found"), base=_part(_LIKELY, "found"), name="finds its scene"),
                Claim(
                    "no grammar",
                    arm=_part(_OWN, "unrepeated"),
                    base=_part(_NO_GRAMMAR, "unrepeated"),
                    name="repeats less",
                ),
            ),
            controls=(Claim("likelihood", arm=Arm("other picture"), base=_LIKELY),),
            beside={
                "no grammar": _NO_GRAMMAR,
            },
            variant="small",
            bench=open_scene_captions,
        ),
        "user-aware-prefix": Trial(
            (
                Claim("no users", base=_NO_USERS, name="the writer is told"),
                Claim("no users", arm=_part(_USER, "cider_d"), base=_part(_NO_USERS, "cider_d"), name="cider_d"),
            ),
            controls=(
                Claim(CHANCE, arm=_WRONG, base=Arm(CHANCE), name="the writer is told"),
                Claim("no users", arm=_WRONG, base=_NO_USERS, name="the writer is told"),
                Claim("no users", arm=_part(_WRONG, "cider_d"), base=_part(_NO_USERS, "cider_d"), name="cider_d"),
            ),
            beside={"nobody": Arm("nobody")},
            variant="small",
            bench=open_writers,
        ),
    }
)
