"""The cost of a photo: each segmenter that trains nothing, at a shorter side of so many pixels; and of its masks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.measure import Row
from diptych.backbones.sources.load import load
from diptych.core import ClassNames, Column, Evidence, FittedSegmenter, Kit, Run, Table
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.data.words.templates import ENSEMBLE
from diptych.methods.segment.fc_clip import FCCLIP
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.methods.segment.trident import Trident
from diptych.nn.dense.label_maps import Windows, label_map
from diptych.nn.dense.mask_queries import MaskLayout
from diptych.tasks.segment import teach

NAMES = ("cat", "cup of coffee", "spoon", "table", "rocket", "sky", "shoes", "floor", "coins")


@contextlib.contextmanager
def photos(name: str, side: int, count: int) -> Iterator[Row]:
    """Label maps of the photos that ship, without pictures being written.

    Args:
        name: of the backbone, which also guides.
        side: shorter side in pixels; windows keep their usual sides.
        count: photos.
    """
    backbone, run, whole = load(name), Run(), open_data("demo:photos", need="photos").whole().items
    images = [whole[i % len(whole)] for i in range(count)]
    sized = tuple(image.resize(_size(image, side), Image.Resampling.BICUBIC) for image in images)
    items = InMemory(sized, tuple(map(str, range(count))), tuple(map(str, range(count))))
    contenders: dict[str, Callable[[], object]] = {}
    for method in (MaskCLIP(windows=Windows(side, 448, 224)), Trident(windows=Windows(side, 336, 224))):
        kit, evidence = teach(type(method), backbone, lambda: None, name)
        fitted = method.fit(kit, ClassNames(NAMES, ENSEMBLE), evidence or Evidence(), run)
        contenders[method.card.slug] = partial(_labels, fitted, items, run)
    yield Row(contenders, items=count, unit="photo", same=None, facts={"side": side, "classes": len(NAMES)})


@contextlib.contextmanager
def stages(name: str, side: int, queries: int, count: int) -> Iterator[Row]:
    """Classify the same masks by one pass of the backbone, and by a pass of the photo and one of every cut-out mask.

    The masks are those of queries after one step, which cost what trained ones cost.

    Args:
        name: of the backbone.
        side: shorter side in pixels.
        queries: masks of a photo.
        count: photos.
    """
    backbone, run, whole = load(name), Run(), open_data("demo:photos", need="photos").whole().items
    photos = tuple(whole[i % len(whole)] for i in range(count))
    items = InMemory(photos, tuple(map(str, range(count))), tuple(map(str, range(count))))
    halves = tuple(np.arange(p.width) * 2 // p.width + np.zeros((p.height, 1), np.uint8) for p in photos)
    taught = Table(items, {"mask": Column("mask", tuple(m.astype(np.uint8) for m in halves))})
    method = FCCLIP(side=side, layout=MaskLayout(queries=queries), steps=1)
    fitted = method.fit(Kit({"main": backbone}), ClassNames(NAMES, ENSEMBLE), Evidence(train=taught), run)
    two = replace(fitted, method=replace(method, classify="crops"))
    contenders: dict[str, Callable[[], object]] = {
        "one pass": partial(_labels, fitted, items, run),
        "two stages": partial(_labels, two, items, run),
    }
    yield Row(contenders, items=count, unit="photo", same=None, facts={"side": side, "masks": queries})


def _labels(fitted: FittedSegmenter, items: InMemory, run: Run) -> int:
    return sum(int(label_map(regions).numel() > 0) for regions in fitted.regions(items, run))


def _size(image: Image.Image, side: int) -> tuple[int, int]:
    ratio = side / min(image.size)
    return max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
