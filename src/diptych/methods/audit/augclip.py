"""AugCLIP scores an edited picture by its distance from the ideal edit, which CLIP itself constructs.

    (w, b)   = the plane between the vectors of the target's attributes (+) and of the source's (-)
    x*       = x - min(0, (w x + b - delta) / |w|^2) w      the ideal edit: the source, moved as little as possible
    AugCLIP  = cos(y, x*)

x, y: (D,) unit image embeddings of the source and of the edited picture
w, b: (D,) and a number, a linear support vector machine on unit text embeddings
delta: value of w x* + b that the ideal edit reaches at least: that of the target itself, w t + b
t: (D,) unit mean of the unit embeddings of the target's own attributes, those that the source lacks; where it lacks
    none, of all

Beside it stand the scores that it is compared with: cos(y, t) with the target text t (CLIPScore without its factor),
cos(y - x, mean of target attributes - mean of source attributes) (directional similarity), and cos(x, y).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from diptych.core import (
    Backbone,
    DataError,
    Evidence,
    FittedPairScorer,
    Kit,
    MissingEvidence,
    PairScorer,
    PairScores,
    Run,
    Table,
    Texts,
)
from diptych.core.ranges import above, at_least, check
from diptych.data.draws import random_state_kept
from diptych.data.edits import SOURCE, SOURCE_ATTRIBUTES, TARGET, TARGET_ATTRIBUTES, attributes
from diptych.features.embed import embed

Floats = NDArray[np.float64]


def plane(source: Floats, target: Floats, c: float = 1.0) -> tuple[Floats, float]:
    """Return w (D,) and b of the plane between two sets of vectors, positive on the target's side.

    A linear support vector machine with squared hinge loss and both sides weighted alike, minimised to 1e-8. Its
    intercept is penalised like a further coordinate of size 1.

    Args:
        source: (M, D), M >= 1.
        target: (N, D), N >= 1.
        c: C, inverse of the penalty, > 0.
    """
    with random_state_kept():
        from sklearn.svm import LinearSVC

    x = np.concatenate([source, target])
    y = np.repeat([0, 1], [len(source), len(target)])
    svm = LinearSVC(C=c, class_weight="balanced", dual=False, tol=1e-8, max_iter=10_000, random_state=0).fit(x, y)
    return np.asarray(svm.coef_[0], dtype=np.float64), float(svm.intercept_[0])


def ideal(x: Tensor, w: Tensor, b: Tensor, delta: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the ideal edits (N, D) and the values w x + b of the sources (N,).

    A source whose value is delta or more stays as it is.

    Args:
        x: (N, D) sources.
        w: (N, D), not 0.
        b: (N,).
        delta: (N,), or one number for all.

    Example:
        >>> x, w = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 2.0], [0.0, 2.0]])
        >>> moved, value = ideal(x, w, torch.tensor([-1.0, -1.0]))
        >>> moved.tolist(), value.tolist()
        ([[1.0, 0.5], [0.0, 1.0]], [-1.0, 1.0])
    """
    value = (x * w).sum(-1) + b
    step = (value - delta).clamp(max=0) / w.square().sum(-1).clamp(min=1e-12)
    return x - step[:, None] * w, value


@dataclass(frozen=True)
class AugCLIP(PairScorer):
    """Score edits of pictures by the cosine to the ideal edit.

    Use it to compare edits of one source: it wants what the target text asks for, and what was there before.

    Args:
        c: C of the support vector machine, > 0; 1 (ours).
        margin: delta, >= 0; None (ours): the value of the target itself. 0 (the paper's): the ideal edit stays on the
            plane, so near to the source that no edit at all scores highest (see the card). Any delta below the target's
            own value lets an edit half-way score above the right one, and is warned of.
        centred: subtract the mean image vector from images and the mean text vector from texts first, so that the
            distance between images and texts does not enter w x + b; the evidence then gives unlabelled images and
            texts. False (the paper's).

    Raises:
        UsageError: a number is out of its range.

    Source: Kim et al. 2025; the kind of separator and its C are not stated there.

    Example:
        >>> w, b = plane(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
        >>> print(np.round(w / np.abs(w).max(), 3), abs(b) < 1e-6)
        [-1.  1.] True
    """

    c: float = 1.0
    margin: float | None = None
    centred: bool = False

    reads: ClassVar = "edits"

    def __post_init__(self) -> None:
        check(self, above(0), "c")
        if self.margin is not None:
            check(self, at_least(0), "margin")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedAugCLIP:
        """Return the scorer for the kit's backbone; nothing is trained yet.

        Args:
            kit: a backbone.
            evidence: read only where ``centred``: unlabelled images and texts, whose means are subtracted.
            run: device and cache.

        Raises:
            MissingPart: the kit has no backbone.
            MissingEvidence: images or texts are missing for ``centred``.
        """
        backbone = kit.need(Backbone)
        nothing = torch.zeros(1)
        if not self.centred:
            return FittedAugCLIP(backbone, nothing, nothing, self.c, self.margin)
        images = evidence.unlabelled
        texts = [t.value for group in (evidence.texts.texts.values() if evidence.texts else ()) for t in group]
        if images is None or not len(images) or not texts:
            raise MissingEvidence("AugCLIP centres by unlabelled images and texts: give both, or centred=False.")
        middles = (embed(backbone.image, images, run), embed(backbone.text, Texts(tuple(texts)), run))
        image, text = (normalize(v, dim=-1).mean(0) for v in middles)
        return FittedAugCLIP(backbone, image, text, self.c, self.margin)


@dataclass(frozen=True)
class FittedAugCLIP(FittedPairScorer):
    """Scores edits with one backbone.

    Args:
        backbone: embeds pictures and texts.
        image_mean, text_mean: (D,) vectors that are subtracted, or (1,) zeros.
        c, margin: the settings of the method.
    """

    backbone: Backbone
    image_mean: Tensor
    text_mean: Tensor
    c: float
    margin: float | None

    def score(self, pairs: Table[Any], run: Run) -> PairScores:
        """Return AugCLIP of N edits, (N,), in [-1, 1].

        The columns are "cosine" (edited picture and target text), "direction", "source_similarity", "value_of_source"
        (w x + b; 0 and above: the source is on the target's side) and "value_of_target" (w t + b).

        A warning says where no score can tell a right edit: a source that has delta already, or a ``margin`` below the
        target's own value.

        Args:
            pairs: a table of edits, see ``diptych.data.edits``; edits of one source and target share a plane.
            run: device and cache.

        Raises:
            UnreadableItem: a picture cannot be read.
            DataError: a column is missing, or the attributes of source and target are the same.
        """
        sources, targets = (attributes(pairs, column) for column in (SOURCE_ATTRIBUTES, TARGET_ATTRIBUTES))
        wanted = [texts[0] for texts in attributes(pairs, TARGET)]
        for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if set(source) == set(target):
                raise DataError(
                    f"Edit {i + 1} ({pairs.items.name(i)}) has the same attributes before and after: name what changes."
                )
        if not len(pairs):
            none = torch.zeros(0)
            return PairScores(none, (), dict.fromkeys(COLUMNS, none))
        x, y = (self._image(v, run) for v in (pairs.images(SOURCE), pairs.items))
        vectors = self._texts([t for texts in (*sources, *targets) for t in texts], run)
        planes = {p: self._plane(vectors, *p) for p in dict.fromkeys(zip(sources, targets, strict=True))}
        w, b = (torch.stack(v) for v in zip(*(planes[p] for p in zip(sources, targets, strict=True)), strict=True))
        gained = [tuple(t for t in new if t not in old) or new for old, new in zip(sources, targets, strict=True)]
        together = torch.stack([normalize(_mean(vectors, t), dim=-1) for t in gained])
        reached = (together * w).sum(-1) + b
        delta = reached if self.margin is None else torch.full_like(reached, self.margin)
        best, value = ideal(x, w, b, delta)
        self._warn(value, reached, delta)
        texts = normalize(embed(self.backbone.text, Texts(tuple(wanted)), run), dim=-1).double()
        plain = normalize(embed(self.backbone.image, pairs.items, run), dim=-1).double()
        change = torch.stack([_mean(vectors, t) - _mean(vectors, s) for s, t in zip(sources, targets, strict=True)])
        columns = (
            cosine_similarity(plain, texts, dim=-1), cosine_similarity(y - x, change, dim=-1),
            cosine_similarity(y, x, dim=-1), value, reached,
        )  # fmt: skip
        named = {name: column.float() for name, column in zip(COLUMNS, columns, strict=True)}
        return PairScores(cosine_similarity(y, best, dim=-1).float(), (), named)

    def _warn(self, value: Tensor, reached: Tensor, delta: Tensor) -> None:
        if stays := int((value >= delta).sum()):
            warnings.warn(
                f"{stays} of {len(value)} sources have the target's value already, so that no edit scores above the "
                f"source itself: name attributes that tell source and target apart.",
                stacklevel=3,
            )
        if short := int((delta < reached - 1e-9).sum()):
            warnings.warn(
                f"The margin is {self.margin:g}, and {short} of {len(value)} targets have a value above it, up to "
                f"{float(reached.max()):.2f}: an edit half-way may score above the right one. Leave the margin out.",
                stacklevel=3,
            )

    def _image(self, items: Any, run: Run) -> Tensor:
        z = normalize(embed(self.backbone.image, items, run), dim=-1).double()
        return normalize(z - self.image_mean.double(), dim=-1)

    def _texts(self, texts: Sequence[str], run: Run) -> dict[str, Tensor]:
        unique = tuple(dict.fromkeys(texts))
        z = normalize(embed(self.backbone.text, Texts(unique), run), dim=-1).double()
        return dict(zip(unique, normalize(z - self.text_mean.double(), dim=-1), strict=True))

    def _plane(
        self, vectors: dict[str, Tensor], source: tuple[str, ...], target: tuple[str, ...]
    ) -> tuple[Tensor, Tensor]:
        one, two = (torch.stack([vectors[t] for t in attributes]).numpy() for attributes in (source, target))
        w, b = plane(one, two, self.c)
        return torch.from_numpy(w), torch.tensor(b, dtype=torch.float64)


COLUMNS = ("cosine", "direction", "source_similarity", "value_of_source", "value_of_target")


def _mean(vectors: dict[str, Tensor], texts: tuple[str, ...]) -> Tensor:
    return torch.stack([vectors[t] for t in texts]).mean(0)
