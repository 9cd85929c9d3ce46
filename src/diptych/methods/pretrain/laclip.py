"""LaCLIP trains CLIP on captions that are drawn among the original and rewrites by a language model.

    c ~ uniform over { original, rewrite_1, ..., rewrite_M }
    L = CLIP's loss of the pairs (image, c)

c: caption of an image, drawn each time the image is in a batch; the original where the drawn one has under two words
M: number of rewrites of a caption

The original has the probability 1 / (M + 1). With M = 0 it is plain CLIP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from diptych.core import (
    Ask,
    ClassNames,
    Clock,
    DataError,
    Evidence,
    Kit,
    Learns,
    Recipe,
    Rewriter,
    Row,
    Run,
    Space,
    Table,
    Text,
    Trainee,
    Writer,
)
from diptych.core.ranges import at_least, between, check
from diptych.core.train import everything
from diptych.data.evidence import training_rows
from diptych.nn.contrastive import contrastive
from diptych.train.pair import PairTrainee, item

EXAMPLES: tuple[tuple[str, str], ...] = (
    ("dog runs on beach", "A dog is running along the sandy beach."),
    ("a red bike leaning on a brick wall", "Against a wall of bricks stands a bicycle painted red."),
    ("two kids with ice cream, summer day", "On a day in summer, a pair of children enjoy their ice cream."),
    ("old man reading newspaper in cafe", "In a coffee house, an elderly man looks through the day's paper."),
    ("sunset over the mountains", "Behind the mountains the sun is going down."),
    ("woman playing violin on stage", "A female musician performs on the violin before an audience."),
)
"""Examples for the language model, written for this file: a caption and the same in other words."""


def prompt(caption: str, examples: Sequence[tuple[str, str]]) -> str:
    """Return the prompt for a rewrite: an instruction, examples as "source => target", and the caption with "=>"."""
    shown = "\n\n".join(f"{source} => {target}" for source, target in examples)
    return f"Say each caption of a picture in other words, and keep what it says.\n\n{shown}\n\n{caption} =>"


def first_line(reply: str) -> str:
    """Return the first line of a reply that is not empty, from the last "=>" on; "" where all are empty."""
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    return lines[0].rsplit("=>", 1)[-1].strip() if lines else ""


@dataclass(frozen=True)
class Rewording:
    """Rewrites captions with a language model.

    Args:
        writer: the language model, or a stored pool of its replies.
        examples: pairs from which the examples of a prompt are drawn.
        shown: pairs in one prompt.
        seed: of the draw. It also depends on the caption, so that the order of the captions has no effect.
    """

    writer: Writer
    examples: tuple[tuple[str, str], ...]
    shown: int
    seed: int

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return up to ``n`` rewrites of each caption, ``about``; empty ones and copies of the caption are left out."""
        prompted = [Ask(prompt(a.about, self._drawn(a.about)), a.about, a.n) for a in asks]
        replies = self.writer.write(prompted)
        return [
            [
                Text(line, t.writer, t.prompt, t.date)
                for t in texts
                if (line := first_line(t.value)) and line != ask.about
            ]
            for ask, texts in zip(asks, replies, strict=True)
        ]

    def _drawn(self, caption: str) -> list[tuple[str, str]]:
        order = torch.randperm(len(self.examples), generator=Run(seed=self.seed).generator(f"examples/{caption}"))
        return [self.examples[i] for i in order[: self.shown].tolist()]


class _Drawing(PairTrainee):
    """Trains pairs with CLIP's loss; the caption of an image is drawn each time it is in a batch."""

    def __init__(
        self, space: Space, run: Run, rewrites: Mapping[str, Sequence[Text]], words: int, learns: Learns
    ) -> None:
        super().__init__(space, None, run, read={"image": item, "text": self._wording}, learns=learns)
        self.rewrites, self.words = {t: tuple(r.value for r in texts) for t, texts in rewrites.items()}, words

    def _wording(self, row: Row, g: torch.Generator) -> str:
        original = _first(row.columns["captions"])
        wordings = (original, *self.rewrites.get(original, ()))  # captions of other rows, of val, have none
        text = wordings[int(torch.randint(len(wordings), (), generator=g))]
        return text if len(text.split()) >= self.words else original

    def losses(self, batch: Any, phase: str, clock: Clock) -> dict[str, torch.Tensor]:
        """Return CLIP's loss as "contrastive"."""
        return {"contrastive": contrastive(self.embed(batch), ("image", "text"))}


@dataclass(frozen=True)
class LaCLIP(Recipe, Rewriter):
    """Train pairs whose captions are drawn among rewrites by the kit's writer.

    Use it where captions are few or alike. The writer is a language model or a stored pool of its replies. Rewrites are
    looked up by the text of the caption, so the order of the rows has no effect.

    Args:
        rewrites: M, for each caption, >= 0; 4 (one from each of the paper's pools).
        words: least number of words of a drawn text; with fewer, the original is used; 2 (the authors').
        examples: pairs of a caption and its rewrite for the prompts; ``EXAMPLES`` (ours).
        shown: examples in one prompt, from 0 to their number; 3 (the authors').

    Raises:
        UsageError: a number is out of its range.

    Source: Fan et al. 2023, sections 3.1-3.3.

    Example:
        >>> print(prompt("dog on beach", EXAMPLES[:1]))
        Say each caption of a picture in other words, and keep what it says.
        <BLANKLINE>
        dog runs on beach => A dog is running along the sandy beach.
        <BLANKLINE>
        dog on beach =>
        >>> first_line("dog on beach => A dog stands on the sand.")
        'A dog stands on the sand.'
    """

    weighs: ClassVar[bool] = False  # of a row's captions the first is rewritten
    rewrites: int = 4
    words: int = 2
    examples: tuple[tuple[str, str], ...] = EXAMPLES
    shown: int = 3

    def __post_init__(self) -> None:
        check(self, at_least(0), "rewrites")
        check(self, between(0, len(self.examples)), "shown")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Rewording:
        """Return the rewriter, which uses the kit's "writer".

        Raises:
            MissingPart: the kit has no writer.
        """
        return Rewording(kit.need(Writer, "writer"), self.examples, self.shown, run.seed)

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Rewrite all captions, then yield the one trainee.

        Raises:
            MissingPart: the kit has no writer.
            MissingEvidence: there are no training rows.
            DataError: a row has no caption.
        """
        train = training_rows(evidence, "laclip")
        originals, _ = (_originals(table) for table in (train, evidence.val or train))
        rewrites: dict[str, list[Text]] = {t: [] for t in originals}
        if self.rewrites:
            replies = self.fit(kit, evidence, run).write([Ask(about=t, n=self.rewrites) for t in rewrites])
            rewrites = dict(zip(rewrites, replies, strict=True))
        yield _Drawing(kit.need(Space), run, rewrites, self.words, learns)


def _first(captions: str | Sequence[str]) -> str:
    return captions if isinstance(captions, str) else next(iter(captions), "")


def _originals(table: Table[Any]) -> list[str]:
    """Return the first caption of each row."""
    column = table.columns.get("captions")
    if column is None:
        raise DataError("LaCLIP rewrites captions, and the rows have none: give a table with a column 'caption'.")
    first = [_first(captions) for captions in column.values]
    if "" in first:
        raise DataError(f"Row {first.index('')} has no caption: fill it, or remove the row.")
    return first
