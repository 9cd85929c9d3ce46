"""CoOp learns the words round the class names as free vectors, from few images; CoCoOp shifts them by the image.

    t_k    = normalise(text([v1] ... [vM] name_k .))
    logits = s z t_k + b                                    minimise cross-entropy over v
    CoCoOp:  v_m(z) = v_m + h(z),   h = Linear(D, D/16) - ReLU - Linear(D/16, C)

Sizes: N images, M context vectors, C dimensions of the token embeddings, D of the image and text embeddings
v: (M, C) context vectors, in the space of the token embeddings
t_k: (D,) unit embedding of class k;  text: the frozen text tower
z: (N, D) unit embeddings of the images
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
h: CoCoOp's network, by which t_k depends on the image
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Column,
    Evidence,
    FittedClassifier,
    Kit,
    MissingHook,
    Run,
    Samples,
    Scores,
    Table,
    UsageError,
)
from diptych.core.ranges import at_least, check, one_of
from diptych.data.evidence import shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.released_tensors import check_released, named_classes
from diptych.features.strict_weights import check_names
from diptych.features.vectors import Vectors
from diptych.nn.drawn_view import labelled_views
from diptych.nn.prompts.conditional import CoOpPrompt, prompt_logits
from diptych.nn.prompts.soft import Position, frozen, slots, word_vectors
from diptych.train.parameters import copies, train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step


def epochs_for(shots: int) -> int:
    """Return the authors' number of epochs for so many shots per class: 50 for one, 100 up to four, 200 above."""
    return 50 if shots <= 1 else 100 if shots <= 4 else 200


@dataclass(frozen=True)
class CoOp(Classifier):
    """Learn the context of the class names on the shots, through the frozen text tower.

    Args:
        words: the context starts as the embeddings of these words, such as "a photo of a". "": as Gaussian vectors.
        length: M, number of context vectors, >= 1 (default 16, the paper's). With ``words`` it is their number of
            tokens.
        position: where the class name stands: at the "end", in the "middle" or at the "front" of the context.
        specific: learn a context for each class instead of one for all.
        conditional: CoCoOp: shift the context by the image. Not with ``specific``.
        epochs: passes over the shots, >= 0. None: 50, 100 or 200, by the number of shots (10 for CoCoOp), the authors'.
        rate: learning rate of SGD with momentum 0.9 (default 0.002, the authors').
        decay: weight decay, of the context too.
        batch: shots per step, >= 1; fewer shots than that are one batch.
        views: augmented views of each shot that are stored, >= 1; each step draws one of them.

    Raises:
        UsageError: a number is out of its range, or conditional and specific are both set.

    Source: Zhou et al. 2022a, section 3.2; CoCoOp: Zhou et al. 2022b (arXiv 2203.05557), section 3.2.

    Example:
        >>> import torch
        >>> from diptych.methods.classify.coop import CoOp, CoOpPrompt, epochs_for
        >>> prompt = CoOpPrompt(torch.randn(4, 32), dim=64)  # CoCoOp: four vectors and a network on 64 dimensions
        >>> [(name, tuple(p.shape)) for name, p in prompt.named_parameters()][:2]
        [('context', (4, 32)), ('net.0.weight', (4, 64))]
        >>> epochs_for(shots=4)
        100
        >>> CoOp(specific=True, conditional=True)
        Traceback (most recent call last):
        diptych.core.errors.UsageError: CoCoOp shifts one context for all classes: take either conditional or specific.
    """

    words: str = ""
    length: int = 16
    position: Position = "end"
    specific: bool = False
    conditional: bool = False
    epochs: int | None = None
    rate: float = 0.002
    decay: float = 5e-4
    batch: int = 32
    views: int = 10

    def __post_init__(self) -> None:
        check(self, at_least(1), "length", "batch", "views")
        check(self, at_least(0), "epochs")
        check(self, one_of(*get_args(Position)), "position")
        if self.conditional and self.specific:
            raise UsageError("CoCoOp shifts one context for all classes: take either conditional or specific.")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCoOp:
        """Train the context on views of train; the last epoch counts.

        Raises:
            MissingHook: the backbone has no text tower.
            MissingEvidence: train is missing.
            UsageError: a class name and the context do not fit into the text tower.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        backbone.tower("text")
        table, labels = shots(evidence, classes)
        start = word_vectors(backbone, self.words) if self.words else None
        where = slots(backbone, classes.names, self.length if start is None else len(start), self.position)
        with run.seeded("coop"):
            each = (len(classes),) if self.specific else ()
            context = torch.randn(*each, self.length, where.embeds.shape[2]) * 0.02 if start is None else start
            if self.specific:
                context = context.expand(len(classes), -1, -1)
            prompt = CoOpPrompt(context, backbone.image.dim if self.conditional else None)

        epochs = self.epochs
        if epochs is None:
            epochs = 10 if self.conditional else epochs_for(round(len(labels) / len(classes)))
        if not epochs:
            return FittedCoOp(classes, backbone, copies(prompt), self.position)
        recipe = replace(TIP_VIEWS, draws=self.views)
        views = normalize(embed(backbone.image, table.items, run, views=recipe), dim=-1)
        data = Table(Vectors(views, table.items), {"label": Column("label", labels)})

        def loss(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            predicted = prompt_logits(backbone, where, dict(prompt.named_parameters()), batch["x"])
            return {"classes": cross_entropy(predicted, batch["y"])}

        batch = min(self.batch, len(labels))
        warm = Schedule(warmup=len(labels) // batch)
        settings = Fit(self.rate, batch, epochs, schedule=warm, optimizer="sgd", betas=(0.9, 0.0), decay=self.decay)
        trainee = Step(prompt, labelled_views(recipe, backbone.image), loss)  # the context decays too, as the authors'
        with frozen(backbone.module()):
            learnt = train_parameters(trainee, data, settings, run)
        return FittedCoOp(classes, backbone, learnt, self.position)

    def from_released(self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run) -> FittedCoOp:
        """Return the prompts of a released file; how many words the context has, the file says."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        shape = learnt["context"].shape if "context" in learnt else (self.length,)
        each = (len(classes),) if len(shape) == 3 else ()
        context = torch.zeros(*each, shape[-2] if len(shape) > 1 else self.length, backbone.tower("text").width)
        like = CoOpPrompt(context, backbone.image.dim if self.conditional else None)
        prompt = check_released(learnt, like.state_dict(), f"CoOp on {backbone.spec.name}")
        return FittedCoOp(classes, backbone, prompt, self.position)


@dataclass(frozen=True)
class FittedCoOp(FittedClassifier):
    """A learnt context.

    Args:
        backbone: embeds images and prompts.
        prompt: "context", (M, C) or (K, M, C), and for CoCoOp the weights of its network.
        position: where the class name stands.
    """

    classes: ClassNames
    backbone: Backbone
    prompt: Mapping[str, Tensor]
    position: Position

    def __post_init__(self) -> None:
        net = {f"net.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")}
        check_names(self.prompt, {"context"}, {"context", *net})

    def for_classes(self, classes: ClassNames) -> FittedCoOp:
        """Return the classifier of other classes, whose names take the place of the old ones in the learnt context.

        Raises:
            MissingHook: each class has a context of its own.
        """
        if self.prompt["context"].ndim == 3:
            raise MissingHook("A context for each class knows no other classes: fit CoOp without specific.")
        return replace(self, classes=classes)

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits of the images and the class prompts."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        if not len(z):
            return Scores(z.new_zeros(0, len(self.classes)), "logit")
        where = slots(self.backbone, self.classes.names, self.prompt["context"].shape[-2], self.position)
        device = where.embeds.device
        with torch.no_grad():
            values = prompt_logits(
                self.backbone, where, {n: t.to(device) for n, t in self.prompt.items()}, z.to(device)
            )
        return Scores(values.cpu(), "logit")
