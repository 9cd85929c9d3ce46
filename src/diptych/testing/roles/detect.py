"""What a detector promises: one finite score for each photo, and perhaps a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch

from diptych.core import Anomaly, DataError, Detector, Evidence, FittedDetector, Run
from diptych.testing.exam import Exam, Fitting
from diptych.testing.pictures import Pictures, scratched
from diptych.testing.promise import faults, require


class DetectorExam(Exam):
    """Photos of a surface, some with a scratch, and a small CLIP."""

    role = Detector
    hookless = False  # a detector may take one of several hooks
    clip = True
    names_evidence = True

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Normal photos, and photos of another surface with scratches."""
        return Evidence(train=scratched(6, 0, seed=1), auxiliary=scratched(3, 3, seed=2))

    @cached_property
    def items(self) -> Any:
        """The test photos."""
        return scratched(2, 2, seed=3).items

    @property
    def material(self) -> Any:
        """The evidence, and the test photos."""
        return self.evidence, self.items

    def answer(self, fitted: FittedDetector, run: Run) -> list[Anomaly]:
        """Return the score of each photo."""
        return list(fitted.detect(self.items, run))

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where a photo has no finite score, or a map that is none."""
        anomalies: list[Anomaly] = fitting.answer
        require(len(anomalies) == len(self.items), f"{len(self.items)} photos get {len(anomalies)} answers")
        for a, photo in zip(anomalies, self.items.images, strict=True):
            faults(
                (type(a.score) is float and math.isfinite(a.score), f"the score {a.score!r} is no finite float"),
                (a.map is None or a.size == (photo.height, photo.width), f"a map has the size {a.size} of no photo"),
                (a.map is None or a.map.dim() == 2, "a map is not (h, w)"),
                (a.map is None or a.map.dtype == torch.float32, "a map is not torch.float32"),
                (a.map is None or not a.map.requires_grad, "a map takes gradients: compute it in torch.no_grad()"),
                (a.map is None or a.map.device.type == "cpu", "a map is not on the CPU"),
                (a.map is None or bool(torch.isfinite(a.map).all()), "a map is not finite"),
            )

    def apart(self, fitted: FittedDetector, run: Run) -> tuple[Any, Any]:
        """Return the score of each photo alone, and among the others."""
        alone = [a.score for image in self.items.images for a in fitted.detect(Pictures((image,)), run)]
        return alone, [a.score for a in self.first.answer]

    def nothing(self, fitted: FittedDetector, run: Run) -> str:
        """Return what is wrong with the scores of no photos."""
        count = len(list(fitted.detect(Pictures(()), run)))
        return f"{count} photos are answered" if count else ""

    def photos_that_are_no_normal_ones_are_refused(self) -> None:
        """Evidence without a normal photo is refused by an error that says so."""
        for field in self.card.needs.evidence:
            only: dict[str, Any] = {field: scratched(0, 3, seed=4)}
            call = partial(self.fitted_on, self.kit(), replace(self.evidence, **only))
            error = self.refuses(call, DataError, f"normal photos in {field}")
            require("normal" in str(error), f"the error of missing normal photos does not say so: {error}")

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of detectors."""
        return [self.photos_that_are_no_normal_ones_are_refused]
