"""Frame mean: a clip is the mean of its frames' embeddings; nothing is trained.

v = normalise( 1/T sum_t image(x_t) )
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import Evidence
from diptych.core.kit import Kit
from diptych.core.method import Extender
from diptych.core.ranges import at_least, check
from diptych.core.run import Run
from diptych.features.clips import ClipSpace


@dataclass(frozen=True)
class FrameMean(Extender):
    """Take clips into a space of photos and texts.

    Args:
        frames: T, the middles of so many equal segments of a clip are looked at; >= 1 (default ours).

    Raises:
        UsageError: frames below 1.

    Source: the untrained baseline of Rasheed et al. 2023 (ViFi-CLIP), section 4.1: "vanilla CLIP".
    """

    frames: int = 8

    card: ClassVar[Card] = Card(
        slug="frame-mean",
        name="Frame mean",
        title="Fine-tuned CLIP Models are Efficient Video Learners",
        url="https://arxiv.org/abs/2212.03640",
        year=2023,
        verb="extend",
        claim="A photo model without any training on video already says much about a clip when its frames' embeddings "
        "are averaged.",
        needs=Needs(),
        trains="nothing",
        proof=ProofPlan(
            claim="On clips of moving cut-outs the mean of the frames names the thing better than chance.",
            control="With the class names shuffled it does not.",
            datasets=("tuxpaint_stamps",),
        ),
        baseline=True,
    )

    def __post_init__(self) -> None:
        check(self, at_least(1), "frames")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> ClipSpace:
        """Return the backbone with clips in the place of photos.

        Raises:
            MissingPart: the kit has no backbone.
        """
        return ClipSpace(kit.need(Backbone), self.frames)
