"""What a training is given: labels or captions, splits, and only what can be read, looked at before it begins."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.core import Backbone, Column, DataError, Method, Run, Samples, Stream, Table, UnreadableItem, UsageError
from diptych.core.wording import none_readable, number_of
from diptych.data.labelled import LabelledData
from diptych.data.memory import InMemory
from diptych.features.embed import embed_readable
from diptych.features.frozen import Headed
from diptych.features.pipeline import cores

CHUNK = 256
"""Photos that are looked at between two signs of progress."""


def with_splits(data: LabelledData, seed: int) -> tuple[LabelledData, str]:
    """Return data with a train split, and what was done: the seed holds out a tenth of undivided rows."""
    if "train" in data.splits:
        return data, ""
    table = next(iter(data.splits.values()))
    if len(data.splits) > 1 or len(table) < 10:
        raise DataError(
            f"{data.name} has no train split, and its {number_of(len(table), 'row')} cannot be divided: give train and "
            f"test folders, a column 'split', or 10 rows or more in one split."
        )
    order = np.random.default_rng(Run(seed=seed).integer("split")).permutation(len(table))
    cut = len(table) // 10
    splits = {"train": table.take(np.sort(order[cut:]).tolist()), "test": table.take(np.sort(order[:cut]).tolist())}
    return replace(
        data, splits=splits
    ), f"{data.name} has no train split: {cut} of {len(table)} rows, drawn by the seed, are held out."


def held_out(stream: Stream[Any], name: str, count: int) -> tuple[LabelledData, frozenset[int]]:
    """Return the first ``count``, >= 2, readable pairs of a stream, as the split "test", and their positions.

    Raises:
        UsageError: its items are no pairs of a picture and a text.
        DataError: it has fewer pairs.
    """
    sets: list[tuple[int, Any, tuple[str, ...], str]] = []
    outcomes = getattr(stream, "outcomes", None)
    for position, item in outcomes() if outcomes else iter(stream):
        if isinstance(item, UnreadableItem):
            continue
        if not (hasattr(item, "image") and hasattr(item, "text")):
            raise UsageError(f"{name} has no pictures with texts: give tars, a table, or Parquet files with both.")
        try:
            picture = item.image()
            columns = getattr(item, "columns", None) or {"captions": (item.text(),)}
            captions = tuple(columns["captions"])
        except UnreadableItem:
            continue
        key = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
        sets.append((position, item, captions, key))
        if len(sets) == count:
            break
    if len(sets) < count:
        raise DataError(
            f"{name} has {len(sets)} pairs that can be read, and {count} are to be held out: lower {{held_out}}."
        )
    if absent := set.intersection(*(set(_lacking(item)) for _, item, _, _ in sets)):
        words = f"None of the first {count} pairs of {name} has captions in {' or '.join(sorted(absent))}"
        warnings.warn(f"{words}: check the names of its fields.", stacklevel=2)
    items = InMemory([item for _, item, _, _ in sets], keys=[key for *_, key in sets])
    captions_of = Column("captions", tuple(captions for _, _, captions, _ in sets))
    return LabelledData(name, (), {"test": Table(items, {"captions": captions_of})}), frozenset(p for p, *_ in sets)


def _lacking(item: Any) -> Sequence[str]:
    """Return the fields with captions that were named and that an item has not; () where nothing tells."""
    lacking = getattr(getattr(item, "columns", None), "lacking", None)
    return () if lacking is None else lacking()


def measured_split(data: LabelledData) -> str:
    """Return the split that is measured on: test, or else val, or else what is trained on."""
    return next((s for s in ("test", "val") if len(data.splits.get(s, ()))), "train")


def only_readable(
    data: LabelledData, splits: Iterable[str], space: Backbone, run: Run
) -> tuple[LabelledData, tuple[UnreadableItem, ...]]:
    """Return some splits of data without the photos that cannot be read, and why they cannot.

    What is measured is embedded in any case, and so is what heads learn from: those vectors are made here, and stay in
    the store. The photos that whole towers learn from are decoded once.

    Raises:
        DataError: no photo of a split can be read.
    """
    readable: dict[str, Table[Any]] = {}
    failed: list[UnreadableItem] = []
    for split in splits:
        table = data.split(split)
        if isinstance(space, Headed) or split == measured_split(data):
            embedded = embed_readable(
                space.trunks["image"] if isinstance(space, Headed) else space.image, table.items, run
            )
            rows, broken = embedded.kept.tolist(), embedded.failed
        else:
            rows, broken = _decodable(table.items, run)
        if len(table) and not rows:
            raise DataError(none_readable(len(table), "photos", broken, f" of {data.name}, {split},"))
        readable[split] = table.take(rows) if broken else table
        failed += broken
    return replace(data, splits=readable), tuple(failed)


def _decodable(items: Samples[Any], run: Run) -> tuple[list[int], tuple[UnreadableItem, ...]]:
    """Return the positions of the items that can be read, and why the others cannot."""

    def trouble(i: int) -> UnreadableItem | None:
        try:
            items[i]
        except UnreadableItem as error:
            return error
        return None

    errors: list[UnreadableItem | None] = []
    with run.track("check photos", len(items)) as bar, ThreadPoolExecutor(run.workers or cores()) as pool:
        for start in range(0, len(items), CHUNK):  # so that few are queued, and Ctrl-C waits for few
            errors += pool.map(trouble, range(start, min(start + CHUNK, len(items))))
            bar.advance(len(errors) - start)
    return [i for i, error in enumerate(errors) if error is None], tuple(error for error in errors if error is not None)


def by_labels(data: LabelledData) -> LabelledData:
    """Return data without captions where there are labels: beside a training, their classes are measured."""
    if not data.classes:
        return data
    splits = {
        s: Table(t.items, {n: c for n, c in t.columns.items() if n != "captions"}) for s, t in data.splits.items()
    }
    return replace(data, splits=splits)


def need_labels_or_captions(method: Method, data: LabelledData) -> None:
    """Check that there are labels or captions, unless the method's card says that it reads images alone.

    Raises:
        DataError: there are none.
    """
    labelled = data.classes or all("captions" in table.columns for table in data.splits.values())
    if "train" in method.card.needs.evidence and not labelled:
        raise DataError(
            f"{data.name} has neither labels nor captions, and {method.card.slug} needs one of them: give class "
            f"folders, or a table with a column 'caption'{data.heading}."
        )


def check_classes(method: Method, data: LabelledData) -> None:
    """Check that labels tell something apart, where there are no captions and the method reads more than images.

    Raises:
        DataError: there is one class.
    """
    reads = "train" in method.card.needs.evidence
    if reads and len(data.classes) == 1 and not any("captions" in table.columns for table in data.splits.values()):
        raise DataError(
            f"{data.name} has one class, {data.classes[0]}, and nothing to tell it from: add a folder or rows of "
            f"another class, or captions."
        )


def check_captions(data: LabelledData, splits: Iterable[str], *readers: Callable[[Sequence[str]], Any]) -> None:
    """Check that every row has captions and that they are read whole: a training would meet the others in its middle.

    Args:
        data: where there are no captions, nothing is checked.
        splits: those that are wanted.
        readers: what turns texts into inputs, and refuses those that are too long.

    Raises:
        DataError: a row has no caption.
        UsageError: a reader refuses one.
    """
    for table in (data.split(split) for split in splits):
        if "captions" not in table.columns:
            continue
        synthetic = table.columns["synthetic"].values if "synthetic" in table.columns else [()] * len(table)
        for i, (originals, written) in enumerate(zip(table.columns["captions"].values, synthetic, strict=True)):
            texts = [originals] if isinstance(originals, str) else list(originals)
            if not any(texts):
                raise DataError(f"{table.items.name(i)} of {data.name} has no caption: fill it, or remove the row.")
            texts += written
            try:
                for read in readers:
                    read(texts)
            except UsageError as error:
                raise UsageError(f"{table.items.name(i)}: {error}") from None
