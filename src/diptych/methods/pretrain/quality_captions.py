"""Quality captions: the loss of CLIP stays, and the captions are chosen, scored and mixed with synthetic ones.

    score(x, t) = 2.5 max(x . t, 0)
    L(t)        = (1 - d) L_clip(x, t) + d L_distil(x, t)
    L_distil    = mean of the cross-entropies of the rows of S to those of T, and of the columns
    T           = mean over teachers k of softmax(100 x_k t_k^T),  S = log softmax(s x t^T)

    original:   loss = L(a)          synthetic:  loss = L(b)
    mix:        loss = L(c), c = b with probability rho, else a
    both:       loss = L(a) + L(b)

x, t: (N, D) unit embeddings of N images and of one caption of each, by the space in training;  s: its learnt scale
x_k, t_k: (N, D_k) the same by the k-th of one or several teachers; score is that of a frozen scorer
a: an original caption of each image, drawn each time;  b: a synthetic one, likewise
rho: probability of a synthetic caption;  d: weight of the distillation, 0 unless asked for

Rows are kept by the score of their best original caption. Original captions whose score is too low are left out, and
the row has its synthetic ones in their place. The paper's result is that such captions alone make the image tower a
better start for segmentation and depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diptych.core import (
    Ask,
    Backbone,
    ClassNames,
    Clock,
    Column,
    DataError,
    Evidence,
    Kit,
    Learns,
    MissingPart,
    Recipe,
    Run,
    Table,
    Texts,
    Trainee,
    UsageError,
    Writer,
)
from diptych.core.ranges import between, check, one_of
from diptych.core.train import Stage, everything
from diptych.data.evidence import training_rows
from diptych.data.formats.taught import OF_IMAGE, OF_TEXTS
from diptych.features.embed import embed
from diptych.features.frozen import HeadSpace
from diptych.features.vectors import sources
from diptych.metrics.caption import clip_score
from diptych.nn.contrastive import contrastive
from diptych.nn.pair_distillation import distilled_pairs
from diptych.train.caption_mixing import COLUMNS, CaptionMixing, Taught
from diptych.train.row_captions import WEIGHTS

Captions = Sequence[Sequence[str]]
"""N rows of captions."""
WRITTEN = 4
"""Synthetic captions of an original one that a writer is asked for."""


def best_rows(scores: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return the positions of the rows with the highest scores, in ascending order; of ties the first.

    Args:
        scores: (N,).
        share: of the rows, in (0, 1]; their number is rounded up.

    Example:
        >>> best_rows(np.array([0.3, 0.9, 0.1, 0.9]), 0.5).tolist()
        [1, 3]
    """
    count = int(np.ceil(share * len(scores) - 1e-9))
    return np.sort(np.argsort(-scores, kind="stable")[:count])


class _Mixing(CaptionMixing):
    """Trains pairs by CLIP's loss, and by distillation where there are teachers."""

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the loss of each kind of caption by its name, and the distillation as "distil/NAME"."""
        e, d = self.embed(batch), self.taught.weight
        out = {name: (1 - d) * contrastive(e, ("image", name)) for name in self.kinds}
        if d == 0:
            return out
        targets = batch["taught"] if self.taught.teacher is None else self._taught(self.taught.teacher, batch)
        pairs = {name: distilled_pairs(e, targets, ("image", name), self.taught.widths) for name in self.kinds}
        return out | {f"distil/{name}": d * loss for name, loss in pairs.items()}

    @torch.no_grad()
    def _taught(self, teacher: Backbone, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        return {n: teacher.encoders[v.encoder].encode(batch["teacher"][n]) for n, v in self.read.items()}


@dataclass(frozen=True)
class QualityCaptions(Recipe):
    """Train pairs with CLIP's loss on captions that are scored, and mixed with synthetic ones.

    Use it where captions are noisy alt-texts and a captioner has written others. Synthetic captions are the column
    "synthetic" of the rows; without it, the kit's writer is asked for up to four of each original caption. Captions are
    scored by the kit's "scorer", or by the space itself as it is before the training.

    Args:
        mode: "original", "synthetic", "mix" or "both"; "both" (the released recipe of MobileCLIP).
        share: rho of "mix", in [0, 1]; 0.5 (ours).
        keep: share of the rows that are kept, best captions first, in (0, 1]; 1.0: all, and nothing is scored for it.
        least: score under which an original caption is left out, in [0, 2.5]; 0.0: none is.
        distil: d, in [0, 1]; 0.0, so that the effect of captions is not confused with that of a teacher: the kit's
            "teacher" or, without one, the vectors that the rows hold ("teacher_image" and "teacher_text").
        teachers: sizes of the vectors of each teacher that the rows hold side by side, such as (768, 768); (): one.

    Raises:
        UsageError: a setting is out of its range.

    Source: Vasu et al. 2024 (quality captions), sections 3 and 4; the mixing of the released MobileCLIP training.

    Example:
        >>> QualityCaptions().views, QualityCaptions(mode="mix").views
        (('original', 'synthetic'), ('mix',))
    """

    mode: Literal["original", "synthetic", "mix", "both"] = "both"
    share: float = 0.5
    keep: float = 1.0
    least: float = 0.0
    distil: float = 0.0
    teachers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check(self, one_of("original", "synthetic", "mix", "both"), "mode")
        check(self, between(0, 1), "share", "distil")
        check(self, between(0, 1, "(]"), "keep")
        check(self, between(0, 2.5), "least")
        if any(width < 1 for width in self.teachers):
            raise UsageError(
                f"teachers must be sizes of at least 1, got {self.teachers}: give one for each that is stored."
            )

    @property
    def views(self) -> tuple[str, ...]:
        """Kinds of caption in the loss."""
        return ("original", "synthetic") if self.mode == "both" else (self.mode,)

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee | Stage]:
        """Score and choose the captions, then yield the one trainee on the kept rows.

        Raises:
            MissingEvidence: there are no training rows.
            MissingPart: synthetic captions are wanted, and there are neither such a column nor a writer; or captions
                are scored, and no backbone with trained weights is there; or there is no teacher to distil from.
            DataError: a row has no caption of a kind that the mode reads.
        """
        space = kit.need(Backbone)
        rows = training_rows(evidence, "quality-captions")
        taught = self._taught(kit, stored=OF_IMAGE in rows.columns)
        train = self._with_teachers(rows, kit)
        if self.keep < 1 or self.least > 0:
            train = self._chosen(train, scored(_scorer(kit, space), train, run))
        val = None if evidence.val is None else self._with_teachers(evidence.val, kit)
        yield Stage(_Mixing(space, self.views, self.share, taught, run, learns), data=train, val=val)

    def of_stream(self, kit: Kit, run: Run, learns: Learns = everything) -> Trainee:
        """Return the trainee for pairs that pass by once, whose synthetic captions they hold themselves.

        Raises:
            UsageError: captions are scored, for which rows are read more than once.
        """
        if self.keep < 1 or self.least > 0:
            raise UsageError(
                f"Captions are scored before the training: give a table, not a stream, or {self.card.slug}"
                " without keep and least."
            )
        return _Mixing(kit.need(Backbone), self.views, self.share, self._taught(kit, stored=True), run, learns)

    def _taught(self, kit: Kit, *, stored: bool) -> Taught:
        """Return the teachers: the kit's, or those whose vectors are stored.

        Raises:
            MissingPart: there is neither.
            UsageError: sizes of several teachers, of which the kit has one.
        """
        if self.distil == 0:
            return Taught()
        if "teacher" not in kit.parts and stored:
            return Taught(self.distil, None, self.teachers)
        if self.teachers:
            raise UsageError("Sizes of teachers are those of stored vectors: give rows with these, or no sizes.")
        return Taught(self.distil, kit.need(Backbone, "teacher"))

    def _with_teachers(self, table: Table[Any], kit: Kit) -> Table[Any]:
        """Return the table with the columns "captions" and "synthetic", as far as they are read, their weights, and the
        teachers' vectors.
        """
        if "captions" not in table.columns:
            raise DataError("quality-captions trains on captions, and the rows have none: give a column 'caption'.")
        original = [
            (captions,) if isinstance(captions, str) else tuple(captions)
            for captions in table.columns["captions"].values
        ]
        synthetic: list[tuple[str, ...]] = [()] * len(table)
        if self.mode != "original" or self.least > 0:
            synthetic = _synthetic(table, original, kit)
        texts_of = {"original": original, "synthetic": synthetic}
        for name in ("original", "synthetic") if self.mode in ("mix", "both") else (self.mode,):
            if not all(texts_of[name]):
                row = table.items.name(next(i for i, captions in enumerate(texts_of[name]) if not captions))
                raise DataError(f"{row} has no {name} caption: fill it, or remove the row.")
        beside = [
            n for n in (*(COLUMNS[name] + WEIGHTS for name in texts_of), OF_IMAGE, OF_TEXTS) if n in table.columns
        ]
        if self.least > 0 and beside:
            raise UsageError(
                f"Captions that score below {self.least:g} are left out, and {beside[0]} has a value for each: "
                f"set least to 0, or leave that column out."
            )
        columns = {COLUMNS[name]: Column("captions", tuple(texts)) for name, texts in texts_of.items()}
        return Table(table.items, {**columns, **{name: table.columns[name] for name in beside}})

    def _chosen(self, table: Table[Any], scores: Sequence[NDArray[np.float64]]) -> Table[Any]:
        """Return the rows that are kept, without the original captions that score too low."""
        original, synthetic = (table.columns[name].values for name in ("captions", "synthetic"))
        good = [
            tuple(t for t, x in zip(captions, s, strict=True) if x >= self.least)
            for captions, s in zip(original, scores, strict=True)
        ]
        chosen = Column(
            "captions", tuple(captions or written for captions, written in zip(good, synthetic, strict=True))
        )
        return Table(table.items, {**table.columns, "captions": chosen}).take(
            best_rows(np.array([s.max() for s in scores]), self.keep).tolist()
        )


def scored(scorer: Backbone, table: Table[Any], run: Run) -> list[NDArray[np.float64]]:
    """Return the scores of the original captions of each of N rows.

    Args:
        scorer: a frozen backbone; heads over trunks read the rows' vectors, others the pictures that those come from.
        table: rows with the column "captions".
        run: device and cache.
    """
    rows = [list(texts) for texts in table.columns["captions"].values]
    texts = Texts(tuple(t for row in rows for t in row))
    if isinstance(scorer, HeadSpace):  # heads over vectors in memory are not worth a place in the store
        with torch.no_grad():
            x = scorer.image.encode(scorer.image.inputs([table.items[i] for i in range(len(table))]))
            t = scorer.text.encode(scorer.text.inputs(texts.values))
    else:
        x, t = embed(scorer.image, sources(table.items), run), embed(scorer.text, texts, run)
    counts = [len(row) for row in rows]
    scores = clip_score(np.repeat(x.numpy(), counts, axis=0), t.numpy())
    return np.split(scores, np.cumsum(counts)[:-1])


def _scorer(kit: Kit, space: Backbone) -> Backbone:
    scorer = kit.need(Backbone, "scorer") if "scorer" in kit.parts else space
    if scorer.spec.weights == "random" or "weights=random" in scorer.spec.name:
        raise MissingPart(
            f"Captions cannot be scored by {scorer.spec.name}, whose weights are random: give a trained backbone as "
            f"the kit's 'scorer'."
        )
    return scorer


def _synthetic(table: Table[Any], original: Captions, kit: Kit) -> list[tuple[str, ...]]:
    """Return the synthetic captions of each row: those of its column, or the writer's for each original."""
    if "synthetic" in table.columns:
        return [
            (captions,) if isinstance(captions, str) else tuple(captions)
            for captions in table.columns["synthetic"].values
        ]
    if "writer" not in kit.parts:
        raise MissingPart(
            "quality-captions reads synthetic captions, and the rows have no column 'synthetic': add it, or give the "
            "kit a 'writer' of other wordings ({rewrites}), or take the variant scored."
        )
    unique = list(dict.fromkeys(t for captions in original for t in captions))
    replies = kit.need(Writer, "writer").write([Ask(about=t, n=WRITTEN) for t in unique])
    written = {t: [r.value for r in reply if r.value] for t, reply in zip(unique, replies, strict=True)}
    return [tuple(r for t in captions for r in written[t]) for captions in original]
