"""What would spoil a board of label maps: masks that cannot be read, of another size, or of values without a class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from diptych.core import DataError, Run, UnreadableItem
from diptych.core.void import void_in
from diptych.core.wording import number_of
from diptych.data.labelled import LabelledData
from diptych.data.words.classnames import void_names
from diptych.tasks.check_report import Finding


def mask_findings(data: LabelledData, run: Run) -> Iterator[Finding]:
    """Read every mask and its photo's size; data without masks have no findings.

    Args:
        data: a column "mask" of label maps (H, W), of defects (H, W) bool or of instances (n, H, W) bool.
        run: threads and progress.
    """
    places = [(split, i) for split, table in data.splits.items() if "mask" in table.columns for i in range(len(table))]
    if not places:
        return
    broken: dict[str, list[str]] = defaultdict(list)
    sizes: list[str] = []
    counted = np.zeros(2, np.int64)  # pixels of no class, all pixels

    def look(place: tuple[str, int]) -> tuple[str, tuple[int, ...], tuple[int, int], int] | DataError | None:
        table, i = data.splits[place[0]], place[1]
        try:
            mask = np.asarray(table.columns["mask"].values[i])
        except DataError as error:
            return error
        try:
            image = table.items[i]
        except UnreadableItem:  # the photo, which has a finding of its own
            return None
        void = 0 if mask.dtype == bool else int((mask == void_in(mask)).sum())
        return table.items.name(i), mask.shape[-2:], (image.height, image.width), void

    with run.track("check masks", len(places)) as bar, ThreadPoolExecutor(max(1, run.workers)) as pool:
        try:
            for seen in pool.map(look, places):
                bar.advance()
                if isinstance(seen, UnreadableItem):
                    broken[seen.reason].append(seen.name)
                elif isinstance(seen, DataError):
                    broken[str(seen).rstrip(".")].append("")
                elif seen is not None:
                    name, shape, size, void = seen
                    sizes += [] if shape == size else [name]
                    counted += (void, int(np.prod(shape)))
        except BaseException:  # at Ctrl-C while they are handed out, the pool would look at all of them
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for reason, paths in broken.items():
        many = number_of(len(paths), "mask cannot", "masks cannot")
        yield Finding("mask", "error", f"{many} be read, such as {paths[0]}: {reason}.", "Mend them.", tuple(paths))
    if sizes:
        many = number_of(len(sizes), "photo has a mask", "photos have masks")
        yield Finding(
            "mask", "error", f"{many} of another size, such as {sizes[0]}.", "Give each mask the size of its photo.",
            tuple(sizes),
        )  # fmt: skip
    if share := counted[0] / max(1, counted[1]):
        yield Finding(
            "mask", "note",
            f"{share:.1%} of the pixels of masks have values that are void or stand for no class: they do not count.",
            "List a value with its name, if it is a class.",
        )  # fmt: skip
    if classes := void_names(data.classes):
        yield Finding(
            "names", "warning", f"{classes[0]!r} counts as a class like the others.",
            'Mark it in a column "void" of classes.csv, or leave its value out by --void.', classes,
        )  # fmt: skip
