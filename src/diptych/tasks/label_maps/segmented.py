"""What lies where on one photo, and its files: label map, overlay, confidence, instance and panoptic maps."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core.void import Labels, void_of
from diptych.core.wording import Guided, first_of, number_of
from diptych.data.files import write_json, write_whole
from diptych.data.formats.panoptic import rgb_of
from diptych.data.formats.rle import to_runs
from diptych.nn.dense.segments import Panoptic
from diptych.tasks.pages.overlay import Colour, label_png, overlay, palette, png

BACKGROUND = "background"
GREY: Colour = (128, 128, 128)


class AreaRow(TypedDict):
    """Share of a picture that a label has."""

    label: str
    value: int
    area: float
    confidence: NotRequired[float]


class SegmentRow(TypedDict):
    """A segment of a panoptic map; its box is left, top, width and height in pixels."""

    id: int
    label: str
    value: int
    thing: bool
    score: float
    area: int
    bbox: list[float]


class RegionsRow(TypedDict):
    """Shares of labels, and the label map as PNG in base64."""

    path: str
    width: int
    height: int
    areas: list[AreaRow]
    unknown: NotRequired[float]
    segments: NotRequired[list[SegmentRow]]
    mask: NotRequired[str]


@dataclass(frozen=True)
class Segmented(Guided):
    """What lies where on one photo.

    Args:
        name: what the user calls it.
        labels: (H, W) positions in ``classes``, uint8, or uint16 of more than 255 classes; ``void`` where the
            segmenter is too unsure.
        classes: K names; the first is "background" where background was asked for.
        confidence: (H, W) float32, the best probability of each pixel (cosine, where the system gives cosines).
        panoptic: each pixel's segment, of the class that the pixel has in ``labels``, where classes of things were
            named; None: none were.
    """

    name: str
    image: Image.Image
    labels: Labels
    classes: tuple[str, ...]
    confidence: NDArray[np.float32] | None = None
    panoptic: Panoptic | None = None

    @property
    def void(self) -> int:
        """Value of pixels of which the segmenter is too unsure: 255, or 65,535 of more than 255 classes."""
        return void_of(len(self.classes))

    def areas(self) -> dict[int, float]:
        """Return class position -> share of the photo, largest first; classes without a pixel are left out.

        Unknown pixels are in no class, so the shares may sum to less than 1.
        """
        counts = np.bincount(self.labels.ravel(), minlength=self.void + 1)[: len(self.classes)]
        return {int(k): float(counts[k] / self.labels.size) for k in np.argsort(-counts, kind="stable") if counts[k]}

    def unknown(self) -> float:
        """Return the share of the photo whose pixels are unknown."""
        return float((self.labels == self.void).mean())

    def as_dict(self) -> RegionsRow:
        """Return plain data for JSON."""
        areas = []
        for k, share in self.areas().items():
            row: AreaRow = {"label": self.classes[k], "value": k, "area": round(share, 6)}
            if self.confidence is not None:
                row["confidence"] = round(float(self.confidence[self.labels == k].mean()), 4)
            areas.append(row)
        facts: RegionsRow = {"path": self.name, "width": self.image.width, "height": self.image.height, "areas": areas}
        if self.unknown():
            facts["unknown"] = round(self.unknown(), 6)
        if self.panoptic is not None:
            facts["segments"] = self.segments()
        return facts

    def segments(self) -> list[SegmentRow]:
        """Return the segments of the panoptic map as plain data, with pixel boxes of left, top, width, height."""
        return [
            {
                "id": s.id, "label": self.classes[s.label], "value": s.label, "thing": s.thing,
                "score": round(s.score, 4), "area": s.area, "bbox": list(s.box),
            }
            for s in (() if self.panoptic is None else self.panoptic.segments)
        ]  # fmt: skip

    def colours(self) -> list[Colour]:
        """Return the colour of each class."""
        return palette(len(self.classes), background=self.classes[0] == BACKGROUND)

    def shown(self) -> Image.Image:
        """Return the photo with its label map over it, its borders in white, and the legend.

        Segments that touch inside a class have a border too.
        """
        legend = {k: f"{self.classes[k]}  {percent(share)}" for k, share in self.areas().items()}
        colours = self.colours()
        if self.unknown():
            legend[self.void] = f"unknown  {percent(self.unknown())}"
            colours += [GREY] * (self.void + 1 - len(colours))
        return overlay(
            self.image,
            self.labels,
            colours,
            legend,
            background=self.classes[0] == BACKGROUND,
            parts=None if self.panoptic is None else self.panoptic.ids,
        )

    def instance_map(self) -> NDArray[np.uint16]:
        """Return (H, W) uint16: 0 where there is no thing, else the number of the thing's segment."""
        assert self.panoptic is not None
        things = [s.id for s in self.panoptic.segments if s.thing]
        return np.where(np.isin(self.panoptic.ids, things), self.panoptic.ids, 0).astype(np.uint16)

    def write(self, folder: Path, stem: str, *, overwrite: bool = False) -> list[Path]:
        """Write the files of ``endings``.

        Raises:
            UsageError: one exists and ``overwrite`` is False.
        """
        facts = {**self.as_dict(), "classnames": self.classes}
        pictures = {".overlay.png": png(self.shown()), ".labels.png": label_png(self.labels, self._label_colours())}
        if self.confidence is not None:
            grey = np.clip(self.confidence * 255, 0, 255).round().astype(np.uint8)
            pictures[".confidence.png"] = png(Image.fromarray(grey))
        if self.panoptic is not None:
            pictures[".panoptic.png"] = png(Image.fromarray(rgb_of(self.panoptic.ids)))
            pictures[".instances.png"] = _png16(self.instance_map())
        paths = [folder / f"{stem}{ending}" for ending in pictures]
        for path, data in zip(paths, pictures.values(), strict=True):
            write_whole(path, data, overwrite=overwrite)
        write_json(folder / f"{stem}.json", facts, overwrite=overwrite)
        return [*paths[:2], folder / f"{stem}.json", *paths[2:]]

    def _label_colours(self) -> list[Colour]:
        colours = self.colours()
        return colours + [GREY] * (self.void + 1 - len(colours)) if self.unknown() else colours


def endings(*, confidence: bool = False, things: bool = False) -> tuple[str, ...]:
    """Return the endings of the files of one photo."""
    more = (".panoptic.png", ".instances.png") if things else ()
    return (".overlay.png", ".labels.png", ".json", *((".confidence.png",) if confidence else ()), *more)


def stems(names: Sequence[str]) -> list[str]:
    """Return the file stem of each photo; a stem that occurs again gets a number: a, b, a-2."""
    taken: set[str] = set()
    unique = []
    for name in names:
        stem = base = Path(name).stem or "photo"
        number = 2
        while stem in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem)
        unique.append(stem)
    return unique


def of_others(folder: Path, ending: str, stems: Collection[str]) -> list[str]:
    """Return a sentence that a folder has files of photos that are not among those of this run; [] where it has none.

    Args:
        folder: to which the run wrote.
        ending: of one of the files of a photo, such as ".labels.png".
        stems: those of the photos of this run.
    """
    there = (path.name.removesuffix(ending) for path in folder.glob(f"*{ending}"))
    if not (others := sorted(set(there).difference(stems))):
        return []
    photos = number_of(len(others), "photo that is", "photos that are")
    return [
        f"{folder} has files of {photos} not among these, left by an earlier run: {first_of(others)}. Delete what "
        "begins so, or give a new folder."
    ]


COCO = ("panoptic.json", "instances.json")
"""Files of a whole run with things, in COCO's two formats."""


@dataclass
class Coco:
    """Annotations of a run's photos in COCO's formats, gathered photo by photo.

    Categories are numbered from 1 in the order of the classes; masks of instances are uncompressed run lengths.

    Args:
        classes: K names.
        things: K marks of classes whose objects are counted.
    """

    classes: tuple[str, ...]
    things: tuple[bool, ...]
    images: list[dict[str, Any]] = field(default_factory=list)
    panoptic: list[dict[str, Any]] = field(default_factory=list)
    instances: list[dict[str, Any]] = field(default_factory=list)

    def add(self, stem: str, item: Segmented) -> None:
        """Add a photo with a panoptic map, whose PNG is STEM.panoptic.png."""
        assert item.panoptic is not None
        number, (width, height) = len(self.images) + 1, item.image.size
        self.images.append({"id": number, "file_name": item.name, "width": width, "height": height})
        rows = []
        for s in item.panoptic.segments:
            shared = {"category_id": s.label + 1, "area": s.area, "bbox": list(s.box), "score": round(s.score, 4)}
            rows.append({"id": s.id, "iscrowd": 0, **shared})
            if s.thing:
                mask = {"size": [height, width], "counts": to_runs(item.panoptic.ids == s.id)}
                row = {"id": len(self.instances) + 1, "image_id": number, "iscrowd": 0, "segmentation": mask}
                self.instances.append({**row, **shared})
        self.panoptic.append({"image_id": number, "file_name": f"{stem}.panoptic.png", "segments_info": rows})

    def write(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write the files of ``COCO`` to a folder."""
        categories = [
            {"id": k, "name": name, "isthing": int(thing)}
            for k, (name, thing) in enumerate(zip(self.classes, self.things, strict=True), start=1)
        ]
        counted = [c for c in categories if c["isthing"]]
        for name, rows, listed in zip(COCO, (self.panoptic, self.instances), (categories, counted), strict=True):
            content = {"images": self.images, "annotations": rows, "categories": listed}
            write_json(folder / name, content, overwrite=overwrite)


def percent(share: float) -> str:
    """Return a share as whole percent; below one, "<1%"."""
    return f"{100 * share:.0f}%" if share >= 0.01 else "<1%"


def _png16(values: NDArray[np.uint16]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "png")
    return out.getvalue()
