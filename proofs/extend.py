"""Proofs of extenders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from diptych.evaluation.arms import CHANCE, Arm
from diptych.methods.extend.clip2point import CLIP2Point
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.ila import ILA
from diptych.methods.extend.vifi_clip import ViFiCLIP
from proofs.benches.edits.directions import FRAMES as FOUR
from proofs.benches.edits.directions import (
    OPPOSITES,
    UNORDERED,
    WithoutAlignment,
    open_directions,
    shuffled_frames,
)
from proofs.benches.moving_clips import (
    FRAMES,
    NEW_CLASSES,
    SHOTS,
    Direction,
    open_clips,
    shuffled_answers,
    shuffled_texts,
)
from proofs.benches.shapes import CLASSED, open_shapes, other_icons, other_labels, without_pairs
from proofs.benches.stars import SCRATCH, open_stars
from proofs.benches.stars import SHOTS as STARS
from proofs.trial import Claim, Trial

_HEADS, _MEAN = ViFiCLIP(tunes="heads", frames=FRAMES), FrameMean(FRAMES)
_ONE_HEAD = {
    tower: Arm(ViFiCLIP(tunes="heads", frames=FRAMES, towers=tower), shots=SHOTS) for tower in ("image", "text")
}
_POINTS = CLIP2Point(tunes="heads", hidden=128, adapter_epochs=40)  # lite is 2664 wide: small adapters, few epochs
_RAW = "CLIP on depth images"
_DEPTH = Arm(_POINTS, spoil=without_pairs)
_DIRECTED: Mapping[str, Any] = {
    "frames": FOUR, "blocks": 1, "hidden": 64, "sampling": "middle", "rate": 2e-3, "epochs": 16, "batch": 32,
}  # fmt: skip
"""The last of the four blocks of ``tiny``, on tokens that are stored before it."""
_ILA, _ALONE = ILA(**_DIRECTED), WithoutAlignment(**_DIRECTED)
_SHUFFLED = Arm(_ILA, spoil=shuffled_frames)
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "frame-mean": Trial(
            (Claim(CHANCE),),
            {"shuffled texts": shuffled_answers},
            arm=Arm(_MEAN),
            bench=partial(open_clips, counted=(_MEAN,)),
        ),
        "vifi-clip": Trial(
            (Claim("frame-mean", SHOTS),),
            {"shuffled texts": shuffled_texts},
            "frame-mean",
            arm=Arm(_HEADS),
            controls=(
                Claim(
                    CHANCE, SHOTS, arm=Arm(Direction(_HEADS)), base=Arm(Direction(CHANCE)), name="forwards or backwards"
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
        "ila": Trial(
            (
                Claim(CHANCE),
                Claim("integration alone", base=Arm(_ALONE)),
                Claim(UNORDERED, base=Arm(UNORDERED)),
                Claim(CHANCE, part=OPPOSITES, name="which way"),
                Claim("integration alone", base=Arm(_ALONE), part=OPPOSITES, name="which way"),
            ),
            arm=Arm(_ILA),
            controls=(Claim(CHANCE, arm=_SHUFFLED, part=OPPOSITES, name="shuffled frames, which way"),),
            beside={
                "integration alone": Claim(CHANCE, arm=Arm(_ALONE)),
                "shuffled frames, of four directions": Claim(CHANCE, arm=_SHUFFLED),
                "which way, without order": Claim(CHANCE, arm=Arm(UNORDERED), part=OPPOSITES),
            },
            bench=open_directions,
        ),
        "clip2point": Trial(
            (Claim(_RAW, base=_DEPTH, part=CLASSED), Claim("pre-trained, zero-shot", SHOTS, base=Arm(_POINTS))),
            arm=Arm(_POINTS),
            controls=(
                Claim(_RAW, arm=Arm(_POINTS, spoil=other_icons), base=_DEPTH, part=CLASSED, name="icons of others"),
                Claim(
                    "pre-trained, zero-shot",
                    SHOTS,
                    arm=Arm(_POINTS, shots=SHOTS, spoil=other_labels),
                    base=Arm(_POINTS),
                    name="shuffled labels",
                ),
            ),
            beside={
                "adapter of depth alone": Claim("depth", SHOTS, base=Arm(replace(_POINTS, paths="depth"), shots=SHOTS)),
                "adapter of images alone": Claim(
                    "image", SHOTS, base=Arm(replace(_POINTS, paths="image"), shots=SHOTS)
                ),
                "adapters without pre-training": Claim(
                    "not pre-trained", SHOTS, base=Arm(_POINTS, shots=SHOTS, spoil=without_pairs)
                ),
            },
            bench=open_shapes,
        ),
        "astrom3": Trial(
            (Claim(SCRATCH, STARS),),
            arm=Arm("aligned"),
            controls=(Claim(SCRATCH, STARS, arm=Arm("shuffled"), name="shuffled pairs"),),
            beside={
                "photometry, pairs shuffled": Arm("shuffled"),
                **{
                    f"{m} {SCRATCH}": Claim(SCRATCH, STARS, arm=Arm(f"{m} aligned"), base=Arm(f"{m} {SCRATCH}"))
                    for m in ("spectra", "metadata")
                },
            },
            bench=open_stars,
        ),
    }
)
