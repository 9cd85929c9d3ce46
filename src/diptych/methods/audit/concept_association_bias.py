"""Concept association bias: asked for an attribute of one of two objects, does a model name the other object's?

    s_v   = cos( x, text(A, v) ),   v in L              the answer is the v with the largest s_v
    score = (p_cab - p_true + 1) / 2                    in [0, 1]

x: a picture with the objects A and B side by side, whose attributes a(A) and a(B) differ
text(A, v): "the color of the A is v"
p_true, p_cab: shares of answers that are a(A), and a(B);  p_single: share that is a(A) where A stands alone
L: attributes that occur

0: always right; 1/2: no preference; 1: always the other object's.

In closed form: a picture is the sum of its concepts A, a(A), B, a(B), a text the sum of what it names, and the name A
brings its typical attribute along with weight w. Then

    cos(x, "a(A) A") / cos(x, "a(B) A") = sqrt( (2 + w^2) / (1 + (1 + w)^2) )

which is 1 at w = 0, and below 1 for every w > 0: what the name already says counts less than what it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    Control,
    Example,
    Finding,
    Probe,
    Run,
    Samples,
    Subject,
    Texts,
    UsageError,
)
from diptych.core.findings import EXAMPLES
from diptych.core.ranges import at_least, check
from diptych.data.factors import Altered
from diptych.data.joined import Joined
from diptych.data.side_by_side import EMPTY, SideBySide
from diptych.features.embed import embed
from diptych.metrics.closed_intervals import at_chance
from diptych.metrics.estimate import Interval
from diptych.metrics.pair_mean import pair_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
COLUMN = "attribute"
"""Name of the group column with the attribute of each picture's object."""


def cab_values(answers: Ints, true: Ints, other: Ints) -> Floats:
    """Return 0 where an answer is the object's attribute, 1 where it is the other object's, else 1/2; (M,).

    Their mean is the score.

    Args:
        answers: (M,) positions in L.
        true: (M,), a(A).
        other: (M,), a(B), which differ from a(A).
    """
    return np.asarray(((answers == other).astype(np.float64) - (answers == true) + 1) / 2)


def drawn_pairs(attributes: Ints, labels: Ints, most: int, rng: np.random.Generator) -> Ints:
    """Return (M, 2) rows of pictures of two classes with different attributes, drawn from all such pairs.

    All of them are returned, in random order, where there are no more than ``most``; no pair occurs twice.

    Args:
        attributes: (N,) positions in L.
        labels: (N,) class positions.
        most: largest M.
        rng: draws the pairs.

    Example:
        >>> labels = np.array([0] * 500 + [1])
        >>> drawn_pairs(labels, labels, 300, np.random.default_rng(0)).shape
        (300, 2)
    """
    kinds, kind, sizes = np.unique(np.stack([labels, attributes]), axis=1, return_inverse=True, return_counts=True)
    of_class, of_value = (np.bincount(v) for v in (labels, attributes))
    partners = (len(labels) - of_class[kinds[0]] - of_value[kinds[1]] + sizes)[kind.ravel()]
    ends = np.cumsum(partners)
    total = int(ends[-1]) if len(ends) else 0
    ranks = rng.choice(total, size=min(most, total), replace=False) if total else np.zeros(0, dtype=np.int64)
    one = np.searchsorted(ends, ranks, side="right")
    offset, two = ranks - (ends - partners)[one], np.zeros(len(ranks), dtype=np.int64)
    for k in np.unique(kind.ravel()[one]):  # pictures of one class and attribute have the same partners
        rows = kind.ravel()[one] == k
        two[rows] = np.flatnonzero((labels != kinds[0, k]) & (attributes != kinds[1, k]))[offset[rows]]
    return np.stack([one, two], axis=1).astype(np.int64)


@dataclass(frozen=True)
class ConceptAssociationBias(Auditor):
    """Put pictures of two objects side by side, and ask for the attribute of one.

    Use it before a model is asked about attributes in pictures of several objects.

    Args:
        template: of the question, with "{object}" and "{value}"; the words are ours.
        most: pictures of two objects, and of one, at most, >= 20; 300 (ours).

    Raises:
        UsageError: a number is out of its range, or the template lacks a place.

    Source: Yamada et al. 2022.

    Example:
        Two of four answers are the other object's attribute, one is right, one is neither:

        >>> values = cab_values(np.array([1, 1, 0, 2]), np.zeros(4, int), np.ones(4, int))
        >>> float(values.mean())
        0.625
    """

    template: str = "In this picture, the color of the {object} is {value}."
    most: int = 300

    column = COLUMN

    def __post_init__(self) -> None:
        check(self, at_least(20), "most")
        if any(self.template.count(place) != 1 for place in ("{object}", "{value}")):
            raise UsageError(f"template must hold one '{{object}}' and one '{{value}}', got {self.template!r}.")

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack: one table in distribution with labels, classes and a group column "attribute"."""
        if lack := data.lacks_labels():
            return lack
        return (
            ""
            if COLUMN in data.one()[1].table.columns
            else f"The table has no column {COLUMN!r}, such as each object's colour."
        )

    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Ask about pictures of one and of two objects.

        Args:
            subjects: name -> model with a backbone.
            data: one table of pictures of one object each, with labels and the group column "attribute".
            run: device, cache, and the seed of the pairs.

        Returns:
            One finding "cab_score" about each model, with the shares behind it and an interval over pictures; not
            testable where the model does not name attributes of single objects above chance. Its control is the score
            where the hues of the other picture are turned, which must not be above 1/2.

        Raises:
            UsageError: there is no subject.
            MissingPart: a kit has no backbone.
            DataError: there is not exactly one table in distribution, or a column is missing.
        """
        self.check(subjects, data)
        return [f for name, subject in subjects.items() for f in self._of(name, subject.kit.need(Backbone), data, run)]

    def _of(self, name: str, backbone: Backbone, data: AuditData, run: Run) -> Iterator[Finding]:
        key, probe = data.one()
        items, labels = probe.table.items, probe.table.labels()
        words = [str(v) for v in probe.table.columns[COLUMN].values]
        values = tuple(sorted(set(words)))
        attributes = np.array([values.index(w) for w in words], dtype=np.int64)
        rng = np.random.default_rng(run.integer("pairs"))
        pairs = drawn_pairs(attributes, labels, self.most, rng)
        if len(pairs) < 10:
            reason = f"{len(pairs)} pairs of pictures differ in class and attribute: 10 are needed at least."
            yield Finding.not_testable(name, "cab_score", reason, about=key, count=len(pairs))
            return
        texts = self._texts(backbone, probe, values, run)
        first = rng.random(len(pairs)) < 0.5
        left, right = (np.where(first, pairs[:, a], pairs[:, b]).tolist() for a, b in ((0, 1), (1, 0)))
        alone = pairs[:, 0].tolist()
        single, _ = _answers(backbone, SideBySide(items, alone, [EMPTY] * len(alone)), texts, labels[alone], run)
        true, other = attributes[pairs[:, 0]], attributes[pairs[:, 1]]
        hits = int((single == true).sum())
        once = np.unique(pairs[:, 0], return_index=True)[1]  # a picture of several pairs is one answer
        chance = float(np.bincount(true[once]).max() / len(once))
        if reason := at_chance(int((single == true)[once].sum()), len(once), chance):
            yield Finding.not_testable(name, "cab_score", reason, about=key, count=len(pairs))
            return
        answers, ties = _answers(backbone, SideBySide(items, left, right), texts, labels[alone], run)
        both = Joined((items, Altered(items, "color")))
        one, two = pairs[:, 0], pairs[:, 1] + len(items)
        hued = SideBySide(both, np.where(first, one, two).tolist(), np.where(first, two, one).tolist())
        turned, _ = _answers(backbone, hued, texts, labels[alone], run)
        score, none = (_over_pictures(cab_values(a, true, other), pairs) for a in (answers, turned))
        p_true, p_cab = float((answers == true).mean()), float((answers == other).mean())
        fooled = pairs[answers == other][:EXAMPLES]
        yield Finding(
            name, "cab_score", score.value, (score.low, score.high), key,
            {"p_true": p_true, "p_cab": p_cab, "p_single": hits / len(true), "ties": ties, "values": list(values)},
            range=(0.0, 1.0), count=len(pairs), counted="pairs", units=cab_values(answers, true, other), joined=pairs,
            control=Control("cab_score_with_the_other_hued", none.value, (none.low, none.high), 0.5, above=True),
            examples=tuple(
                Example(key, items.key(int(a)), f"{values[attributes[b]]}, like the {probe.named().names[labels[b]]}")
                for a, b in fooled
            ),
            says=f"Beside another object it names the right value in {100 * p_true:.0f} %, the other object's in "
            f"{100 * p_cab:.0f} %; alone it is right in {100 * hits / len(true):.0f} %.",
            advice="Cut objects out before you ask about their attributes.",
        )  # fmt: skip

    def _texts(self, backbone: Backbone, probe: Probe, values: tuple[str, ...], run: Run) -> Floats:
        """Return (K, V, D) unit embeddings of the questions."""
        names = probe.named().names
        sentences = [self.template.replace("{value}", v).replace("{object}", n) for n in names for v in values]
        z = normalize(embed(backbone.text, Texts(tuple(sentences)), run), dim=-1).double().numpy()
        return np.asarray(z.reshape(len(names), len(values), -1))


def _over_pictures(values: Floats, pairs: Ints) -> Interval:
    """Return the score with its interval over pictures, cut to [0, 1]: a picture is in several pairs."""
    ends = pair_mean(values, pairs)
    return Interval(ends.value, max(0.0, ends.low), min(1.0, ends.high))


def _answers(backbone: Backbone, items: Samples[object], texts: Floats, classes: Ints, run: Run) -> tuple[Ints, float]:
    """Return the (M,) answers about the classes (M,) that are asked about, and the share of ties."""
    z = normalize(embed(backbone.image, items, run), dim=-1).double().numpy()
    scores = np.einsum("md,mvd->mv", z, texts[classes])
    ties = (scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return scores.argmax(axis=1).astype(np.int64), float(ties.mean())
