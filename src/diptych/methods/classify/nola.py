"""NoLA tunes CLIP on unlabelled images, with labels that a second encoder learns from the surest zero-shot guesses.

    t_c     = normalise( mean over its texts of normalise(text(.)) )
    p(x)    = softmax(s z t + b);   S_c = the k images of argmax c with the highest p_c,  k = max(16, floor(N / 5K))
    DL(x)   = W2 relu(W1 g(x))                             trained by cross-entropy on the S_c
    student = W f(x; v, norms)                             W starts as t
    loss    = cross-entropy( student(strong view), argmax DL(weak view) ), smoothed by 0.1

Sizes: N images, K classes, D dimensions of the embeddings, C of the second encoder's and of the tower's tokens
t: (K, D) class embeddings; the texts of a class are the filled templates and one sentence for each description
z: (D,) unit embedding of image x
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
p(x): (K,) class probabilities;  S_c: the images whose zero-shot guess c is surest, with c as their label
g(x): (C,) features of a frozen second encoder, such as DINO
W1, W2: (256, C) and (K, 256), the labelling head DL
f: the image tower with its own norms and P learnt prompts v: (P, C); f is not normalised, and there is no scale
W: (K, D) head of the student
weak view: the plain image;  strong view: a random crop with changed colours
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Column,
    Encoder,
    Evidence,
    FittedClassifier,
    Kit,
    MissingEvidence,
    MissingHook,
    ParamGroup,
    Run,
    Samples,
    Scores,
    Table,
)
from diptych.core.ranges import above, at_least, check
from diptych.data.strong_views import STRONG_VIEWS
from diptych.data.words.pools import class_texts
from diptych.data.words.sentences import sentence
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.features.released_tensors import check_released, frozen_apart, named_classes
from diptych.features.strict_weights import check_names
from diptych.features.vectors import Vectors
from diptych.features.visual import Unprojected
from diptych.nn.candidates import sure_images
from diptych.nn.drawn_view import labelled_views
from diptych.nn.tuned_image import NoLAStudent, TunedEncoder, TunedImage
from diptych.train.parameters import copies, train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

LEAST = 16
"""Images of a class whose own guess becomes their label, at least."""
SHARE = 0.2
"""The same, as a share of N / K, the images of a class if all classes had equally many."""
HIDDEN = 256
"""Width of the labelling head."""
LABEL_EPOCHS = 50
"""Passes of the labelling head over the sure images."""
LABEL_BATCH = 32
"""Images a step of the labelling head."""
LABEL_RATE = 1e-3
"""Learning rate of the labelling head."""


def labeller(g: Tensor, rows: Tensor, y: Tensor, classes: int, rate: float, run: Run) -> Tensor:
    """Train the labelling head on features of the second encoder, and return its (N,) labels of all images.

    Args:
        g: (N, C) features.
        rows: (n,) positions of the images to learn from.
        y: (n,) their classes.
        classes: K.
        rate: learning rate of Adam.
        run: seed.
    """
    with run.seeded("nola/labeller"), torch.enable_grad():
        net = nn.Sequential(nn.Linear(g.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
        nn.init.zeros_(net[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(net[2].bias)  # type: ignore[arg-type]
        optimiser = torch.optim.Adam(net.parameters(), lr=rate)
        generator = run.generator("nola/order")
        # Not the one loop, which drops the last part of a batch: a few sure images must all be learnt from.
        for _ in range(LABEL_EPOCHS):
            for part in torch.split(torch.randperm(len(rows), generator=generator), LABEL_BATCH):
                optimiser.zero_grad()
                cross_entropy(net(g[rows[part]]), y[part]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    with torch.no_grad():
        labels: Tensor = net(g).argmax(dim=1)
    return labels


def parameter_groups(names: Sequence[str]) -> list[ParamGroup]:
    """Return the groups of a student's parameters; the norms of the tower do not decay."""
    rest = tuple(name for name in names if name in ("head", "tuned.prompts"))
    norms = tuple(name for name in names if name not in rest)
    return [ParamGroup(rest), *([ParamGroup(norms, decay=0.0)] if norms else [])]


@dataclass(frozen=True)
class NoLA(Classifier):
    """Adapt to unlabelled images, without reading any label.

    The second encoder is a part "teacher" of the kit (an image ``Encoder``, such as DINO). Without it, the backbone's
    own features before the projection serve. The last epoch counts, since there are no labels to stop the training by.

    Args:
        prompts: P, tokens that the image tower learns, >= 0 (default 16, the authors').
        norms: whether the LayerNorms of the image tower learn. With no prompts and no norms only the head learns, on
            any backbone.
        epochs: passes over the images, >= 0 (default 50, the authors'); 0 is the described zero-shot classifier.
        rate: learning rate of AdamW, constant, > 0 (default 4e-3, the authors').
        batch: images per step, >= 1 (default 512, the authors'); fewer images are one batch.
        views: strong views per image, >= 1, of which each step draws one.

    Raises:
        UsageError: a number is out of its range.

    Source: arXiv 2411.19346: class description embeddings, DINO-based labelling, DINO-assisted prompt learning; sizes
        as in its code.

    Example:
        >>> import torch
        >>> from diptych.core import Run
        >>> from diptych.methods.classify.nola import labeller
        >>> from diptych.nn.candidates import sure_images
        >>> p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> rows, y = sure_images(p, k=1)  # the surest image of each class
        >>> rows, y
        (tensor([0, 2]), tensor([0, 1]))
        >>> g = torch.tensor([[1.0, 0.0], [0.1, 0.9], [0.0, 1.0]])  # features of a second encoder
        >>> labeller(g, rows, y, classes=2, rate=0.01, run=Run())  # image 1 resembles image 2 there
        tensor([0, 1, 1])
    """

    prompts: int = 16
    norms: bool = True
    epochs: int = 50
    rate: float = 4e-3
    batch: int = 512
    views: int = 10

    def __post_init__(self) -> None:
        check(self, at_least(0), "prompts", "epochs")
        check(self, at_least(1), "batch", "views")
        check(self, above(0), "rate")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedNoLA:
        """Label the images, and train the student on the labels; only the unlabelled images and the texts are read.

        Raises:
            MissingHook: the tower should learn, and the backbone has none that can be cut and rebuilt.
            MissingEvidence: unlabelled images are missing, or texts lack a class.
        """
        backbone = kit.need(Backbone)
        if evidence.unlabelled is None or len(evidence.unlabelled) == 0:
            raise MissingEvidence(
                "NoLA learns from images without labels, and {unlabelled} is missing or empty: give some."
            )
        images = evidence.unlabelled
        tuned = None
        if self.prompts or self.norms:
            with run.seeded("nola/prompts"):
                tuned = TunedImage(backbone, self.prompts)
        head = text_head(backbone, class_prompts(classes, evidence), run)
        student = NoLAStudent(head, tuned)
        names = ("head", *(["tuned.prompts"] if self.prompts else []))
        if tuned is not None and self.norms:
            names += tuple(f"tuned.{name}" for name in tuned.norms())
        if self.epochs:
            labels = self._labels(kit, backbone, images, head, run)
            strong = replace(STRONG_VIEWS, draws=self.views)
            items = images if tuned else Vectors(embed(backbone.image, images, run, views=strong), images)
            data: Table[Any] = Table(items, {"label": Column("label", labels.numpy())})
            settings = Fit(
                self.rate, min(self.batch, len(images)), self.epochs, schedule=Schedule("constant"), betas=(0.9, 0.999),
                eps=1e-8, decay=0.01,
            )  # fmt: skip

            def loss(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
                return {"teacher": cross_entropy(student(batch["x"]), batch["y"], label_smoothing=0.1)}

            trainee = Step(student, labelled_views(strong, backbone.image), loss, parameter_groups(names))
            train_parameters(trainee, data, settings, run, ())
        learnt = copies(student, names)
        head = learnt.pop("head")
        of_tower = {n.removeprefix("tuned."): t for n, t in learnt.items()}
        parts = ("prompts",) * ("prompts" in of_tower) + ("norms",) * (len(of_tower) > ("prompts" in of_tower))
        return FittedNoLA(classes, backbone, head, of_tower, parts)

    def from_released(self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run) -> FittedNoLA:
        """Return the head, the prompts and the norms of a released file; how many prompts there are, the file says."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        apart = frozen_apart(learnt, backbone, "The released file")
        with torch.random.fork_rng(devices=[]):
            tuned = TunedImage(backbone, len(apart["prompts"]) if "prompts" in apart else self.prompts)
        inside = tuned.state_dict()
        wanted = {name: inside[name] for name in ("prompts", *tuned.norms())}
        wanted["head"] = torch.zeros(len(classes), backbone.image.dim)
        values = check_released(apart, wanted, f"NoLA of {len(classes)} classes on {backbone.spec.name}")
        return FittedNoLA(classes, backbone, values.pop("head"), values)

    def _labels(self, kit: Kit, backbone: Backbone, images: Samples[Any], head: Tensor, run: Run) -> Tensor:
        """Return the (N,) labels that the head on the second encoder gives."""
        z = normalize(embed(backbone.image, images, run), dim=-1)
        p = logits(backbone, z, head).softmax(dim=1)
        rows, y = sure_images(p, max(LEAST, int(SHARE * len(images) / len(head))))
        g = embed(second_encoder(kit, backbone), images, run)
        return labeller(g, rows, y, len(head), LABEL_RATE, run)


def class_prompts(classes: ClassNames, evidence: Evidence[Any]) -> list[list[str]]:
    """Return the sentences of each class: the filled templates, then one for each description."""
    lists = class_texts(evidence, classes) if evidence.texts is not None else ((),) * len(classes)
    described = [
        [sentence(name, d, "a photo of a ", ".") for d in texts] for name, texts in zip(classes, lists, strict=True)
    ]
    return [prompts + sentences for prompts, sentences in zip(classes.prompts(), described, strict=True)]


def second_encoder(kit: Kit, backbone: Backbone) -> Encoder[Any]:
    """Return the encoder whose features label the images.

    It is the kit's teacher, else the backbone's image encoder before its projection, else that encoder as it is.
    """
    if "teacher" in kit.parts:
        return kit.need(Encoder, "teacher")
    try:
        return Unprojected.of(backbone)
    except MissingHook:
        return backbone.image


@dataclass(frozen=True)
class FittedNoLA(FittedClassifier):
    """A head, and what the image tower learnt.

    Args:
        head: (K, D), W.
        learnt: name -> value of prompts and norms. Empty: the tower is the backbone's own.
        parts: which of "prompts" and "norms" learnt; None: an earlier version did not say.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    learnt: Mapping[str, Tensor]
    parts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.parts is not None:
            check_names({name if name == "prompts" else "norms" for name in self.learnt}, self.parts)

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits of the embeddings, which are not normalised."""
        if not self.learnt:
            return Scores(embed(self.backbone.image, items, run) @ self.head.T, "logit")
        encoder = TunedEncoder.of(self.backbone, self.learnt, run.device)
        # A tower of its own is used once: its vectors are not kept among those of the backbone.
        return Scores(embed(encoder, items, replace(run, cache=None, shared_cache=None)) @ self.head.T, "logit")
