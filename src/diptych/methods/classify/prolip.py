"""ProLIP trains the last projection of the image encoder and nothing else, held near the pretrained one.

    logits = s normalise(h W + c) t^T + b
    minimise over W   mean over i of -log softmax(logits(h_i))[y_i]  +  penalty / N |W - W_0|^2

Sizes: n views of shots (labelled train images), K classes, C width of the tower, D dimensions of the embeddings
h: (n, C) pooled vectors of the views before the projection;  y: (n,) their class positions
W: (C, D) projection, which starts at the pretrained W_0;  c: (D,) its bias, which is kept
t: (K, D) unit class embeddings;  s, b: scale and bias of the backbone's logits
|.|: Frobenius norm;  N: shots of a class

The regularised linear adapter (RLA) is the same behind the projection, for encoders that give their embeddings alone:
h are the embeddings, W_0 = I and c = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Encoder,
    Evidence,
    FittedClassifier,
    Kit,
    MissingHook,
    Run,
    Samples,
    Scores,
)
from diptych.core.ranges import above, at_least, check, one_of
from diptych.data.evidence import shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.frozen import Trunk, head_of
from diptych.features.heads import logits, text_head
from diptych.nn.descent import Adam, along_cosine, cosine_slope, unit, unit_slope

EPSILON = 1e-4
"""Term of Adam's denominator, the authors'."""


def linear_projection(backbone: Backbone) -> tuple[Trunk, Tensor, Tensor] | None:
    """Return the image encoder before its projection, W_0 (C, D) and c (D,); None where no linear map comes last."""
    try:
        trunk, project = Trunk.of(backbone, "image"), head_of(backbone, "image")
    except MissingHook:
        return None
    with torch.no_grad():
        shift = project(torch.zeros(1, trunk.dim)).float().cpu()[0]
        weight = project(torch.eye(trunk.dim)).float().cpu() - shift
        h = torch.randn(4, trunk.dim, generator=torch.Generator().manual_seed(0))
        expected, given = h @ weight + shift, project(h).float().cpu()
    return (
        (trunk, weight, shift) if torch.allclose(expected, given, rtol=1e-3, atol=1e-4 * float(given.std())) else None
    )


@dataclass(frozen=True)
class ProLIP(Classifier):
    """Train the image encoder's projection on a few labels, held near where it was; it needs no validation set.

    Use it where a backbone has a linear projection, as CLIP's have: it changes the embedding, and not the classes.

    Args:
        place: "projection" trains that of the image encoder, "embedding" a square matrix behind it (RLA); "auto" is the
            projection where the backbone has a linear one (default).
        penalty: of the distance from the start, for one shot of a class, >= 0 (default 1, the paper's without val).
        rate: of Adam, > 0, along a cosine to 0 (default 1e-3, one of the four that the authors try
            without val).
        epochs: steps, each on all shots, >= 0 (default 300, the authors').
        views: augmented views of each shot, >= 1, one of which an epoch sees (default 20; the authors take 300).

    Raises:
        UsageError: a parameter is below its least value, or the place is unknown.

    Source: Fahes et al. 2024 (objective); penalty, RLA, Adam, schedule and views are from its code.

    Example:
        >>> ProLIP(place="embedding", epochs=50).penalty
        1.0
        >>> ProLIP(rate=0.0)
        Traceback (most recent call last):
        diptych.core.errors.UsageError: rate must be above 0, got 0.0: give another, or leave it out for 0.001.
    """

    place: Literal["auto", "projection", "embedding"] = "auto"
    penalty: float = 1.0
    rate: float = 1e-3
    epochs: int = 300
    views: int = 20

    def __post_init__(self) -> None:
        check(self, one_of("auto", "projection", "embedding"), "place")
        check(self, at_least(0), "penalty", "epochs")
        check(self, at_least(1), "views")
        check(self, above(0), "rate")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedProLIP:
        """Train the matrix on views of train.

        Raises:
            MissingEvidence: train is missing.
            MissingHook: the projection is asked for, and the backbone has no linear one.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        projection = None if self.place == "embedding" else linear_projection(backbone)
        if projection is None and self.place == "projection":
            raise MissingHook(
                f"{backbone.spec.name} has no linear projection of images: use an open_clip or transformers backbone, "
                f"or leave {{place}} at auto."
            )
        encoder: Encoder[Any] = backbone.image if projection is None else projection[0]
        start = torch.eye(encoder.dim) if projection is None else projection[1]
        shift = torch.zeros(encoder.dim) if projection is None else projection[2]
        head = text_head(backbone, classes.prompts(), run)
        h = embed(encoder, train.items, run, views=replace(TIP_VIEWS, draws=self.views))
        y = torch.tensor(labels)
        settings = projection is not None, self.penalty, self.rate, self.epochs, self.views
        w = run.once(f"prolip {settings}", lambda: self._trained(backbone, h, y, head, start, shift, run))
        return FittedProLIP(classes, backbone, head, w, shift, projection is not None)

    def _trained(
        self, backbone: Backbone, h: Tensor, y: Tensor, head: Tensor, start: Tensor, shift: Tensor, run: Run
    ) -> Tensor:
        """Return W after training on the (N, views, C) vectors of the shots."""
        w, weight = start.clone(), self.penalty * len(head) / len(y)
        descent = Adam(w, EPSILON)
        with run.track("train the projection", self.epochs) as bar:
            for epoch in range(self.epochs):
                x = h[:, epoch % self.views]
                z, lengths = unit(torch.addmm(shift, x, w))
                slope = unit_slope(cosine_slope(backbone, z, head, y) @ head, z, lengths)
                descent.step(
                    torch.addmm(w - start, x.T, slope, beta=2 * weight), along_cosine(self.rate, epoch, self.epochs)
                )
                bar.advance()
        return w


@dataclass(frozen=True)
class FittedProLIP(FittedClassifier):
    """A text head, and the trained matrix.

    Args:
        head: (K, D) unit class embeddings, t.
        matrix: (C, D) W.
        shift: (D,) c.
        projects: whether the matrix takes the place of the projection; else it stands behind it.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    matrix: Tensor
    shift: Tensor
    projects: bool

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits."""
        encoder: Encoder[Any] = Trunk.of(self.backbone, "image") if self.projects else self.backbone.image
        z = normalize(embed(encoder, items, run) @ self.matrix + self.shift, dim=-1)
        return Scores(logits(self.backbone, z, self.head), "logit")
