"""The seeded clips of ``diptych.testing``, and videos on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from diptych.testing.samples import Clips, clip, clip_task, moving

__all__ = ["Clips", "clip", "clip_task", "moving", "video"]


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
