"""Proofs of extenders."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from diptych.evaluation.proofs.moving_clips import FRAMES, ClipTrial
from diptych.evaluation.proofs.own import OwnTrial
from diptych.evaluation.proofs.stars import StarTrial
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.vifi_clip import ViFiCLIP

_HEADS = ViFiCLIP(tunes="heads", frames=FRAMES)
TRIALS: Mapping[str, OwnTrial] = MappingProxyType(
    {
        "frame-mean": ClipTrial(FrameMean(FRAMES)),
        "vifi-clip": ClipTrial(
            _HEADS,
            FrameMean(FRAMES),
            {
                "image head alone": ViFiCLIP(tunes="heads", frames=FRAMES, towers="image"),
                "text head alone": ViFiCLIP(tunes="heads", frames=FRAMES, towers="text"),
            },
        ),
        "astrom3": StarTrial(),
    }
)
