"""Photos and captions to measure with: made from what ships, so that nothing is fetched."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = Path(__file__).parents[1] / "src" / "diptych" / "assets" / "photos"


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> Iterator[Image.Image]:
    """Yield photographs of the demo, cropped at random, so that no two are alike and JPEG has its usual work."""
    rng = np.random.default_rng(seed)
    sources = [Image.open(p).convert("RGB") for p in sorted(PHOTOS.iterdir()) if p.suffix in (".jpg", ".png")]
    for i in range(count):
        source = sources[i % len(sources)]
        left, top = (int(rng.integers(0, max(1, n // 5))) for n in source.size)
        yield source.crop((left, top, source.width - left, source.height - top)).resize(size)


@contextlib.contextmanager
def photo_folder(count: int, size: tuple[int, int], seed: int = 0) -> Iterator[Path]:
    """Write JPEG files of a size into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="bench-photos-") as folder:
        for i, picture in enumerate(pictures(count, size, seed)):
            picture.save(Path(folder) / f"{i:05d}.jpg", quality=90)
        yield Path(folder)


def captions(count: int, words: int = 16) -> list[str]:
    """Return different texts of a caption's length: a noun and the start of its gloss, at most ``words`` words."""
    from diptych.data.words.wordnet import WordNet

    net = WordNet.load()
    names = [n for n in net.general_words() if net.senses(n)]
    step = len(names) // count
    return [
        " ".join(f"a photo of {n}, {net.senses(n)[0].definition}".split()[:words])
        for n in names[:: max(1, step)][:count]
    ]
