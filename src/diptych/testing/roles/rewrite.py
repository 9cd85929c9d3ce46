"""What a rewriter promises: a writer of other wordings of a text, at most as many as were wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from diptych.core import Ask, Column, Evidence, Rewriter, Run, Table, Text, Writer
from diptych.testing.exam import Exam, Fitting
from diptych.testing.parts import Echo, random_diffusion
from diptych.testing.pictures import Pictures, picture
from diptych.testing.promise import faults

COLOURS = ("red", "blue", "green", "pink")
ASKS = (Ask(about="a red cup", n=2), Ask(about="a blue cup", n=1))


class RewriterExam(Exam):
    """Eight pictures with a short and a long caption, a writer that repeats, a small CLIP and a denoiser."""

    role = Rewriter
    hookless = False
    clip = True
    part_names: ClassVar[Mapping[str, str]] = {"Writer": "writer", "TextDiffusion": "diffusion"}

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return a writer and a denoiser."""
        return {"writer": Echo(), "diffusion": random_diffusion(backbone)}

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Pictures with captions."""
        words = [COLOURS[k % 4] for k in range(8)]
        captions = [(f"a {word} cup", f"a large {word} cup on a table, at dusk") for word in words]
        pictures = Pictures(tuple(picture(k % 4, k) for k in range(8)))
        return Evidence(train=Table(pictures, {"captions": Column("captions", captions)}))

    def answer(self, fitted: Writer, run: Run) -> list[list[Text]]:
        """Return the wordings of two texts."""
        return fitted.write(list(ASKS))

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where a text has more wordings than wanted, or one that is no text."""
        wordings: list[list[Text]] = fitting.answer
        faults(
            (isinstance(fitting.fitted, Writer), f"{type(fitting.fitted).__name__} is no Writer"),
            (len(wordings) == len(ASKS), f"{len(ASKS)} texts get {len(wordings)} answers"),
            (
                all(len(texts) <= ask.n for texts, ask in zip(wordings, ASKS, strict=False)),
                "there are more than wanted",
            ),
            (all(isinstance(t, Text) for texts in wordings for t in texts), "a wording is no Text"),
        )

    def apart(self, fitted: Writer, run: Run) -> tuple[Any, Any]:
        """Return the wordings of each text alone, and among the others."""
        return [fitted.write([ask])[0] for ask in ASKS], self.first.answer

    def nothing(self, fitted: Writer, run: Run) -> str:
        """Return what is wrong with the wordings of no texts."""
        count = len(fitted.write([]))
        return f"{count} texts are answered" if count else ""

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked."""
        return [self.same_seed_same_bits, self.inputs_are_not_written]
