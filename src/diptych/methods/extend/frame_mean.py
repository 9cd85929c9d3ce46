"""Frame mean embeds a clip as the mean of the embeddings of its frames; nothing is trained.

    v = normalise( 1/T sum over t of image(x_t) )

x_t: frame t of T frames, the middles of T equal segments of the clip
image(x_t): (D,) image embedding, not normalised
v: (D,) unit embedding of the clip
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diptych.core import Backbone, Evidence, Extender, Kit, Run
from diptych.core.ranges import at_least, check
from diptych.features.clips import ClipSpace


@dataclass(frozen=True)
class FrameMean(Extender):
    """Embed clips in a space of photos and texts.

    Use it for clips whose frames show what is asked; the order of the frames has no effect.

    Args:
        frames: T, >= 1; 8 (ours).

    Raises:
        UsageError: frames is below 1.

    Source: the untrained baseline of Rasheed et al. 2023 (ViFi-CLIP), section 4.1: "vanilla CLIP".

    Example:
        A clip embeds as its frames do, in any order:

        >>> import torch
        >>> from torch.nn.functional import normalize
        >>> frames = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
        >>> v = normalize(frames.mean(0), dim=0)
        >>> torch.allclose(v, normalize(frames.flip(0).mean(0), dim=0))
        True
    """

    frames: int = 8

    def __post_init__(self) -> None:
        check(self, at_least(1), "frames")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> ClipSpace:
        """Return the backbone's space, with clips instead of photos."""
        return ClipSpace(kit.need(Backbone), self.frames)
