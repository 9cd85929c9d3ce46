"""Where on a picture the words of a query look: the plain segmenter's map of them, over the picture."""

from __future__ import annotations

import io

from PIL import Image

from diptych import catalog
from diptych.core import ClassNames, Evidence, Kit, Run, Segmenter, UnreadableItem
from diptych.data.memory import InMemory
from diptych.nn.dense.label_maps import upsampled
from diptych.serve.model import ServedModel
from diptych.serve.pages.tiles import version_of
from diptych.serve.verbs.search import ServedIndex
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.pages.overlay import heat, layer
from diptych.tasks.search.entry_picture import picture

SIDE = 768
"""Largest side of the picture."""
LEAST = 0.5
"""Share of the colours' span below which the picture stays clear: half of a map is always above its middle."""


def entry_picture(index: ServedIndex, number: int, side: int = SIDE, version: str = "") -> Image.Image:
    """Return the picture of an entry, at most ``side`` pixels per side, without EXIF and profiles.

    Args:
        index: of the entry.
        number: of the entry.
        side: in pixels.
        version: of ``version_of``; "" takes any.

    Raises:
        UnreadableItem: there is no such entry, or not of this version, or its picture is gone.
        Refusal: the index is gone, or another model made it.
    """
    with index.opened() as opened:
        entry = opened.entries([number]).get(number) if 0 <= number < 2**63 else None
    if entry is None or version not in ("", version_of(entry)):
        raise UnreadableItem(str(number), "no such entry")
    small = picture(entry.name).convert("RGB")
    small.info = {}
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def jpeg(image: Image.Image) -> bytes:
    """Return a picture as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return file.getvalue()


def looked_at(photo: Image.Image, words: str, model: ServedModel, run: Run, *, alone: bool = False) -> Image.Image:
    """Return a picture with a map of words over it, from the middle to the largest value on this picture.

    Args:
        photo: (H, W) RGB.
        words: what is looked for.
        model: its backbone makes the maps.
        run: device and batch.
        alone: return the map alone, as large as the picture and transparent where it is clear.

    Raises:
        MissingHook: the backbone has no dense maps.
    """
    fitted = catalog.find(DEFAULTS["segment"], Segmenter)().fit(
        Kit.of(model.model), ClassNames((words,)), Evidence(), run
    )
    (regions,) = fitted.regions(InMemory((photo,)), run)
    maps = regions.scores.values.float().T.reshape(1, *regions.grid)
    values = upsampled(maps, photo.height, photo.width, 0, photo.height)[0].numpy()
    low, high = float(values.min()), float(values.max())
    least = low + LEAST * (high - low)
    return layer(values, least, high) if alone else heat(photo, values, least, high, words[:80])
