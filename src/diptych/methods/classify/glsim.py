"""GLSim looks at an image twice: whole, and cropped to the patches that are most similar to the summary of the image.

    X        = LN(Enc(x));   g = X_0,  l_i = X_i
    sim_i    = cos(g, l_i);  the o patches of highest sim span a box
    x'       = resize( crop(x, box) )                       no gradient flows through selection and crop
    g'       = pooled LN(Enc(x'))                           with the same weights
    logits   = head( LN(Block([g; g']))_0 )

Sizes: S pixels per side, n patches, C dimensions of the tokens, K classes
x: (3, S, S) normalised pixels of an image;  x': the crop, resized to the same size
Enc: the image tower up to its projection;  LN: layer norm
X: (1 + n, C) tokens
g, g': (C,) pooled summary of the image, and of the crop
l_i: (C,) token of patch i
o: number of patches that span the box
Block: one pre-norm transformer block with C / 64 heads, on two tokens
head: (K, C) linear layer with bias
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Column,
    Evidence,
    FittedClassifier,
    Kit,
    ParamGroup,
    Run,
    Samples,
    Scores,
    Table,
)
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.data.evidence import shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.drawn_view import labelled_views
from diptych.nn.tuned_image import TunedImage, values_hash
from diptych.nn.two_looks import GLSimLogits, GLSimNet, Pick, TwoLooks
from diptych.train.parameters import copies, train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step


@dataclass(frozen=True)
class GLSim(Classifier):
    """Fine-tune a ViT that looks twice: at the image, and at the box of the patches most similar to its summary.

    Args:
        top: o, patches that span the box, >= 1 (default 8, the paper's).
        pick: the "most" similar patches (the paper's), or the "least".
        inclusive: whether the box holds its last row and column of patches; the authors' does not.
        freeze: train aggregator and head only, on looks that are stored for each view.
        epochs: passes over the shots, >= 0 (default 50, the paper's).
        rate: learning rate of SGD with momentum 0.9, > 0; the paper picks among 0.03, 0.01, 0.003 and 0.001 for each
            data set.
        batch: shots per step, >= 1 (default 8, the paper's); fewer shots are one batch.
        smoothing: of the labels, in [0, 1).

    Raises:
        UsageError: a number is out of its range, or pick is unknown.

    Source: arXiv 2407.12891, section 3 (global-local similarity, cropping, aggregator).

    Example:
        >>> import torch
        >>> from diptych.nn.two_looks import boxes, zoomed
        >>> similarity = torch.zeros(1, 16)
        >>> similarity[0, [5, 10]] = 1.0  # patches (1, 1) and (2, 2) of a 4 x 4 grid resemble the summary
        >>> box = boxes(similarity, grid=(4, 4), top=2, inclusive=True)
        >>> box
        tensor([[1, 3, 1, 3]])
        >>> zoomed(torch.rand(1, 3, 32, 32), box, grid=(4, 4)).shape
        torch.Size([1, 3, 32, 32])
    """

    top: int = 8
    pick: Pick = "most"
    inclusive: bool = False
    freeze: bool = False
    epochs: int = 50
    rate: float = 0.01
    batch: int = 8
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check(self, at_least(1), "top", "batch")
        check(self, at_least(0), "epochs")
        check(self, above(0), "rate")
        check(self, between(0, 1, "[)"), "smoothing")
        check(self, one_of(*get_args(Pick)), "pick")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedGLSim:
        """Train on random crops of the shots.

        Raises:
            MissingHook: the backbone has no image tower that can be cut and rebuilt.
            MissingEvidence: train is missing.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        backbone.tower("image")
        table, labels = shots(evidence, classes)
        with run.seeded("glsim"):
            net = self._net(backbone, len(classes))
        names = _learnt(net)
        if self.epochs:
            batch = min(self.batch, len(labels))
            steps = self.epochs * (len(labels) // batch)
            warm = Schedule(warmup=min(500, steps // 10), floor=min(1.0, 1e-5 / self.rate))
            settings = Fit(
                self.rate, batch, self.epochs, schedule=warm, optimizer="sgd", betas=(0.9, 0.0), decay=0.0, clip=1.0
            )
            items = table.items
            if self.freeze:
                items = Vectors(embed(self._looks(backbone), items, run, views=TIP_VIEWS), items)
            data = Table(items, {"label": Column("label", labels)})

            def loss(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
                return {"classes": cross_entropy(net(batch["x"]), batch["y"], label_smoothing=self.smoothing)}

            trainee = Step(net, labelled_views(TIP_VIEWS, backbone.image), loss, [ParamGroup(names)])
            train_parameters(trainee, data, settings, run, ())
        return FittedGLSim(classes, backbone, self, copies(net, names))

    def _net(self, backbone: Backbone, classes: int) -> GLSimNet:
        tuned = None if self.freeze else TunedImage(backbone)
        return GLSimNet(tuned, backbone.tower("image").width, classes, self.top, self.pick, self.inclusive)

    def _looks(self, backbone: Backbone) -> TwoLooks:
        return TwoLooks(backbone, self.top, self.pick, self.inclusive)


def _learnt(net: GLSimNet) -> tuple[str, ...]:
    """Return the names of the parameters that learn: aggregator and head, and what a look at the tower depends on."""
    names = tuple(n for n, _ in net.named_parameters() if not n.startswith("tuned."))
    return names if net.tuned is None else names + net.tuned_weights()


@dataclass(frozen=True)
class FittedGLSim(FittedClassifier):
    """A trained network that looks twice.

    Args:
        backbone: whose tower it started from.
        method: its settings.
        learnt: name -> value of every parameter that was trained.
    """

    classes: ClassNames
    backbone: Backbone
    method: GLSim
    learnt: Mapping[str, Tensor]

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits.

        Raises:
            DataError: what was learnt is not what this network learns.
        """
        with run.seeded("glsim"):
            net = self.method._net(self.backbone, len(self.classes))
        load_tensors(net, self.learnt, _learnt(net))
        if self.method.freeze:
            looks = embed(self.method._looks(self.backbone), items, run)
            with torch.no_grad():
                return Scores(net.eval()(looks) if len(looks) else looks.new_zeros(0, len(self.classes)), "logit")
        digest = values_hash(f"{self.backbone.fingerprint} {self.method!r}", self.learnt)
        encoder = GLSimLogits(net.to(run.device).eval(), self.backbone, len(self.classes), digest)
        return Scores(embed(encoder, items, replace(run, cache=None, shared_cache=None)), "logit")
