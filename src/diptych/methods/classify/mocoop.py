"""MoCoOp learns one soft prompt for each group of templates, and a router that picks two of them for each image.

    h_gc   = normalise( mean over templates of group g of normalise(text(template(c))) )
    t_gc   = normalise( text([v_g] c .) + w )
    r      = W_r z + b_r;   pi = softmax of the two largest r, 0 for the others
    tau_c  = sum over g of pi_g t_gc                      not normalised again
    logits = s z . tau_c + b
    loss   = CE(logits, y) + 5 CE over e of t_gc . h_ge (the right e is c) + CE(r, softmax(u))

Sizes: G groups, K classes, M_g context vectors, C dimensions of the token embeddings, D of the final ones
g: group of templates;  c, e: classes
h_gc: (D,) frozen prototype of class c in group g
v_g: (M_g, C) context vectors, which start as the words of the group's first template
w: (D,) learnt shift, which starts at 0
t_gc: (D,) soft prompt of class c in group g
z: (D,) unit image embedding;  y: its class
W_r, b_r: (G, D) and (G,), the router;  pi: (G,) weights of the groups
tau_c: (D,) class vector for this image
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
u: (G,) target of the router, u_g = z . h_gy, with 10 added to its two largest values
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

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
    ParamGroup,
    Reason,
    Run,
    Samples,
    Scores,
    Table,
)
from diptych.core.ranges import above, at_least, check
from diptych.data.evidence import shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import text_head
from diptych.features.strict_weights import check_names
from diptych.features.vectors import Vectors
from diptych.nn.drawn_view import labelled_views
from diptych.nn.prompts.mixture import (
    Mixture,
    gate,
    gate_target,
    mixed_logits,
    soft_prompt_starts,
    soft_vectors,
    text_loss,
)
from diptych.nn.prompts.soft import Slots, frozen, slots, word_vectors
from diptych.nn.tuned_image import TunedEncoder, TunedImage
from diptych.train.parameters import copies, train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

GROUPS = (
    ("a photo of a {}.",),
    ("a photo of many {}.",),
    (
        "a low resolution photo of a {}.", "a pixelated photo of a {}.", "a blurry photo of a {}.",
        "a bad photo of a {}.",
    ),
    ("a good photo of a {}.", "a bright photo of a {}."),
)  # fmt: skip
"""Groups of similar templates; the first of each starts a soft prompt.

The sizes follow the authors' [1, 1, 4, 2] for SUN397.
"""


@dataclass(frozen=True)
class MoCoOp(Classifier):
    """Learn a soft prompt for each group of templates, and route each image to two of them.

    Args:
        groups: groups of similar templates. The first template of a group starts its soft prompt, and must have the
            name at its end.
        norms: whether the LayerNorms in the blocks of the image tower learn, at a tenth of the rate. Without them, any
            image encoder will do.
        text: weight of the text loss, >= 0 (default 5, the authors').
        gating: weight of the router's loss, >= 0 (default 1, the authors').
        epochs: passes over the shots, >= 0 (default 50, the authors').
        rate: learning rate of SGD with momentum 0.9, > 0 (default 0.032, the authors').
        batch: shots per step, >= 1; fewer shots than that are one batch.

    Raises:
        UsageError: a number is out of its range, or a group starts no soft prompt.

    Source: arXiv 2409.12011: router, hard prompt guided gating, semantically grouped text supervision; numbers as in
        its code.

    Example:
        >>> import torch
        >>> from diptych.nn.prompts.mixture import gate, gate_target
        >>> gate(torch.tensor([[1.0, 1.0, -2.0]]))  # the router sends an image to two of three groups
        tensor([[0.5000, 0.5000, 0.0000]])
        >>> prototypes = torch.eye(3)[:, None]  # three groups, one class
        >>> gate_target(torch.tensor([[0.9, 0.4, 0.1]]), prototypes, torch.tensor([0])).round(decimals=2)
        tensor([[0.6200, 0.3800, 0.0000]])
    """

    groups: tuple[tuple[str, ...], ...] = GROUPS
    norms: bool = True
    text: float = 5.0
    gating: float = 1.0
    epochs: int = 50
    rate: float = 0.032
    batch: int = 32

    def __post_init__(self) -> None:
        check(self, at_least(0), "text", "gating", "epochs")
        check(self, at_least(1), "batch")
        check(self, above(0), "rate")
        soft_prompt_starts(self.groups)

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedMoCoOp:
        """Train on views of train; the last epoch counts.

        Names of ``evidence.other_classes`` join the text loss.

        Raises:
            MissingHook: the backbone has no text tower, or norms should learn and it has no image tower that can be
                rebuilt.
            MissingEvidence: train is missing.
            UsageError: a class name and a context do not fit into the text tower.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        backbone.tower("text")
        table, labels = shots(evidence, classes)
        starts = [word_vectors(backbone, words) for words in soft_prompt_starts(self.groups)]
        virtual = tuple(name for name in evidence.other_classes or () if name not in classes.names)
        names = (*classes.names, *virtual)
        hard = torch.stack(
            [text_head(backbone, [[t.replace("{}", n) for t in group] for n in names], run) for group in self.groups]
        )
        where = [slots(backbone, names, len(start)) for start in starts]
        with run.seeded("mocoop"):
            mixture = Mixture(starts, backbone.image.dim, TunedImage(backbone) if self.norms else None)
        tuned = tuple(f"tuned.{n}" for n in mixture.tuned.norms(blocks_only=True)) if mixture.tuned is not None else ()
        mixture_names = tuple(n for n, _ in mixture.named_parameters() if not n.startswith("tuned."))
        if self.epochs:
            batch = min(self.batch, len(labels))
            warm = Schedule(warmup=self.epochs * (len(labels) // batch) // 10)
            settings = Fit(
                self.rate, batch, self.epochs, schedule=warm, optimizer="sgd", betas=(0.9, 0.0), decay=5e-4, clip=1.0
            )
            items = (
                table.items
                if self.norms
                else Vectors(embed(backbone.image, table.items, run, views=TIP_VIEWS), table.items)
            )
            data: Table[Any] = Table(items, {"label": Column("label", labels)})
            trainee = Step(
                mixture,
                labelled_views(TIP_VIEWS, backbone.image),
                partial(self._losses, backbone, where, hard, mixture, len(classes)),
                [ParamGroup(mixture_names), *([ParamGroup(tuned, lr=0.1)] if tuned else [])],
            )
            with frozen(backbone.module()):
                train_parameters(trainee, data, settings, run, ())
        return FittedMoCoOp(
            classes,
            backbone,
            copies(mixture, mixture_names),
            {n.removeprefix("tuned."): t for n, t in copies(mixture, tuned).items()},
            tuple(g[0] for g in self.groups),
        )

    def _losses(
        self,
        backbone: Backbone,
        where: Sequence[Slots],
        hard: Tensor,
        mixture: Mixture,
        classes: int,
        batch: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return the losses of classes, texts and router.

        Args:
            backbone: with a text tower.
            where: G sets of prompts of the K classes and V other names.
            hard: (G, K + V, D) prototypes, the classes first.
            mixture: what learns.
            classes: K.
            batch: "x", embeddings or pixels, and "y", (B,) class positions.
        """
        y = batch["y"]
        z = normalize(batch["x"] if mixture.tuned is None else mixture.tuned(batch["x"]), dim=-1)
        soft = soft_vectors(backbone, where, list(mixture.contexts), mixture.shift)
        r = mixture.router(z)
        hard = hard.to(z)
        return {
            "classes": cross_entropy(mixed_logits(backbone, z, soft[:, :classes], gate(r)), y),
            "text": self.text * text_loss(soft, hard),
            "gate": self.gating * cross_entropy(r, gate_target(z, hard, y)),
        }


@dataclass(frozen=True)
class FittedMoCoOp(FittedClassifier):
    """Soft prompts, a router, and the norms of the image tower.

    Args:
        backbone: embeds images and prompts.
        mixture: "contexts.0" .. (M_g, C), "shift" (D,), "router.weight" (G, D), "router.bias" (G,).
        norms: name -> value of the norms of the image tower that learnt. Empty: the tower is the backbone's own.
        starts: first template of each group.
    """

    classes: ClassNames
    backbone: Backbone
    mixture: Mapping[str, Tensor]
    norms: Mapping[str, Tensor]
    starts: tuple[str, ...]

    def __post_init__(self) -> None:
        contexts = [f"contexts.{g}" for g in range(len(self.starts))]
        check_names(self.mixture, [*contexts, "shift", "router.weight", "router.bias"])

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits; the G * K prompts are embedded once."""
        z, soft = self._embedded(items, run)
        return Scores(mixed_logits(self.backbone, z, soft, self.routed(z)), "logit")

    def for_classes(self, classes: ClassNames) -> FittedMoCoOp:
        """Return the classifier of other classes, whose names take the place of the old ones in the soft prompts."""
        return replace(self, classes=classes)

    def routed(self, z: Tensor) -> Tensor:
        """Return the (N, G) weights of the groups for (N, D) unit embeddings."""
        return gate(z @ self.mixture["router.weight"].T + self.mixture["router.bias"])

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the two groups of templates that each item was routed to.

        Their weights are what they add to the logit of the top class, without bias; the larger comes first.
        """
        z, soft = self._embedded(items, run)
        pi = self.routed(z)
        best = mixed_logits(self.backbone, z, soft, pi).argmax(dim=1)
        scale = float(self.backbone.scale("image", "text")[0].detach())
        shares = scale * pi * torch.einsum("gnd,nd->ng", soft[:, best], z)
        return [
            [
                Reason(self.starts[g], float(share[g]))
                for g in sorted(row.nonzero()[:, 0].tolist(), key=lambda g: -float(share[g]))
            ]
            for row, share in zip(pi, shares, strict=True)
        ]

    def _embedded(self, items: Samples[Any], run: Run) -> tuple[Tensor, Tensor]:
        """Return (N, D) unit embeddings and the (G, K, D) class vectors of the groups, on the CPU."""
        if self.norms:
            encoder = TunedEncoder.of(self.backbone, self.norms, run.device, blocks_only=True)
            z = embed(encoder, items, replace(run, cache=None, shared_cache=None))
        else:
            z = embed(self.backbone.image, items, run)
        contexts = [self.mixture[f"contexts.{g}"] for g in range(len(self.starts))]
        where = [slots(self.backbone, self.classes.names, len(c)) for c in contexts]
        device = where[0].embeds.device
        with torch.no_grad():
            soft = soft_vectors(
                self.backbone, where, [c.to(device) for c in contexts], self.mixture["shift"].to(device)
            )
        return normalize(z, dim=-1), soft.cpu()
