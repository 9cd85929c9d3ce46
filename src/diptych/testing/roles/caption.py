"""What a captioner promises: texts for each image, which depend on that image alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from diptych.core import Captioner, Evidence, FittedCaptioner, Run, Subset, Text, TextPool
from diptych.testing.exam import Exam, Fitting
from diptych.testing.parts import Echo
from diptych.testing.pictures import Pictures
from diptych.testing.promise import require
from diptych.testing.samples import PHOTOS, SENTENCES, captioned

COUNT = 3


class CaptionerExam(Exam):
    """Three images, sentences and captioned pictures, and a small CLIP."""

    role = Captioner
    hookless = False
    clip = True
    part_names: ClassVar[Mapping[str, str]] = {"Writer": "writer"}

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return a writer."""
        return {"writer": Echo()}

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Sentences, and pictures with captions and who wrote them."""
        return Evidence(train=captioned(), texts=TextPool({"": tuple(map(Text, SENTENCES))}))

    def answer(self, fitted: FittedCaptioner, run: Run) -> list[list[Text]]:
        """Return the captions of three images."""
        return fitted.caption(Pictures(PHOTOS.images[:COUNT]), run)

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where an image has no caption, or more than one is given where one is wanted."""
        captions: list[list[Text]] = fitting.answer
        require(len(captions) == COUNT, f"{COUNT} images get {len(captions)} answers")
        for texts in captions:
            require(len(texts) <= 1, f"one caption is wanted, and {len(texts)} are given")
            require(all(isinstance(t, Text) for t in texts), "a caption is no Text")

    def apart(self, fitted: FittedCaptioner, run: Run) -> tuple[Any, Any]:
        """Return the captions of each image alone, and among the others."""
        return [fitted.caption(Subset(PHOTOS, (i,)), run)[0] for i in range(COUNT)], self.first.answer

    def nothing(self, fitted: FittedCaptioner, run: Run) -> str:
        """Return what is wrong with the captions of no images."""
        captions = fitted.caption(Pictures(()), run)
        return f"{len(captions)} images are answered" if captions != [] else ""

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked: it may train something else."""
        return [self.same_seed_same_bits, self.global_state_is_untouched, self.inputs_are_not_written]
