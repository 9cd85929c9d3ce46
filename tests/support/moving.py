"""Seeded clips of K classes, in memory: a colour a class, a bright square that moves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from diptych.core import Column, Evidence, Table
from tests.support.pictures import NAMES, picture

Clip = tuple[Image.Image, ...]


@dataclass(frozen=True)
class Clips:
    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]

    def key(self, index: int) -> str:
        return hashlib.sha256(b"".join(f.tobytes() for f in self.clips[index])).hexdigest()

    def name(self, index: int) -> str:
        return f"clip {index}"


def clip(label: int, seed: int, frames: int = 4) -> Clip:
    base = np.asarray(picture(label, seed))
    made = []
    for t in range(frames):
        frame = base.copy()
        frame[4:8, 2 * t : 2 * t + 3] = 255
        made.append(Image.fromarray(frame))
    return tuple(made)


def moving(labels: Sequence[int], seed: int, frames: int = 4) -> Table[Any]:
    clips = Clips(tuple(clip(k, 1000 * seed + i, frames) for i, k in enumerate(labels)))
    values = np.asarray(labels, dtype=np.int64)
    return Table(
        clips,
        {
            "label": Column("label", values),
            "captions": Column("captions", [f"a photo of a {NAMES[k]}." for k in labels]),
        },
    )


def clip_task(classes: int = 3, shots: int = 4) -> tuple[Evidence[Any], Table[Any]]:
    train, bridge, test = (moving(list(range(classes)) * shots, seed) for seed in (1, 2, 3))
    return Evidence(train=train, auxiliary=bridge), test


def video(
    path: Path, frames: int = 20, size: tuple[int, int] = (64, 48), colour: tuple[int, int, int] | None = None
) -> Path:
    """Write a video of one colour, or whose frame n is a grey of 10 n: lossy coding leaves both recognisable."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(frames):
            pixels = np.full((size[1], size[0], 3), colour or 10 * n % 250, dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return path
