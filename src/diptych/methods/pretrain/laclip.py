"""LaCLIP: each time an image is seen, its caption is one of several wordings, and a language model wrote all but the
first.

    c ~ U{ original, rewrite_1 ... rewrite_M };  fewer than two words: the original;  then CLIP's loss on (image, c)

The original has probability 1 / (M + 1). With M = 0 it is plain CLIP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from diptych.core.backbone import Space
from diptych.core.card import Card, Headline, Needs, ProofPlan, Reference
from diptych.core.data import ClassNames, Evidence, Table, Text
from diptych.core.errors import DataError, MissingEvidence
from diptych.core.kit import Kit
from diptych.core.language import Ask, Writer
from diptych.core.ranges import at_least, between, check
from diptych.core.run import Run
from diptych.core.train import Clock, Learns, Recipe, Rewriter, Row, Trainee, everything
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
"""Pairs of our own that show a language model what another wording is."""


def prompt(caption: str, examples: Sequence[tuple[str, str]]) -> str:
    """Return the request for another wording: an instruction, the examples as "source => target", and the caption with
    an open end.
    """
    shown = "\n\n".join(f"{source} => {target}" for source, target in examples)
    return f"Say each caption of a picture in other words, and keep what it says.\n\n{shown}\n\n{caption} =>"


def first_line(reply: str) -> str:
    """Return what stands on the first line of a reply that is not empty, after the last "=>" where there is one."""
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    return lines[0].rsplit("=>", 1)[-1].strip() if lines else ""


@dataclass(frozen=True)
class Rewording:
    """Asks a writer for other wordings.

    Args:
        writer: whom to ask.
        examples: the pairs to draw from.
        shown: pairs in one prompt.
        seed: of the draw, beside the caption: a caption gets the same examples in every order of asking.
    """

    writer: Writer
    examples: tuple[tuple[str, str], ...]
    shown: int
    seed: int

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return up to ``n`` wordings of each ask's ``about``; empty ones and copies of the caption are left out."""
        prompted = [Ask(prompt(a.about, self._drawn(a.about)), a.about, a.n) for a in asks]
        found = self.writer.write(prompted)
        return [
            [
                Text(line, t.writer, t.prompt, t.date)
                for t in texts
                if (line := first_line(t.value)) and line != ask.about
            ]
            for ask, texts in zip(asks, found, strict=True)
        ]

    def _drawn(self, caption: str) -> list[tuple[str, str]]:
        order = torch.randperm(len(self.examples), generator=Run(seed=self.seed).generator(f"examples/{caption}"))
        return [self.examples[i] for i in order[: self.shown].tolist()]


class _Drawing(PairTrainee):
    """Draws a wording for every sight of an image."""

    def __init__(self, space: Space, run: Run, wordings: Sequence[tuple[str, ...]], words: int, learns: Learns) -> None:
        super().__init__(space, None, run, read={"image": item, "text": self._wording}, learns=learns)
        self.wordings, self.words = wordings, words

    def _wording(self, row: Row, g: torch.Generator) -> str:
        own = self.wordings[row.index]
        text = own[int(torch.randint(len(own), (), generator=g))]
        return text if len(text.split()) >= self.words else own[0]

    def losses(self, batch: Any, phase: str, clock: Clock) -> dict[str, torch.Tensor]:
        """Return CLIP's loss."""
        return {"contrastive": contrastive(self.embed(batch), ("image", "text"))}


@dataclass(frozen=True)
class LaCLIP(Recipe, Rewriter):
    """Train pairs whose captions are drawn among rewrites; the rewrites come from the kit's writer: a stored pool, or a
    language model.

    Rewrites are found by the caption's own words, never by row number, so a file of rewrites can't slip out of line.

    Args:
        rewrites: M, asked for each caption; 4, one from each of the paper's pools.
        words: a drawn text with fewer is replaced by the original; 2.
        examples: pairs that show the language model what to do (ours).
        shown: examples in one prompt; 3.

    Raises:
        UsageError: fewer than no rewrites, or more examples shown than there are.

    Source: Fan et al. 2023, sections 3.1-3.3.
    """

    rewrites: int = 4
    words: int = 2
    examples: tuple[tuple[str, str], ...] = EXAMPLES
    shown: int = 3

    card: ClassVar[Card] = Card(
        slug="laclip",
        name="LaCLIP",
        title="Improving CLIP Training with Language Rewrites",
        url="https://arxiv.org/abs/2305.20088",
        year=2023,
        verb="pretrain",
        claim="Drawing each caption among rewrites by a language model trains a better CLIP than the same captions "
        "over and over.",
        needs=Needs(
            hooks=("image", "text", "rebuild"),
            parts=("Writer",),
            extras=("train",),
            evidence=("train",),
            optional=("val",),
        ),
        trains="both towers and the scale",
        headlines=(
            Headline("ImageNet", "ViT-B/16, CC3M", "zero-shot top-1", 21.5, "CLIP 15.8", "readme of the authors"),
            Headline("ImageNet", "ViT-B/16, CC12M", "zero-shot top-1", 48.4, "CLIP 40.2", "readme of the authors"),
            Headline("ImageNet", "ViT-B/32, LAION-400M", "zero-shot top-1", 64.4, "CLIP 62.0", "readme of the authors"),
        ),
        reference=Reference("https://github.com/LijieFan/LaCLIP", "", "BSD-2-Clause"),
        differs=(
            "The released loader matches rewrites to rows by line, and wraps around where a file is shorter; here a "
            "caption finds its own.",
            "The released draw takes Python's unseeded generator; here it is fixed by (seed, epoch, row).",
            "The four pools of example pairs (two chat models, people, COCO) are one of our own, shipped with this "
            "file.",
            "A wording equal to the original, which only adds to its weight, is left out.",
        ),
        proof=ProofPlan(
            claim="Heads that draw among a caption and other people's wordings find unseen photos by further wordings "
            "better than"
            " heads that see one caption.",
            control="With the rewrites permuted against photos they do not.",
            datasets=("flickr8k_small",),
            minutes=4,
        ),
    )

    def __post_init__(self) -> None:
        check(self, at_least(0), "rewrites")
        check(self, between(0, len(self.examples)), "shown")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Rewording:
        """Return the rewriter: asks the writer that the kit holds under "writer"."""
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
        if evidence.train is None:
            raise MissingEvidence("laclip learns from rows of a train split: add them.")
        originals = _originals(evidence.train)
        found: list[list[Text]] = [[] for _ in originals]
        if self.rewrites:
            asked = list(dict.fromkeys(originals))
            answers = dict(
                zip(
                    asked,
                    self.fit(kit, evidence, run).write([Ask(about=t, n=self.rewrites) for t in asked]),
                    strict=True,
                )
            )
            found = [answers[t] for t in originals]
        wordings = [(t, *(r.value for r in own)) for t, own in zip(originals, found, strict=True)]
        yield _Drawing(kit.need(Space), run, wordings, self.words, learns)


def _originals(table: Table[Any]) -> list[str]:
    """Return the first caption of each row."""
    column = table.columns.get("captions")
    if column is None:
        raise DataError("LaCLIP rewrites captions, and the rows have none: give a table with a column 'caption'.")
    first = [c if isinstance(c, str) else next(iter(c), "") for c in column.values]
    if "" in first:
        raise DataError(f"Row {first.index('')} has no caption: fill it, or remove the row.")
    return first
