"""Proofs of extenders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.proofs.moving_clips import (
    FRAMES,
    NEW_CLASSES,
    SHOTS,
    Direction,
    open_clips,
    shuffled_answers,
    shuffled_texts,
)
from diptych.evaluation.proofs.stars import SCRATCH, open_stars
from diptych.evaluation.proofs.stars import SHOTS as STARS
from diptych.evaluation.proofs.trial import Claim, Trial
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.vifi_clip import ViFiCLIP

_HEADS, _MEAN = ViFiCLIP(tunes="heads", frames=FRAMES), FrameMean(FRAMES)
_ONE_HEAD = {
    tower: Arm(ViFiCLIP(tunes="heads", frames=FRAMES, towers=tower), shots=SHOTS) for tower in ("image", "text")
}
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "frame-mean": Trial(
            (Claim(CHANCE),),
            {"shuffled texts": shuffled_answers},
            own=Arm(_MEAN),
            bench=partial(open_clips, counted=(_MEAN,)),
        ),
        "vifi-clip": Trial(
            (Claim("frame-mean", SHOTS),),
            {"shuffled texts": shuffled_texts},
            "frame-mean",
            own=Arm(_HEADS),
            controls=(
                Claim(
                    CHANCE, SHOTS, own=Arm(Direction(_HEADS)), base=Arm(Direction(CHANCE)), name="forwards or backwards"
                ),
            ),
            beside={
                "new classes: frame mean": Claim("frame-mean", SHOTS, part=NEW_CLASSES),
                "image head alone": _ONE_HEAD["image"],
                "new classes: image head alone": Claim("image head", SHOTS, base=_ONE_HEAD["image"], part=NEW_CLASSES),
                "text head alone": _ONE_HEAD["text"],
                "new classes: text head alone": Claim("text head", SHOTS, base=_ONE_HEAD["text"], part=NEW_CLASSES),
            },
            bench=partial(open_clips, counted=(_HEADS, _MEAN)),
        ),
        "astrom3": Trial(
            (Claim(SCRATCH, STARS),),
            own=Arm("aligned"),
            controls=(Claim(SCRATCH, STARS, own=Arm("shuffled"), name="shuffled pairs"),),
            beside={
                "photometry, pairs shuffled": Arm("shuffled"),
                **{
                    f"{m} {SCRATCH}": Claim(SCRATCH, STARS, own=Arm(f"{m} aligned"), base=Arm(f"{m} {SCRATCH}"))
                    for m in ("spectra", "metadata")
                },
            },
            bench=open_stars,
        ),
    }
)
