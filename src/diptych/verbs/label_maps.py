"""What ``segment`` answers: the label map of each photo, its files, and what a user should know beside them."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from diptych.core import Run, UnreadableItem
from diptych.core.wording import number_of
from diptych.verbs.answer import Answer, speed

if TYPE_CHECKING:
    from diptych.core import ClassNames
    from diptych.tasks.label_maps.pixel_risk import Promise
    from diptych.tasks.label_maps.question import Question
    from diptych.tasks.label_maps.segmented import Coco, Segmented


SEVERAL = 3
"""Photos from which on it is said that one name covers most of them: one close photo may well show one thing."""


class SegmentFacts(TypedDict):
    """Label maps of all pictures, and the settings of the run."""

    backbone: str
    method: str
    settings: dict[str, Any]
    images_per_second: float
    background: Sequence[str]
    threshold: float | None
    unknown: float | None
    promise: NotRequired[dict[str, Any]]
    things: list[str]
    classnames: Sequence[str]
    templates: Sequence[str]


class LabelMaps(Answer["Segmented"]):
    """The label map of each photo, made one by one; ``asked`` is the ``Segment`` that ran."""

    done = "segmented"

    def __init__(self, verb: Any, slug: str, named: ClassNames, question: Question, table: Any) -> None:
        super().__init__(iter(()), table.items)
        self.verb, self.slug, self.named, self.question, self.table = verb, slug, named, question, table
        self.boxes = table.columns.get("boxes") if verb.regions is not None else None
        self.counted = any(question.classes.things) or self.boxes is not None
        self.backbone, self.seconds, self.count = "", 0.0, 0
        self.processor, self.languages = Run(), tuple[str, ...]()
        self._coco: Coco | None = None
        self._stems = dict[str, str]()
        self._single = Counter[str]()
        self.promise: Promise | None = None

    def start(self, items: Iterator[Segmented | UnreadableItem]) -> None:
        """Take the label maps, which are made while they are read."""
        self._items = self._timed(items)

    def _timed(self, items: Iterator[Segmented | UnreadableItem]) -> Iterator[Segmented | UnreadableItem]:
        from diptych.tasks.label_maps.in_boxes import in_boxes

        begin = time.monotonic()
        for i, item in enumerate(items):
            if not isinstance(item, UnreadableItem):
                self.count += 1
                areas = item.areas()
                self._single.update([item.classes[k] for k in areas] if len(areas) == 1 and not item.unknown() else ())
                if self.boxes is not None:
                    phrases = self.table.columns["phrases"].values[i]
                    item = in_boxes(item, self.boxes.values[i].corners, phrases)
            yield item
            self.seconds = time.monotonic() - begin

    def _fresh(self) -> int:
        """Return how many label maps this run made itself; the others are of the same command, which was stopped."""
        return self.count - self.processor.tally["reused"]

    def label(self, item: Segmented) -> str:
        """Return the class that covers most of the photo."""
        return next((item.classes[k] for k in item.areas()), "")

    def line(self, item: Segmented) -> str:
        """Return the areas, largest first, the unknown rest and the number of things."""
        from diptych.tasks.label_maps.segmented import percent

        areas = [f"{item.classes[k]} {percent(share)}" for k, share in item.areas().items()]
        unknown = [f"unknown {percent(item.unknown())}"] if item.unknown() else []
        things = [number_of(sum(s["thing"] for s in item.segments()), "thing")] if self.counted else []
        return "  ".join((*areas, *unknown, *things))

    def columns(self, items: Sequence[Segmented]) -> dict[str, list[Any]]:
        """Return the share of each class."""
        areas = [{s.classes[k]: share for k, share in s.areas().items()} for s in items]
        return {c: [a.get(c, 0.0) for a in areas] for c in self.question.classes.names}

    def facts(self) -> SegmentFacts:
        """Return what was asked, and the speed."""
        facts: SegmentFacts = {
            "backbone": self.backbone, "method": self.slug, "settings": self.verb.given_settings(),
            "images_per_second": self._fresh() / max(self.seconds, 1e-9), "background": self.verb.background,
            "threshold": self.verb.threshold, "unknown": self.verb.unknown,
            "things": [n for n, t in zip(self.question.classes.names, self.question.classes.things, strict=False) if t],
            "classnames": self.named.names, "templates": self.named.templates,
        }  # fmt: skip
        if self.promise is not None:
            facts |= {"unknown": self.promise.threshold, "promise": dataclasses.asdict(self.promise)}
        return facts

    def remarks(self, items: Sequence[Segmented]) -> list[str]:
        """Return what is promised, that names are not English, and that one name leaves no choice."""
        from diptych.data.words.classnames import unreadable_names
        from diptych.data.words.english import not_english

        promised = [] if self.promise is None else [self.promise.sentence()]
        numbers = unreadable_names(self.named.names)
        if self.verb.names is not None and (foreign := not_english(self.named.names, self.backbone, self.languages)):
            promised.append(foreign)
        if len(self.question.classes) > 1:
            return [*promised, *([numbers] if numbers else []), *self._covered()]
        return ["With one name nothing else can be chosen: add names, or {background} with what else may be there."]

    def _covered(self) -> list[str]:
        """Return that most of several photos have one class in all pixels, which is rarely so."""
        single = self._single.total()
        if self.count < SEVERAL or 2 * single <= self.count:
            return []
        name, count = self._single.most_common(1)[0]
        return [
            f"{single} of {self.count} photos have one name in all pixels, {name!r} {count} times: look at the "
            f"overlays, and add names of what else they show."
        ]

    def write(self, item: Segmented, folder: Path, *, overwrite: bool) -> dict[str, Any]:
        """Write overlay, label map and areas, and the maps of counted things."""
        from diptych.tasks.label_maps.segmented import Coco, stems

        if self._coco is None:
            classes = self.question.classes
            self._coco = Coco(classes.names, (True,) * len(classes) if self.boxes is not None else classes.things)
            self._stems = dict(zip(self.names(), stems(self.names()), strict=True))
        stem = self._stems[item.name]
        paths = item.write(folder, stem, overwrite=overwrite)
        if self.counted:
            self._coco.add(stem, item)
        return {"overlay": str(paths[0]), "label_map": str(paths[1])}

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write COCO's files of the run, and name photos of an earlier one."""
        from diptych.tasks.label_maps.segmented import of_others

        if self._coco is not None and self.counted:
            self._coco.write(folder, overwrite=overwrite)
        fresh = self._fresh()
        fast = [speed(fresh, self.seconds, self.processor, self.backbone)] if fresh else []
        others = of_others(folder, ".labels.png", self._stems.values())
        return [*fast, f"{number_of(self.count, 'overlay')}, label maps and areas in {folder}", *others]

    def inline(self, item: Segmented) -> dict[str, Any]:
        """Return the label map as PNG in base64."""
        from diptych.tasks.pages.overlay import label_png

        return {"mask": base64.b64encode(label_png(item.labels, item.colours())).decode()} if self.verb.inline else {}
