"""What a segmenter promises: regions of each photo, whatever the other photos are and the order of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from diptych.core import ClassNames, Column, Evidence, FittedSegmenter, Kit, Regions, Run, Segmenter, Table
from diptych.data.labelled import NamedTable
from diptych.nn.dense.label_maps import dense_map, label_map
from diptych.nn.dense.segments import panoptic
from diptych.testing.compare import close
from diptych.testing.exam import Exam, Fitting
from diptych.testing.parts import PROPOSER, sam_masks
from diptych.testing.pictures import Pictures, picture
from diptych.testing.promise import faults, plain, require

NAMES = ClassNames(("cat", "dog", "red barn"))
SIZES = ((30, 60), (47, 21), (16, 16))
"""Height and width of the test photos, in pixels."""
CAPTIONS = (("A cat on a bench.",), ("A man with a dog.",), ("Two boats.",), ("A red barn.",))


def photos() -> Pictures:
    """Return three photos of noise, of different sizes."""
    rng = np.random.default_rng(0)
    return Pictures(tuple(Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES))


def labelled() -> Evidence[Any]:
    """Return photos with label maps, without labels, and with captions."""
    plain = Pictures(tuple(picture(k, k) for k in range(4)))
    halves = tuple((np.arange(12) // 6 + np.zeros((12, 1))).astype(np.uint8) for _ in range(4))
    return Evidence(
        train=NamedTable(plain, {"mask": Column("mask", halves)}, ("cat", "white horse")),
        unlabelled=plain,
        auxiliary=Table(plain, {"captions": Column("captions", CAPTIONS)}),
    )


class SegmenterExam(Exam):
    """Three photos of noise, a small CLIP, and a small SAM that draws."""

    role = Segmenter
    clip = True
    alone = (0.0, 0.0)
    part_names: ClassVar[Mapping[str, str]] = {
        "Space": "teacher",
        "MaskProposer": "proposer",
        "PromptableMasks": "masks",
    }

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return a teacher, a proposer of masks and a SAM."""
        return {"teacher": backbone, "proposer": PROPOSER, "masks": sam_masks()}

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Photos with label maps, without labels, and with captions."""
        return labelled()

    @cached_property
    def items(self) -> Pictures:
        """The test photos."""
        return photos()

    @property
    def material(self) -> Any:
        """The evidence, and the test photos."""
        return self.evidence, self.items

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run, names: ClassNames = NAMES) -> FittedSegmenter:
        """Return the fitted segmenter."""
        fitted: FittedSegmenter = self.make().fit(kit, names, evidence, run)
        return fitted

    def answer(self, fitted: FittedSegmenter, run: Run) -> list[Regions]:
        """Return the regions of each photo."""
        return list(fitted.regions(self.items, run))

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where a photo has no regions of its size, or their scores or masks are out of range."""
        answers: list[Regions] = fitting.answer
        require(len(answers) == len(self.items), f"{len(self.items)} photos get {len(answers)} answers")
        for r, photo in zip(answers, self.items.images, strict=True):
            values, size = r.scores.values, (photo.height, photo.width)
            faults(
                (r.size == size, f"a photo of {size} gets regions of a photo of {r.size}"),
                *plain(values),
                (r.masks is None or tuple(r.masks.shape) == (len(values), *r.grid), "masks are not (Q, *grid)"),
                (r.masks is None or 0 <= float(r.masks.min()) <= float(r.masks.max()) <= 1, "masks leave [0, 1]"),
                (r.masks is None or r.scores.kind == "log_prob", "scores of masks must be log_prob"),
                (tuple(dense_map(r).shape) == (len(NAMES), *r.grid), "the regions make no (K, *grid) map"),
                (tuple(label_map(r).shape) == size, "the regions make no label map of the photo's size"),
                (tuple(panoptic(r, (True, False, True)).ids.shape) == size, "the regions make no panoptic map"),
            )

    def apart(self, fitted: FittedSegmenter, run: Run) -> tuple[Any, Any]:
        """Return the scores of each photo alone, and among the others."""
        alone = [r for image in self.items.images for r in fitted.regions(Pictures((image,)), run)]
        return [r.scores for r in alone], [r.scores for r in self.first.answer]

    def nothing(self, fitted: FittedSegmenter, run: Run) -> str:
        """Return what is wrong with the regions of no photos."""
        count = len(list(fitted.regions(Pictures(()), run)))
        return f"{count} photos are answered" if count else ""

    def permuting_names_permutes_maps(self) -> None:
        """Classes in another order get the same maps in that order."""
        order = [2, 0, 1]
        moved = replace(NAMES, names=tuple(NAMES.names[k] for k in order))
        other = self.answer(self.fit(self.kit(), self.evidence, self.run(), moved), self.run())
        require(
            all(
                close(dense_map(b), dense_map(a)[order], 1e-4, 1e-4)
                for a, b in zip(self.first.answer, other, strict=True)
            ),
            "classes in another order get other maps: nothing may depend on the place of a class in the list",
        )

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of segmenters."""
        return [self.permuting_names_permutes_maps]
