"""What the page shows before anything is looked for: photos from all over the index, and words to begin with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.data.words.classnames import tidy
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import Entry
from diptych.search_index.where import Condition
from diptych.serve.pages.state import State
from diptych.serve.pages.tiles import Contents, Slider, Tile, facets
from diptych.tasks.search.ask import filled
from diptych.tasks.search.calibration import calibration
from diptych.tasks.search.default_cut import DefaultCut

PHOTOS = 24
EXAMPLES = 6
LONGEST = 60
"""Characters of a caption that is shown as an example."""
PLAIN = ("an animal", "people outdoors", "food on a table", "a car at night", "water")
"""Examples for an index without captions and labels."""
SPLITS = ("train", "val", "validation", "test")
HIGHEST = 0.95


def browsed(index: AnyIndex, state: State) -> Contents:
    """Return what a page without a query shows of an open index."""
    remark = ""
    try:
        filled(index)
    except DataError as error:
        remark = str(error)
    rows = spread(index, PHOTOS, [Condition.parse(text) for text in state.conditions()])
    entries = index.entries(rows[:, 0].tolist())
    return Contents(
        tuple(Tile.of(number, entry) for number, entry in entries.items()), columns=index.columns(), entries=len(index),
        facets=facets(index, state), slider=slider(index), remark=remark,
        examples=() if remark else examples(entries.values()),
    )  # fmt: skip


def spread(index: AnyIndex, most: int, conditions: Sequence[Condition] = ()) -> NDArray[np.int64]:
    """Return (n, 3) places of at most so many pictures from all over an index, see ``located``; of those that meet
    conditions, and of a database, from among the first ones.
    """
    slots: range | NDArray[np.int64] = range(len(index.vectors("image")))
    # the first ones of a large index: a condition may be met by few of many, and a database numbers slots anyhow
    if conditions or isinstance(index, DatabaseIndex):
        slots = next(iter(index.slots_where("image", conditions)), np.zeros(0, dtype=np.int64))
    chosen = np.linspace(0, max(len(slots) - 1, 0), min(most, len(slots))).round().astype(np.int64)
    return index.located("image", [int(slots[i]) for i in chosen], conditions)


def slider(index: AnyIndex) -> Slider:
    """Return which shares of right answers can be asked for, for words on pictures."""
    try:
        known = calibration(index, "text", {"image": 1.0}).marks
    except DataError as error:
        return Slider(reason=str(error))
    return Slider(highest(known))


def highest(known: object) -> float:
    """Return the largest share that a calibration can be asked for."""
    return max(map(float, known.facts["levels"])) if isinstance(known, DefaultCut) else HIGHEST


def examples(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return words that are likely to be answered: short captions, labels and names of folders, spread over entries.

    Example:
        >>> examples([Entry("a.jpg", facts={"folder": "train/sea_horse"}), Entry("b.jpg", caption="a red bus.")])
        ('sea horse', 'a red bus')
        >>> examples([Entry("a.jpg", facts={"folder": "camera"}), Entry("b.jpg", facts={"folder": "2024-07"})])
        ('an animal', 'people outdoors', 'food on a table', 'a car at night', 'water')
        >>> examples([Entry("IMG_1.jpg")])
        ('an animal', 'people outdoors', 'food on a table', 'a car at night', 'water')
    """
    every = list(entries)
    folders = {_folder(entry): _words(_folder(entry)) for entry in every if _folder(entry) and not _named(entry)}
    kinds = 2 * sum(map(bool, folders.values())) > len(folders)  # of photos; "coco_2017" and "Camera" are none
    words = list(dict.fromkeys(text for entry in every if (text := _example(entry, kinds))))
    step = max(1, len(words) // EXAMPLES)
    return tuple(words[::step][:EXAMPLES]) or PLAIN


def _named(entry: Entry) -> bool:
    return bool(entry.caption or entry.facts.get("label", ""))


def _folder(entry: Entry) -> str:
    folder = PurePosixPath(str(entry.facts.get("folder", ""))).name
    return "" if folder.lower() in SPLITS else folder


def _example(entry: Entry, kinds: bool) -> str:
    if entry.caption:
        return entry.caption.rstrip(". ") if len(entry.caption) <= LONGEST and ";" not in entry.caption else ""
    return _words(str(entry.facts.get("label", "")) or (_folder(entry) if kinds else ""))


def _words(name: str) -> str:
    words = tidy(name).strip()
    return words if words.replace(" ", "").isalpha() and len(words) <= LONGEST else ""
