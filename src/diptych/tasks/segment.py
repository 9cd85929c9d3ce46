"""Say what lies where on photos, and count a fitted segmenter's pixels on labelled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.backbones.sources.load import load
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Samples, Table
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.method import FittedSegmenter, Segmenter
from diptych.core.run import Run
from diptych.data.files import write_json, write_whole
from diptych.data.images import need_size
from diptych.data.memory import InMemory
from diptych.data.templates import ENSEMBLE
from diptych.metrics.segmentation import confusion
from diptych.nn.dense.label_maps import label_map
from diptych.tasks.overlay import Colour, label_png, overlay, palette, png

BACKGROUND = "background"


@dataclass(frozen=True)
class Segmented:
    """What lies where on one photo.

    Args:
        name: what the user calls it.
        image: the photo.
        labels: (H, W) uint8 positions in ``classes``.
        classes: K names; the first is "background" where background was asked for.
    """

    name: str
    image: Image.Image
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]

    def areas(self) -> dict[int, float]:
        """Return class position -> share of the photo, largest first; classes without a pixel are left out."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return {int(k): float(counts[k] / self.labels.size) for k in np.argsort(-counts, kind="stable") if counts[k]}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        areas = [{"label": self.classes[k], "value": k, "area": round(share, 6)} for k, share in self.areas().items()]
        return {"path": self.name, "width": self.image.width, "height": self.image.height, "areas": areas}

    def colours(self) -> list[Colour]:
        """Return the colour of each class."""
        return palette(len(self.classes), background=self.classes[0] == BACKGROUND)

    def shown(self) -> Image.Image:
        """Return the photo with its label map over it, and the legend."""
        legend = {k: f"{self.classes[k]}  {percent(share)}" for k, share in self.areas().items()}
        return overlay(self.image, self.labels, self.colours(), legend, background=self.classes[0] == BACKGROUND)

    def write(self, folder: Path, stem: str, *, overwrite: bool = False) -> list[Path]:
        """Write STEM.overlay.png, STEM.labels.png and STEM.json; raises UsageError where one exists and ``overwrite``
        is False.
        """
        paths = [folder / f"{stem}{ending}" for ending in (".overlay.png", ".labels.png", ".json")]
        write_whole(paths[0], png(self.shown()), overwrite=overwrite)
        write_whole(paths[1], label_png(self.labels, self.colours()), overwrite=overwrite)
        write_json(paths[2], self.as_dict() | {"classnames": self.classes}, overwrite=overwrite)
        return paths


def percent(share: float) -> str:
    """Return a share as whole percent; below one, "<1%"."""
    return f"{100 * share:.0f}%" if share >= 0.01 else "<1%"


def segment(
    photos: Samples[Any],
    names: ClassNames | Sequence[str],
    backbone: Backbone,
    run: Run | None = None,
    *,
    templates: Sequence[str] | None = None,
    method: Segmenter | None = None,
    evidence: Evidence[Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    background: Sequence[str] = (),
    threshold: float | None = None,
) -> Iterator[Segmented | UnreadableItem]:
    """Say what lies where, photo by photo.

    Args:
        photos: N images.
        names: K class names, or names with their templates.
        backbone: of the segmenter.
        run: device, cache and progress; None: a plain CPU run.
        templates: replace those of ``names``; None: the ensemble of ``data.templates`` where ``names`` brings none.
        method: any segmenter; None is MaskCLIP.
        evidence: what ``method`` may see.
        parts: of the kit, beside the backbone.
        background: words for what none of the names names, such as "sky", "wall": each asks for itself, and the answer
            of all is "background", class 0 of the result.
        threshold: pixels whose best probability lies below it are background; None: none are.

    Yields:
        The label map of a photo, or why it cannot be read, in the order of the photos.

    Raises:
        UsageError: a threshold outside [0, 1] or without background, more than 255 classes, or a name that is a
            background word too, or "background" beside such words.
        DataError: there is no photo.
    """
    from diptych.methods.segment.maskclip import MaskCLIP

    if threshold is not None and (not 0 <= threshold <= 1 or not background):
        raise UsageError(
            "The threshold is a probability from 0 to 1, below which pixels are background: give words for background "
            "too."
        )
    if len(photos) == 0:
        raise DataError("No photos: give a folder, a table or files that hold some.")
    named = ClassNames.of(names, ENSEMBLE)
    if background and BACKGROUND in map(str.casefold, named.names):
        raise UsageError(
            f"{BACKGROUND!r} is a name and what the words for background become: take it out of the names, or give no "
            "words."
        )
    queries = replace(named, names=(*background, *named.names), templates=tuple(templates or named.templates))
    classes = (BACKGROUND, *named.names) if background else named.names
    palette(len(classes))
    groups = [max(0, k - len(background) + 1) for k in range(len(queries))] if background else None
    given = run or Run()
    fitted = (method or MaskCLIP()).fit(
        Kit({**(parts or {}), "main": backbone}), queries, evidence or Evidence(), given
    )
    return segmented(fitted, photos, classes, given, groups, threshold)


def segmented(
    fitted: FittedSegmenter,
    photos: Samples[Any],
    classes: tuple[str, ...],
    run: Run,
    groups: list[int] | None = None,
    threshold: float | None = None,
) -> Iterator[Segmented | UnreadableItem]:
    """Yield the label maps of photos by a fitted segmenter, see ``segment``.

    Args:
        fitted: the segmenter, of Q queries.
        photos: N images.
        classes: K names of the result.
        run: device, cache and progress.
        groups: Q positions in ``classes``; None: the queries are the classes.
        threshold: pixels whose best probability lies below it are class 0.
    """
    with run.track("segment", len(photos)) as bar:
        for i in range(len(photos)):
            try:
                photo = InMemory((photos[i],), (photos.name(i),), (photos.key(i),))
            except UnreadableItem as error:
                yield error
            else:
                (regions,) = fitted.regions(photo, run)
                labels = label_map(regions, groups, threshold=threshold).cpu().numpy().astype(np.uint8)
                yield Segmented(photo.name(0), photo[0], labels, classes)
            bar.advance()


def stems(names: Sequence[str]) -> list[str]:
    """Return the file stem of each photo; a stem that occurs again gets a number: a, b, a-2."""
    taken: set[str] = set()
    found = []
    for name in names:
        stem = base = Path(name).stem or "photo"
        number = 2
        while stem in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem)
        found.append(stem)
    return found


def counts(fitted: FittedSegmenter, table: Table[Any], run: Run) -> NDArray[np.int64]:
    """Count a fitted segmenter's pixels, image by image; the sum over images goes into ``metrics.segmentation``.

    Args:
        fitted: what to measure.
        table: N readable images with a "mask" column of (H, W) class positions, 255 where a pixel does not count.
        run: device and cache.

    Returns:
        (N, K, K) int64: row = label, column = prediction.

    Raises:
        UnreadableItem: an image or mask cannot be read.
        DataError: the table has no items or no mask column, or a mask has another size than its image.
    """
    column = table.columns.get("mask")
    if column is None or column.kind != "mask" or len(table) == 0:
        raise DataError("This table has no masks to compare with: give images with a mask column.")
    found = np.zeros((len(table), len(fitted.classes), len(fitted.classes)), dtype=np.int64)
    with run.track("segment", len(table)) as bar:
        for i, regions in enumerate(fitted.regions(table.items, run)):
            labels = np.asarray(column.values[i])
            need_size(table.items.name(i), labels.shape, regions.size)
            found[i] = confusion(label_map(regions).cpu().numpy(), labels, len(fitted.classes))
            bar.advance()
    return found


TEACHER = "lite"
"""The image encoder that teaches where a system asks for one."""


def teach(
    system: type[Segmenter], backbone: Backbone, photos: Callable[[], Samples[Any] | None], teacher: str = TEACHER
) -> tuple[Kit, Evidence[Any]]:
    """Return the parts and the evidence that a segmenter's card asks for.

    Args:
        system: a segmenter.
        backbone: the main part.
        photos: gives photos without labels; called only for a system that learns from some.
        teacher: name of a backbone, of which the image encoder teaches; the main part teaches itself, if that is its
            name.

    Raises:
        NotAvailable: a part or the photos are not on this machine.
    """
    needs = system.card.needs
    parts: dict[str, Any] = {"main": backbone}
    if "Space" in needs.parts:
        parts["teacher"] = backbone if backbone.spec.name == teacher else load(teacher)
    return Kit(parts), Evidence(unlabelled=photos()) if "unlabelled" in needs.evidence else Evidence()
