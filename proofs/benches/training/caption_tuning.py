"""The proof of LLM2CLIP: does a language model that was tuned to tell captions apart find more photos than as it was?

Any contrast spreads vectors out, which may help by itself. So the tuning on two captions of a photo is also compared
with one on each caption and itself, where only dropout tells the two apart, as in SimCSE without labels.

The language model is a small one of ours with word ids, trained to predict the next word of the training captions: it
stands in for one with billions of weights, which does not fit this proof. Image towers are frozen; a linear head is
trained on them, as in the other proofs on captioned photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.language_text import LanguageText
from diptych.core import Backbone, Row, Run, Table, Texts
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.boards.tune import Training
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.llm2clip import LANGUAGE, LLM2CLIP, Captions, CaptionTuning
from diptych.nn.text.small_lm import SmallLM
from diptych.train.captioning import PAD, WordIds
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step
from proofs.benches.training.pairs import NewHeads, open_pairs
from proofs.trial import Claim, Trial

WORDS = Fit(lr=3e-3, batch=64, steps=250, decay=0.01, schedule=Schedule(warmup=20), clip=1.0, log_every=50)
"""Settings of the language model on next words."""
TUNED = LLM2CLIP(rate=3e-3, steps=160, instruction="")
"""A higher rate than the authors', for a language model of a thousandth of the size. The steps were chosen on every
fifth photo of the training split: captions find another one of their photo in 34 % after 160 steps (R@5, seeds 101 and
102), in 19 % after 80 and in 16 % untuned.
"""


@dataclass(frozen=True)
class PermutedTuning(LLM2CLIP):
    """LLM2CLIP whose stage 1 takes captions of several photos for those of one."""

    def seen(self, captions: Captions, run: Run) -> Captions:
        """Return the captions permuted among the images."""
        every = [text for texts in captions for text in texts]
        order = iter(np.random.default_rng(run.integer("permuted captions")).permutation(len(every)).tolist())
        return tuple(tuple(every[next(order)] for _ in texts) for texts in captions)


class _Itself(CaptionTuning):
    """Tells a caption from those of other photos, by another draw of dropout for its pair."""

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return a caption of the row twice, and one of another row."""
        views = super().views(row, g)
        return {**views, "same": views["query"]}


@dataclass(frozen=True)
class ItselfTuning(LLM2CLIP):
    """LLM2CLIP whose stage 1 pairs each caption with itself: the contrast stays, without what two people say."""

    def tuning(self, language: LanguageText, captions: Captions, run: Run) -> CaptionTuning:
        """Return the spoiled stage 1."""
        return _Itself(self, language, captions, run)


def next_words(captions: Sequence[str], run: Run, fit: Fit = WORDS) -> LanguageText:
    """Return a small language model that was trained to predict the words of captions."""
    words = WordIds.of(captions)
    with run.seeded("language model"):
        model = SmallLM(len(words), width=64, depth=2, heads=4, context=words.context)
    ids = words.ids(list(captions))

    def loss(batch: Any) -> dict[str, Tensor]:
        x = batch["ids"]
        logits, _ = model.logits(model.embed(x[:, :-1]), x[:, :-1] != PAD)
        return {"next word": F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), ignore_index=PAD)}

    step = Step(model, lambda row, g: {"ids": ids[row.index]}, loss)
    train_parameters(step, Table(Texts(tuple(captions))), fit, run, ())

    def read(texts: Sequence[str]) -> list[list[int]]:
        return [[i for i in row if i != PAD] for row in words.ids(list(texts)).tolist()] if texts else []

    model.requires_grad_(False)
    return LanguageText(model.eval(), model, read, PAD, "/".join(words.words), limit=words.context)


class SmallLanguageModel:
    """Makes the kit's language model, the same one for all arms and seeds."""

    def __init__(self, fit: Fit = WORDS) -> None:
        self.fit = fit
        self.tuned_models: dict[tuple[str, ...], LanguageText] = {}

    def __call__(self, space: Backbone, table: Table[Any], run: Run) -> dict[str, Any]:
        """Return {"language_model": one that was trained on the captions of a table}."""
        captions = tuple(t for texts in table.columns["captions"].values for t in texts)
        if captions not in self.tuned_models:
            with torch.enable_grad():
                self.tuned_models[captions] = next_words(captions, replace(run, seed=0), self.fit)
        return {LANGUAGE: self.tuned_models[captions]}


OWN = Training(TUNED, kit=SmallLanguageModel(), start=NewHeads())
UNTUNED = replace(OWN, method=replace(TUNED, tune=False))
PERMUTED, ITSELF = (replace(OWN, method=spoiled(**vars(TUNED))) for spoiled in (PermutedTuning, ItselfTuning))
R5 = "recall_at_5"
TO_UNTUNED = Claim("the untuned language model", base=Arm(UNTUNED), part=R5)
LLM2CLIP_TRIAL = Trial(
    (TO_UNTUNED, Claim("tuned on each caption and itself", base=Arm(ITSELF), part=R5)),
    arm=Arm(OWN),
    controls=(replace(TO_UNTUNED, arm=Arm(PERMUTED)),),
    beside={
        "R@1": replace(TO_UNTUNED, part="recall_at_1"),
        "chance": Claim(CHANCE, part=R5),
        "heads on MiniLM, a trained encoder of sentences": Claim(
            "clip-loss", base=Arm(Training(CLIPLoss(), start=NewHeads())), part=R5
        ),
    },
    bench=open_pairs,
)
