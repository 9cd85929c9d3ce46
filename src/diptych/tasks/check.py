"""The doctor of data sets: what would spoil a run, found before it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.core import DataError, DiptychError, Run, UnreadableItem
from diptych.core.wording import number_of
from diptych.data.formats.anomaly import CLASSES as ANOMALIES
from diptych.data.images import SMALL
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.words.classnames import read_names, tidy, unreadable_names
from diptych.tasks.check_report import CheckReport, Finding
from diptych.tasks.curate.near_pictures import Look, look_of, near_groups
from diptych.tasks.label_maps.check_masks import mask_findings

LARGE = 40_000_000
TINY = 5


@dataclass(frozen=True)
class _Item:
    """One picture as seen: its content key, its pixels and what is compared of it, or why it cannot be read."""

    split: str
    label: str
    name: str
    key: str
    pixels: int
    look: Look | None
    error: UnreadableItem | None = None


def check(
    data: str | Path | LabelledData,
    *,
    names: str | os.PathLike[str] | Sequence[str] | None = None,
    keys: FileKeys | None = None,
    run: Run | None = None,
) -> CheckReport:
    """Examine a data set; every picture is decoded once.

    Args:
        data: what ``open_data`` takes, or opened data.
        names: class names, or a file of them, that shall go with the classes; None: the tidied folder names.
        keys: remembers content keys.
        run: workers and progress.

    Returns:
        The report. Data whose classes cannot be told apart are examined as photos without classes, and those that
        cannot be opened at all give one finding of the kind "layout".

    Raises:
        UsageError: there is nothing at this place.
    """
    opened, layout = (data, []) if isinstance(data, LabelledData) else _opened(data, keys)
    if opened is None:
        return CheckReport(str(data), (), {}, tuple(layout))
    items = _look(opened, Run() if run is None else run)
    remarks = [
        *layout,
        *_layout(opened),
        *_names(opened, names),
        *_captions(opened),
        *_pictures(items),
        *_duplicates(items),
        *_near_duplicates(items),
        *mask_findings(opened, Run() if run is None else run),
    ]
    rank = ("error", "warning", "note").index
    counts = {split: len(table) for split, table in opened.splits.items()}
    return CheckReport(opened.name, opened.classes, counts, tuple(sorted(remarks, key=lambda f: rank(f.severity))))


def _opened(data: str | Path, keys: FileKeys | None) -> tuple[LabelledData | None, list[Finding]]:
    """Open data with their classes, else as photos; None where that fails too."""
    try:
        return open_data(data, keys, need="check"), []
    except DataError as error:
        try:
            photos = open_data(data, keys, need="photos")
        except DataError:
            remedy = "Change it as the message says and check again."
            return None, [Finding("layout", "error", str(error), remedy)]
        remedy = (
            "Commands that need no classes, such as index, take it as it is; it is checked as photos without classes."
        )
        return photos, [Finding("layout", "warning", str(error), remedy)]


def _look(data: LabelledData, run: Run) -> list[_Item]:
    """Decode every picture, several at once, and keep what the checks need."""

    def look(split: str, index: int, label: str) -> _Item:
        samples = data.splits[split].items
        try:
            key = samples.key(index)
            image = samples[index]
            return _Item(split, label, samples.name(index), key, image.width * image.height, look_of(image))
        except UnreadableItem as error:
            return _Item(split, label, samples.name(index), "", 0, None, error)

    places = []
    for split, table in data.splits.items():
        labels = [data.classes[k] for k in table.labels()] if "label" in table.columns else [""] * len(table)
        places += [(split, i, label) for i, label in enumerate(labels)]
    seen = []
    with run.track("check", len(places)) as bar, ThreadPoolExecutor(max(1, run.workers)) as pool:
        try:
            for item in pool.map(lambda place: look(*place), places):
                seen.append(item)
                bar.advance()
        except BaseException:  # at Ctrl-C while they are handed out, the pool would look at all of them
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return seen


def _layout(data: LabelledData) -> Iterator[Finding]:
    """Splits that are missing, classes that are empty, missing in a split, or tiny.

    Label maps hold many classes per photo, and photos of what is normal are all of train where anomalies are looked
    for: there, classes are not counted.
    """
    if not any(map(len, data.splits.values())):
        yield Finding("layout", "error", f"There are no pictures in {data.name}.", "Add some, or name another folder.")
    labelled = any("label" in table.columns for table in data.splits.values())
    if not data.classes or not labelled or data.classes == ANOMALIES:
        return
    if len(data.classes) == 1:
        yield Finding(
            "one-class",
            "error",
            f"There is one class, {data.classes[0]!r}: everything would be right.",
            "Give a folder of class folders, or a table with a column class_name.",
        )
    if "test" not in data.splits and "val" not in data.splits:
        yield Finding(
            "missing-split", "error", "Splits test and val are missing: nothing can be measured.",
            "Add a folder (or split value) named 'test'.",
        )  # fmt: skip
    if "train" not in data.splits:
        yield Finding(
            "missing-split",
            "note",
            "Split train is missing: a board measures no few-shot system; finetune holds out a tenth of the photos.",
            "Add a folder (or split value) named 'train'.",
        )
    elif ("val" in data.splits) != ("test" in data.splits):
        absent, use = ("val", "results come from test") if "test" in data.splits else ("test", "results come from val")
        yield Finding(
            "missing-split",
            "note",
            f"Split {absent} is missing: {use}, and choices are made on train items that are not drawn.",
            f"Add a folder (or split value) named '{absent}', if you have one.",
        )
    counts = {s: np.bincount(t.labels(), minlength=len(data.classes)) for s, t in data.splits.items()}
    total = sum(counts.values())
    for k in np.flatnonzero(total == 0):
        name = data.classes[k]
        yield Finding(
            "empty-class", "error", f"Class {name} has no picture.", "Add some, or remove its folder.", (name,)
        )
    for split, count in counts.items():
        missing = tuple(data.classes[k] for k in np.flatnonzero((count == 0) & (total > 0)))
        if missing:
            message = f"{len(missing)} of {len(data.classes)} classes have no picture in {split}."
            yield Finding(
                "class-missing-in-split", "warning", message, f"Add pictures to {split}, or remove these classes.",
                missing,
            )  # fmt: skip
        tiny = tuple(data.classes[k] for k in np.flatnonzero((count > 0) & (count < TINY)))
        if tiny:
            message = f"{number_of(len(tiny), 'class has', 'classes have')} fewer than {TINY} pictures in {split}."
            yield Finding(
                "tiny-class", "warning", message,
                "Add pictures: draws and per-class numbers of these classes mean little.", tiny,
            )  # fmt: skip


def _names(data: LabelledData, names: str | os.PathLike[str] | Sequence[str] | None) -> Iterator[Finding]:
    """Names that do not fit the classes, that are numbers, or that two classes share."""
    try:
        spoken = [tidy(c) for c in data.classes] if names is None else list(read_names(names, data.classes))
    except DiptychError as error:
        yield Finding("names", "error", str(error), "Give one name per class.")
        return
    if sentence := unreadable_names(spoken):
        numbers = all(name.isdecimal() for name in spoken)
        remedy = "Digits that are what the pictures show may stay." if numbers else "Names of brands may stay."
        yield Finding("names", "warning", sentence, remedy, ())
    sharing = defaultdict(list)
    for name, folder in zip(spoken, data.classes, strict=False):
        sharing[name.lower()].append(folder)
    for name, folders in sharing.items():
        if len(folders) > 1:
            message = f"{len(folders)} classes share the name {name!r}."
            yield Finding(
                "name-collision", "error", message, "Give a file of names that tells them apart.", tuple(folders)
            )


def _captions(data: LabelledData) -> Iterator[Finding]:
    """Pictures without a caption beside others that have one."""
    tables = [table for table in data.splits.values() if "captions" in table.columns]
    without = [
        t.items.name(i) for t in tables for i, texts in enumerate(t.columns["captions"].values) if not any(texts)
    ]
    if 0 < len(without) < (total := sum(map(len, tables))):
        message = f"{len(without):,} of {total:,} pictures {'has' if len(without) == 1 else 'have'} no caption."
        remedy = "Fill them, or remove the rows: what learns from captions, or measures them, refuses them."
        yield Finding("caption", "warning", message, remedy, tuple(without))


def _pictures(items: list[_Item]) -> Iterator[Finding]:
    """Pictures that cannot be read, one finding a reason, and pictures that are slow to read."""
    broken: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        if item.error is not None:
            broken[item.error.reason.partition(" (")[0]].append(item)
    for reason, alike in broken.items():
        message, one = f"{len(alike)} pictures cannot be read: {reason}.", alike[0]
        if len(alike) == 1:
            message = f"{one.name} cannot be read: {one.error.reason if one.error else reason}."
        paths = tuple(item.name for item in alike)
        yield Finding("unreadable", "error", message, "Repair or remove them; runs skip and count them.", paths)
    if small := tuple(i.name for i in items if i.error is None and i.pixels < SMALL):
        message = (
            f"{number_of(len(small), 'picture has', 'pictures have')} fewer than {SMALL} pixels, such as {small[0]}."
        )
        yield Finding("small", "warning", message, "Remove them: nothing can be seen on them.", small)
    large = tuple(i.name for i in items if i.pixels > LARGE)
    if large:
        message = f"{number_of(len(large), 'picture has', 'pictures have')} more than {LARGE // 10**6} megapixels."
        yield Finding(
            "large", "note", message, "Make them smaller: towers look at a few hundred pixels per side.", large
        )


def _duplicates(items: list[_Item]) -> Iterator[Finding]:
    """Files with the same bytes: across splits, under two labels, or twice in a class."""
    same: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        if item.error is None:
            same[item.key].append(item)
    across, labels, inside = [], [], []
    for group in same.values():
        if len({i.split for i in group}) > 1:
            across.append(group)
        if len({i.label for i in group}) > 1:
            labels.append(group)
        elif len({i.split for i in group}) < len(group):
            inside.append(group)
    if across:
        message = f"{number_of(len(across), 'picture lies', 'pictures lie')} in more than one split{_such(across)}."
        yield Finding(
            "duplicate-across-splits", "error", message, "Remove them from train or val: results would be too good.",
            *_paths(across),
        )  # fmt: skip
    if labels:
        message = f"{number_of(len(labels), 'picture has', 'pictures have')} two labels{_such(labels)}."
        yield Finding("two-labels", "error", message, "Decide on one and remove the other.", *_paths(labels))
    if inside:
        where = " in a class" if inside[0][0].label else ""
        message = f"{number_of(len(inside), 'picture occurs', 'pictures occur')} more than once{where}{_such(inside)}."
        yield Finding("duplicate", "warning", message, "Keep one of each: doubles count twice.", *_paths(inside))


def _near_duplicates(items: list[_Item]) -> Iterator[Finding]:
    """Pictures that look the same in files that differ; of equal files one stands for all."""
    unlike = list({item.key: item for item in items if item.look is not None}.values())
    groups = [[unlike[i] for i in group] for group in near_groups([item.look for item in unlike if item.look])]
    if groups:
        over = sum(len({i.split for i in group}) > 1 for group in groups)
        message = f"{number_of(len(groups), 'picture occurs', 'pictures occur')} again, saved anew or resized"
        message += f", {over} of them in another split" if over else ""
        remedy = "Look at them, and keep one of each" + (", in one split." if over else ".")
        yield Finding("near-duplicate", "warning", f"{message}{_such(groups)}.", remedy, *_paths(groups))


def _such(groups: list[list[_Item]]) -> str:
    """Return the first pair of equal files, for a sentence; all stand in the report's ``paths``."""
    one, other, *_ = groups[0]
    return f", such as {one.name} and {other.name}"


def _paths(groups: list[list[_Item]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the names of all files, and those of each group, the one with the most pixels first."""
    named = tuple(tuple(item.name for item in sorted(group, key=lambda i: -i.pixels)) for group in groups)
    return tuple(item.name for group in groups for item in group), named
