"""VR-LwF fine-tunes a CLIP on a task while the similarities of its images to random sentences are kept as before.

    A     = s z_old u^T
    B     = s z_new u^T
    L_img = T^2 KL( softmax(A / T) || softmax(B / T) ),   over the V sentences, mean over the N images
    L_txt = T^2 KL( softmax(A^T / T) || softmax(B^T / T) ),   over the N images, mean over the V sentences
    L     = task + weight (L_img + L_txt)

u: (V, D) unit vectors of the vocabulary's V sentences, from the model before fine-tuning
z_old, z_new: (N, D) unit image embeddings of the model before fine-tuning, and of the one in training
A, B: (N, V) logits;  s: the scale of the model before fine-tuning
T: temperature

The vocabulary replaces the classes of other tasks, which are not known: neither old data nor real captions are needed.
A vocabulary of one sentence without L_txt has no effect, since a softmax over one sentence is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Evidence,
    Inputs,
    Kit,
    Learns,
    MissingEvidence,
    Recipe,
    Run,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.core.train import everything
from diptych.features.frozen import Headed
from diptych.nn.contrastive import contrastive, cosines, wide
from diptych.nn.text.random_sentences import random_sentences
from diptych.train.tuning import TuningTrainee

_AT_ONCE = 64
"""Sentences encoded in one call."""


def distilled(old: Tensor, new: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the mean KL divergence of the new rows from the old rows; 0 where they are equal.

    Args:
        old: (N, M) logits of the teacher.
        new: (N, M) logits of the student.
        temperature: T.

    Source: Hinton et al. 2015. Their cross-entropy has the same gradient, and this plus the teacher's entropy as value.
    """
    log_p, log_q = (old / temperature).log_softmax(-1), (new / temperature).log_softmax(-1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean()


class _Distilled(TuningTrainee):
    """Fine-tunes on the task and distils from the teacher's similarities to the sentences."""

    def __init__(
        self,
        recipe: VRLwF,
        space: Backbone,
        teacher: Backbone,
        sentences: Tensor,
        run: Run,
        classes: ClassNames | None,
        learns: Learns,
    ) -> None:
        super().__init__(
            space, run, classes, partial(contrastive, pair=("image", "text")), learns=learns, smoothing=recipe.smoothing
        )
        self.recipe, self.teacher, self.sentences = recipe, teacher, sentences

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return "task", and the weighted terms "images" (L_img) and "texts" (L_txt)."""
        e = self.embed(batch)
        with torch.no_grad():
            before = normalize(wide(self.teacher.image.encode(batch["image"])), dim=-1)
        scale, now = self.teacher.scale()[0].detach(), normalize(wide(e.vectors["image"]), dim=-1)
        u = self.sentences.to(now.device)
        old, new, r = cosines(before, u, scale), cosines(now, u, scale), self.recipe
        out = dict(self.task(batch, e))
        out["images"] = r.weight * distilled(old, new, r.temperature)
        if r.over_texts:
            out["texts"] = r.weight * distilled(e.gather(old).T, e.gather(new).T, r.temperature)
        return out


@dataclass(frozen=True)
class VRLwF(Recipe):
    """Fine-tune on a task, with a loss that keeps the similarities of images to random sentences.

    Use it where a CLIP learns one task after another, or must keep its accuracy on classes that are not in the task.
    The teacher is the model before fine-tuning; the kit may hold another space as "teacher".

    Args:
        vocabulary: "random" (default): sentences of random token ids. "classes": the prompts of the task, which is LwF
            for CLIP.
        size: V, number of random sentences, >= 1; 1000.
        length: tokens in a sentence, >= 1; 10.
        temperature: T, > 0; 2.0.
        weight: of L_img and L_txt, >= 0; 1.0.
        over_texts: whether L_txt is part of the loss; True.
        smoothing: of the labels, in [0, 1); 0.2.

    Raises:
        UsageError: a number is out of its range.

    Source: Ding et al. 2022, in the form of Zheng et al. 2023 (ZSCL, "LwF-VR"). The defaults are ZSCL's.

    Example:
        >>> old = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
        >>> distilled(old, old, temperature=2.0).item()
        0.0
        >>> bool(distilled(old, old.roll(1, dims=1), temperature=2.0) > 0)
        True
        >>> distilled(old[:, :1], -old[:, :1], temperature=2.0).item()  # one sentence has no effect
        0.0
    """

    vocabulary: Literal["random", "classes"] = "random"
    size: int = 1000
    length: int = 10
    temperature: float = 2.0
    weight: float = 1.0
    over_texts: bool = True
    smoothing: float = 0.2

    def __post_init__(self) -> None:
        check(self, at_least(1), "size", "length")
        check(self, above(0), "temperature")
        check(self, at_least(0), "weight")
        check(self, between(0, 1, "[)"), "smoothing")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingEvidence: ``vocabulary`` is "classes", and there are no class names.
            MissingHook: the text encoder does not take token ids.
        """
        space = kit.need(Backbone)
        teacher = kit.need(Backbone, "teacher") if "teacher" in kit.parts else space
        yield _Distilled(self, space, teacher, self._sentences(teacher, classes, run), run, classes, learns)

    def _sentences(self, teacher: Backbone, classes: ClassNames | None, run: Run) -> Tensor:
        """Return u, (V, D): the teacher's unit vectors of the vocabulary."""
        whole = teacher.whole if isinstance(teacher, Headed) else teacher
        if self.vocabulary == "random":
            inputs = random_sentences(whole, self.size, self.length, run.generator("vocabulary"))
        elif classes is None:
            raise MissingEvidence(
                "The vocabulary of the classes needs class names: give labelled photos, or vocabulary='random'."
            )
        else:
            inputs = whole.text.inputs([prompt for prompts in classes.prompts() for prompt in prompts])
        with torch.no_grad():
            return normalize(torch.cat([whole.text.encode(part) for part in _parts(inputs)]), dim=-1)


def _parts(x: Inputs) -> Iterator[Inputs]:
    if isinstance(x, Tensor):
        yield from torch.split(x, _AT_ONCE)
    else:
        for i in range(0, len(next(iter(x.values()))), _AT_ONCE):
            yield {n: t[i : i + _AT_ONCE] for n, t in x.items()}
