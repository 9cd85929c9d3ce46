"""Clips in a space of photos: the mean of the embeddings of their frames.

    v = 1/T sum_t image(x_t)

v: (D,) embedding of the clip, not normalised, which does not depend on the order of the frames
x_t: the t-th of T frames;  image: projected and not normalised
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.core import Backbone, Encoder, Inputs, MissingHook, Parts
from diptych.data.formats.clips import Clip, middles
from diptych.features.derived_space import DerivedSpace, base_of, parts_of

SCALES = (1.0, 0.875, 0.75, 0.66)
"""Sides of a training crop, as shares of the frame's shorter side, from temporal segment networks."""


@dataclass(frozen=True, eq=False)
class ClipEncoder:
    """Encodes clips as the mean of their frames.

    Args:
        image: encoder of a frame.
        frames: T, number of frames: the middles of T equal segments of a clip. Shorter clips repeat frames.
    """

    image: Encoder[Any]
    frames: int
    modality: str = "clip"

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.image.dim

    @property
    def size(self) -> int | None:
        """Side of a frame in pixels."""
        return self.image.size

    @property
    def fingerprint(self) -> str:
        """Hash of the image encoder and the number of frames."""
        return hashlib.sha256(f"{self.image.fingerprint}/mean of {self.frames} frames".encode()).hexdigest()[:16]

    def inputs(self, items: Sequence[Sequence[Any]], size: int | None = None) -> Tensor:
        """Return the (B, T, 3, S, S) pixels of B clips.

        A clip is a sequence of pictures, or of float (3, S, S) tensors in [0, 1].
        """
        rows = [self.image.inputs([clip[i] for i in middles(len(clip), self.frames)], size) for clip in items]
        return torch.stack([row for row in rows if isinstance(row, Tensor)])

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, D) means, not normalised, of (B, T, 3, S, S) pixels."""
        return each_frame(self.image.encode, x).mean(1)


def each_frame(encode: Callable[[Tensor], Tensor], x: Inputs) -> Tensor:
    """Return the (B, T, ...) outputs of ``encode`` for the frames of (B, T, 3, S, S) pixels."""
    assert isinstance(x, Tensor)
    return torch.unflatten(encode(x.flatten(0, 1)), 0, x.shape[:2])


class ClipSpace(DerivedSpace):
    """A backbone for clips: its "image" encoder is a ``ClipEncoder``, so that every classifier works on clips.

    Args:
        base: the space of photos and texts.
        frames: T, number of frames.
        origin: the backbone from which the base was trained; None: the base.
    """

    def __init__(self, base: Backbone, frames: int, origin: Backbone | None = None) -> None:
        super().__init__(base, ClipEncoder(base.image, frames), suffix=f"frames{frames}", origin=origin)
        self.frames = frames

    def parts(self) -> Parts:
        """Return the number of frames, and the tensors of the base where it was trained."""
        return parts_of(self, {"frames": self.frames})

    @classmethod
    def of_parts(cls, parts: Parts) -> ClipSpace:
        """Return the space of these parts."""
        base, origin = base_of(parts)
        return cls(base, int(parts.settings["frames"]), origin)


class OfClips:
    """Base of encoders that see what a ``ClipEncoder`` sees.

    Attributes:
        clips: makes the pixels.
    """

    clips: ClipEncoder
    modality = "clip"

    @property
    def size(self) -> int | None:
        """Side of a frame in pixels."""
        return self.clips.size

    def inputs(self, items: Sequence[Sequence[Any]], size: int | None = None) -> Tensor:
        """Return the (B, T, 3, S, S) pixels of B clips."""
        return self.clips.inputs(items, size)


@dataclass(frozen=True, eq=False)
class PooledFrames(OfClips):
    """Encodes clips as the T concatenated vectors of their frames before the projection, to train a head on.

    Args:
        pool: (B, 3, S, S) -> (B, C).
        clips: the encoder with the frames and pixels.
        width: C, width of the vectors.
    """

    pool: Callable[[Tensor], Tensor]
    clips: ClipEncoder
    width: int

    @property
    def dim(self) -> int:
        """Width T C."""
        return self.clips.frames * self.width

    @property
    def fingerprint(self) -> str:
        """Hash of the encoder and of the cut."""
        return hashlib.sha256(f"{self.clips.fingerprint}/pooled frames".encode()).hexdigest()[:16]

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, T C) vectors."""
        return each_frame(self.pool, x).flatten(1).float()


def image_head(backbone: Backbone) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return (pool, project) with ``project(pool(pixels)) = image.encode(pixels)``, from the tower or the dense maps.

    Raises:
        MissingHook: the backbone has neither.
    """
    pool: Callable[[Tensor], Tensor]
    project: Callable[[Tensor], Tensor]
    try:
        tower = backbone.tower("image")
        pool, project = lambda x: tower.pooled(tower.blocks(tower.start(x))), tower.project
    except MissingHook:
        dense = backbone.dense()
        pool, project = lambda x: dense.pool(dense.maps(x)[-1])[:, 0], dense.project
    return pool, lambda h: project(h.to(next(backbone.module().parameters()).device))


def drawn(clip: Clip, frames: int, size: int, g: torch.Generator) -> Tensor:
    """Return one training view of a clip, with the same crop, mirror and colours for all frames.

    Args:
        clip: the clip; where sizes of frames differ, the crop is the same share of each, at the same position.
        frames: T; one frame is drawn from each of T equal segments.
        size: S, side in pixels.
        g: generator for frames, crop and mirror. Colours use torch's global generator, as in torchvision.

    Returns:
        (T, 3, S, S) float32 in [0, 1].

    Source:
        ViFi-CLIP, appendix: crops of {1, .875, .75, .66}, mirror 1/2, colour jitter with probability .8, grey with .2.
    """
    edges = np.linspace(0, len(clip), frames + 1)
    within = torch.rand(frames, generator=g).numpy()
    selected = [
        clip[min(len(clip) - 1, int(a + u * (b - a)))] for a, b, u in zip(edges[:-1], edges[1:], within, strict=True)
    ]
    share, left, top, mirror = torch.rand(4, generator=g).tolist()
    crops = []
    for frame in selected:
        width, height = frame.size
        side = SCALES[int(share * len(SCALES))] * min(width, height)
        x, y = left * (width - side), top * (height - side)
        crops.append(np.array(frame.resize((size, size), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))))
    pixels = torch.from_numpy(np.stack(crops)).movedim(-1, 1)
    from torchvision.transforms import v2  # its import writes to the environment and to the warning filters

    colours = v2.Compose([v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8), v2.RandomGrayscale(0.2)])
    coloured: Tensor = colours(pixels).float() / 255
    return coloured.flip(-1) if mirror < 0.5 else coloured
