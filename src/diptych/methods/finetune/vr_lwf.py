"""VR-LwF: while a CLIP learns a task, it must keep seeing random sentences in its images as it did before.

    A = s z_old u^T,   B = s z_new u^T                         u (V, D): vectors of the vocabulary, from the frozen
                                                               model before
    L_img = T^2 KL( softmax_V(A / T) || softmax_V(B / T) )     mean over images
    L_txt = the same over the images of the batch for each sentence
    L = task + w (L_img + L_txt)

The vocabulary stands in for classes that are not known: old and new model agree on it, so the open vocabulary keeps its
geometry, and neither old data nor real captions are needed. A vocabulary of one sentence without L_txt binds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone, Inputs
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import ClassNames, Evidence
from diptych.core.errors import MissingEvidence, MissingHook
from diptych.core.kit import Kit
from diptych.core.ranges import above, at_least, check
from diptych.core.run import Run
from diptych.core.train import Clock, Learns, Recipe, Trainee, everything
from diptych.features.frozen import Headed
from diptych.nn.contrastive import contrastive
from diptych.train.tuning import TuningTrainee

_AT_ONCE = 64
"""Sentences encoded at once."""


def distilled(old: Tensor, new: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the mean KL of the rows of new logits from those of old ones; zero where they agree.

    Args:
        old: (N, M) logits of the teacher.
        new: (N, M) logits of the student.
        temperature: T.

    Source: Hinton et al. 2015, with the teacher's entropy taken off: same gradient, and 0 is the floor.
    """
    log_p, log_q = (old / temperature).log_softmax(-1), (new / temperature).log_softmax(-1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def random_sentences(space: Backbone, number: int, length: int, g: torch.Generator) -> Inputs:
    """Return text inputs of random token ids between start and end token; padding, start and end never stand inside.

    Args:
        space: whose tokenizer and token table.
        number: V.
        length: tokens inside a sentence.
        g: CPU generator.

    Raises:
        MissingHook: the text encoder does not read token ids.
    """
    real = space.text.inputs(["a"])
    row = real if isinstance(real, Tensor) else real.get("ids")
    tables = [m.num_embeddings for m in space.module().modules() if isinstance(m, nn.Embedding)]
    if row is None or row.is_floating_point() or not tables:
        raise MissingHook(f"The text encoder of {space.spec.name} does not read token ids: use vocabulary='classes'.")
    ids = row[0].tolist()
    inside = space.text.inputs(["a a"])
    longer = (inside if isinstance(inside, Tensor) else inside["ids"])[0].tolist()
    at = (
        next((i for i, (x, y) in enumerate(zip(ids, longer, strict=False)) if x != y), len(ids)) - 1
    )  # where "a" stands, or starts to repeat
    start, end = ids[:at], ids[at + 1]
    allowed = torch.tensor([i for i in range(max(tables)) if i not in {*start, end, space.spec.pad}])
    words = allowed[torch.randint(len(allowed), (number, length), generator=g)]
    made = torch.cat(
        [torch.tensor([start] * number, dtype=torch.long).reshape(number, -1), words, torch.full((number, 1), end)],
        dim=1,
    )
    if isinstance(real, Tensor):  # encoders that insist on their full context have padded "a" to it
        return nn.functional.pad(made, (0, max(0, len(ids) - made.shape[1])), value=space.spec.pad)
    return {"ids": made, "mask": torch.ones_like(made)}


class _Remembering(TuningTrainee):
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
            space, run, classes, lambda e: contrastive(e, ("image", "text")), learns=learns, smoothing=recipe.smoothing
        )
        self.recipe, self.teacher, self.sentences = recipe, teacher, sentences

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"task", "images", "texts"}, weighted."""
        e = self.embed(batch)
        with torch.no_grad():
            before = normalize(self.teacher.image.encode(batch["image"]), dim=-1)
        scale, now = self.teacher.scale()[0].detach(), normalize(e.vectors["image"], dim=-1)
        u = self.sentences.to(now.device)
        old, new, r = scale * before @ u.T, scale * now @ u.T, self.recipe
        out = dict(self.task(batch, e))
        out["images"] = r.weight * distilled(old, new, r.temperature)
        if r.over_texts:
            out["texts"] = r.weight * distilled(old.T, new.T, r.temperature)
        return out


@dataclass(frozen=True)
class VRLwF(Recipe):
    """Fine-tune while similarities to a replayed vocabulary stay as they were.

    The teacher is the space as it came in; another may stand in the kit under "teacher".

    Args:
        vocabulary: "random" sentences of token ids, or "classes": the prompts of the task, which is LwF for CLIP.
        size: V, random sentences; 1000.
        length: tokens a sentence; 10.
        temperature: T; 2.0.
        weight: of both distillation terms; 1.0.
        over_texts: also distil over the images of the batch for each sentence.
        smoothing: of the labels; 0.2.

    Raises:
        UsageError: no sentences, no tokens, or a temperature that is not positive.

    Source: Ding et al. 2022, in the form of Zheng et al. 2023 (ZSCL, "LwF-VR"), which gives the numbers that the
        abstract does not.

    Example:
        >>> VRLwF(vocabulary="classes").temperature
        2.0
    """

    vocabulary: Literal["random", "classes"] = "random"
    size: int = 1000
    length: int = 10
    temperature: float = 2.0
    weight: float = 1.0
    over_texts: bool = True
    smoothing: float = 0.2

    card: ClassVar[Card] = Card(
        slug="vr-lwf",
        name="VR-LwF",
        title="Don't Stop Learning: Towards Continual Learning for the CLIP Model",
        url="https://arxiv.org/abs/2207.09248",
        year=2022,
        verb="finetune",
        claim="Holding the similarities of images to random sentences while a CLIP learns new classes keeps its "
        "zero-shot ability.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)),
        trains="both towers, or the parts that the user names; not the scale",
        differs=(
            "The paper's vocabulary, temperature and weights could not be read: the values are those of ZSCL's "
            "re-implementation.",
            "Uniform token ids can hit the end token, at which CLIP pools: start, end and padding are left out.",
            "Distillation is written as KL instead of cross-entropy: same gradient, and it ends at 0.",
            "ZSCL distils on a second loader over the same images; here on the batch itself.",
        ),
        proof=ProofPlan(
            claim="After the heads of lite have learnt a task, photos of other classes are classified above plain "
            "fine-tuning.",
            control="A vocabulary of one sentence without the text term binds nothing; a teacher with random heads "
            "does not help either.",
            datasets=("clothing_small",),
            minutes=5,
        ),
        variants={"": {}, "lwf": {"vocabulary": "classes"}},
    )

    def __post_init__(self) -> None:
        check(self, at_least(1), "size", "length")
        check(self, above(0), "temperature")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingEvidence: the vocabulary is that of the classes, and there are none.
            MissingHook: the text encoder does not read token ids.
        """
        space = kit.need(Backbone)
        teacher = kit.need(Backbone, "teacher") if "teacher" in kit.parts else space
        yield _Remembering(self, space, teacher, self._sentences(teacher, classes, run), run, classes, learns)

    def _sentences(self, teacher: Backbone, classes: ClassNames | None, run: Run) -> Tensor:
        """Return (V, D) unit vectors of the vocabulary by the teacher."""
        whole = teacher.whole if isinstance(teacher, Headed) else teacher
        if self.vocabulary == "random":
            inputs = random_sentences(whole, self.size, self.length, run.generator("vocabulary"))
        elif classes is None:
            raise MissingEvidence(
                "The vocabulary of the classes needs class names: give labelled photos, or vocabulary='random'."
            )
        else:
            inputs = whole.text.inputs([p for own in classes.prompts() for p in own])
        with torch.no_grad():
            return normalize(torch.cat([whole.text.encode(part) for part in _parts(inputs)]), dim=-1)


def _parts(x: Inputs) -> Iterator[Inputs]:
    if isinstance(x, Tensor):
        yield from torch.split(x, _AT_ONCE)
    else:
        for i in range(0, len(next(iter(x.values()))), _AT_ONCE):
            yield {n: t[i : i + _AT_ONCE] for n, t in x.items()}
