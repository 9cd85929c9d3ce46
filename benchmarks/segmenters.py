"""Every segmenter of the catalog on photos of one size: photos a second, processor seconds and peak memory.

python -m benchmarks.segmenters SYSTEM BACKBONE SIDE COUNT      one segmenter, a process of its own
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Row
from diptych import catalog
from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.load import load
from diptych.core import ClassNames, Column, FittedSegmenter, PromptableMasks, Run, Segmenter, Table
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.data.words.templates import ENSEMBLE
from diptych.nn.dense.label_maps import label_map
from diptych.tasks.segment import teach

NAMES = ("cat", "cup of coffee", "spoon", "table", "rocket", "sky", "shoes", "floor", "coins")
SHORT: dict[str, Any] = {"steps": 1, "tuning": 1, "epochs": 1, "probe_epochs": 1, "photos": 3, "tune": "none"}
"""Settings of a short training: what was learnt decides on no time, and OVSeg runs the untuned tower."""


def sized(side: int, count: int) -> InMemory:
    """Return photos that ship, with a shorter side of so many pixels."""
    photos = open_data("demo:photos", need="photos").whole().items
    images = list[Image.Image]()
    for image in (photos[i % len(photos)] for i in range(count)):
        ratio = side / min(image.size)
        shape = round(image.width * ratio), round(image.height * ratio)
        images.append(image.resize(shape, Image.Resampling.BICUBIC))
    return InMemory(tuple(images), *(2 * (tuple(map(str, range(count))),)))


def untrained_sam() -> PromptableMasks:
    """Return a SAM of the base size with random weights."""
    import transformers

    return SamMasks(transformers.SamModel(transformers.SamConfig()).eval())


def fitted(slug: str, name: str, photos: InMemory, run: Run) -> FittedSegmenter:
    """Return a segmenter with the settings of its row, after a training of one step where it trains."""
    system: Any = catalog.row(catalog.find(slug, Segmenter), "")
    short = {f.name: SHORT[f.name] for f in fields(system) if f.name in SHORT}
    system, halves = replace(system, **short), list[np.ndarray]()
    for photo in photos:
        columns = np.arange(photo.width) * 2 // photo.width
        halves.append(np.broadcast_to(columns.astype(np.uint8), (photo.height, photo.width)))
    masks = untrained_sam() if "PromptableMasks" in system.card.needs.parts else None
    taught = Table(photos, {"mask": Column("mask", tuple(halves))})
    kit, evidence = teach(
        type(system), load(name), lambda: photos, name, masks=masks, labelled=lambda: taught,
    )  # fmt: skip
    segmenter: FittedSegmenter = system.fit(kit, ClassNames(NAMES, ENSEMBLE), evidence, run)
    return segmenter


def once(slug: str, name: str, side: int, count: int) -> dict[str, float]:
    """Fit a segmenter, segment a photo, and then measure it on all of them."""
    run, photos = Run(), sized(side, count)
    segmenter = fitted(slug, name, sized(min(side, 256), 3), run)

    def segmented(some: Any) -> int:
        return sum(int(label_map(regions).numel() > 0) for regions in segmenter.regions(some, run))

    segmented(sized(side, 1))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of a process begins anew: that of the training counts not
    wall, processor = time.perf_counter(), time.process_time()
    if segmented(photos) != count:
        raise ValueError(f"{slug} left photos out.")
    spent = time.perf_counter() - wall, time.process_time() - processor
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return {"seconds": spent[0] / count, "cpu_seconds": spent[1] / count, "peak_mib": int(peak[1]) / 1024}


def called(slug: str, name: str, side: int, count: int) -> dict[str, float]:
    """Return ``once`` of another process."""
    words = [sys.executable, "-m", "benchmarks.segmenters", slug, name, str(side), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{slug} failed: {done.stderr[-300:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


@contextlib.contextmanager
def segmenting(name: str, side: int, count: int) -> Iterator[Row]:
    """Every segmenter on photos whose shorter side has so many pixels. The facts count segmenting alone; a call is a
    whole process, with a training of one step.

    Args:
        name: of the backbone, which also teaches and guides.
        side: shorter side in pixels.
        count: photos.
    """
    facts: dict[str, dict[str, float]] = {}

    def call(slug: str) -> None:
        facts[slug] = called(slug, name, side, count)

    slugs = [card["slug"] for card in catalog.cards() if card["verb"] == "segment"]
    contenders: dict[str, Callable[[], object]] = {slug: partial(call, slug) for slug in slugs}
    about = {"side": side, "classes": len(NAMES), "photo": facts}
    yield Row(contenders, items=count, unit="photo", same=None, facts=about, rounds=1, warm=False)


if __name__ == "__main__":
    print(json.dumps(once(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
