"""MMVP: pairs of pictures that a CLIP puts together although they differ, and whether texts tell them apart.

    (i, j) is blind  where  c_ij > similar  and  d_ij < different
    a pair is right  where  s(t_1, x_1) > s(t_1, x_2)  and  s(t_2, x_2) > s(t_2, x_1)

c_ij: cosine of pictures i and j by the CLIP's image encoder
d_ij: cosine by a second image encoder that was trained without text
t_1, t_2: what is true of picture x_1 and of picture x_2;  s: cosine of text and picture

By chance a quarter of the pairs is right. A model that does not read the text has none.
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
    DataError,
    Encoder,
    Example,
    Finding,
    Probe,
    Run,
    Samples,
    Subject,
    Subset,
    Table,
    Texts,
    UsageError,
)
from diptych.core.findings import EXAMPLES
from diptych.core.ranges import at_least, between, check
from diptych.core.wording import number_of
from diptych.features.embed import embed
from diptych.features.subjects import embeddings
from diptych.metrics.blind_pairs import blind_pairs, right_pairs, thresholds
from diptych.metrics.closed_intervals import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW = 10
"""Pairs below which a share is not testable."""


@dataclass(frozen=True)
class MMVP(Auditor):
    """Mine pictures that a CLIP confuses by the eyes of a second encoder, and ask it about pairs with statements.

    Use it to see what a CLIP's image vectors leave out: pairs that it finds equal are what no text can tell apart.

    Args:
        top: share of pairs that count as similar by the CLIP, in (0, 1); 0.01 (ours).
        bottom: share of pairs that count as different by the second encoder, in (0, 1); 0.3 (ours).
        similar: cosine by the CLIP that a pair exceeds, in the place of ``top``; 0.95 is the paper's for CLIP ViT-L/14.
        different: cosine by the second encoder that it is below, in the place of ``bottom``; 0.6 is the paper's for
            DINOv2 ViT-L/14.
        neighbours: k, pictures that are tried for each, >= 1; 20 (ours).
        most: pictures that are mined, >= 20; 5,000 (ours).
        template: of the statements, with one "{}"; "a photo of {}" (the paper's).

    Raises:
        UsageError: a number is out of its range, or the template has no "{}".

    Source: Tong et al. 2024; the scores of pairs follow the authors' script.

    Example:
        >>> scores = np.array([[[0.31, 0.30], [0.29, 0.33]], [[0.31, 0.30], [0.33, 0.29]]])
        >>> print(f"{right_pairs(scores).mean():.2f}")
        0.50
    """

    top: float = 0.01
    bottom: float = 0.3
    similar: float | None = None
    different: float | None = None
    neighbours: int = 20
    most: int = 5000
    template: str = "a photo of {}"

    def __post_init__(self) -> None:
        check(self, between(0, 1, "()"), "top", "bottom")
        check(self, at_least(1), "neighbours")
        check(self, at_least(20), "most")
        if self.template.count("{}") != 1:
            raise UsageError(f"template must hold one '{{}}' where the statement goes, got {self.template!r}.")

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack: a table of pairs with captions, or pictures and a second encoder."""
        seen = [s for s in subjects.values() if "vision" in s.kit.parts]
        if any(map(_stated, data.of("pairs").values())) or (seen and len(data.of("id")) == 1):
            return ""
        return (
            "It needs a table of pairs with captions, or one table of pictures and a second image encoder as the part "
            "'vision'."
        )

    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Mine blind pairs, and count right pairs.

        Args:
            subjects: name -> model with a backbone, and perhaps a second image encoder as "vision".
            data: tables of pairs, with two items to each value of the column "group" and one caption each, and perhaps
                a group column "pattern"; and perhaps one table in distribution, in which blind pairs are mined.
            run: device, cache, and the seed of the draws.

        Returns:
            "blind_share" about the table in distribution, the share of its pictures with a blind twin, with the closest
            pairs as examples, where the model has a part "vision". It has no interval: whether a picture has a twin
            depends on all others, and on how many there are. "pair_accuracy" about each table of pairs, and about
            each of its patterns; its control gives each pair the statements of another. Details of the former are
            Winoground's other scores: "text_score", pairs whose pictures choose their statements, and "group_score",
            pairs that are right both ways.

        Raises:
            UsageError: there is no subject.
            MissingPart: a kit has no backbone.
            DataError: there are neither pairs nor pictures with a second encoder, or a pair has not two items.
        """
        self.check(subjects, data)
        return [f for name, subject in subjects.items() for f in self._of(name, subject, data, run)]

    def _of(self, name: str, subject: Subject, data: AuditData, run: Run) -> Iterator[Finding]:
        backbone = subject.kit.need(Backbone)
        if "vision" in subject.kit.parts and len(data.of("id")) == 1:
            yield self._mined(name, subject, *data.one(), run)
        for about, probe in data.of("pairs").items():
            if _stated(probe):
                yield from self._findings(name, backbone, about, probe, run)

    def _mined(self, name: str, subject: Subject, key: str, probe: Probe, run: Run) -> Finding:
        order = np.random.default_rng(run.integer("mined")).permutation(len(probe.table))[: self.most]
        items = Subset(probe.table.items, tuple(np.sort(order).tolist()))
        if len(items) < FEW:
            reason = f"{number_of(len(items), 'picture is', 'pictures are')} too few: give {FEW} at least."
            return Finding.not_testable(name, "blind_share", reason, about=key, count=len(items))
        pairs, cosines = self.mine(subject, items, run)
        twins: dict[int, tuple[int, Floats]] = {}
        for (i, j), values in zip(pairs.tolist(), cosines, strict=True):
            twins.setdefault(i, (j, values))
            twins.setdefault(j, (i, values))
        share = len(twins) / len(items)
        shown = [(int(i), int(j), c) for (i, j), c in zip(pairs, cosines, strict=True)][:EXAMPLES]
        closest = [[items.name(i), items.name(j), float(c[0]), float(c[1])] for i, j, c in shown]
        return Finding(
            name, "blind_share", share, None, key, {"pairs": len(pairs), "closest": closest},
            range=(0.0, 1.0), count=len(items), counted="items",
            examples=tuple(
                Example(key, items.key(i), f"cosine to its twin {c[0]:.2f}, by the second encoder {c[1]:.2f}")
                for i, _, c in shown
            ),
            says=f"{100 * share:.0f} % of the pictures in {key} have a twin that differs for the second encoder alone.",
            advice="Look at the pairs: what tells them apart is what prompts cannot ask this model about.",
        )  # fmt: skip

    def mine(self, subject: Subject, items: Samples[object], run: Run) -> tuple[Ints, Floats]:
        """Return blind pairs of N pictures, (P, 2), and their cosines by both encoders, (P, 2).

        Args:
            subject: its kit holds a backbone, and an image encoder as "vision".
            items: N >= 2 pictures.
            run: device, cache, and the seed of the pairs whose quantiles are the thresholds.
        """
        first, second = seen(subject, items, run)
        similar, different = thresholds(
            first, second, self.top, self.bottom, np.random.default_rng(run.integer("thresholds"))
        )
        similar = similar if self.similar is None else self.similar
        different = different if self.different is None else self.different
        return blind_pairs(first, second, similar, different, self.neighbours)

    def _findings(self, name: str, backbone: Backbone, about: str, probe: Probe, run: Run) -> Iterator[Finding]:
        pairs = pairs_of(probe.table)
        if len(pairs) < FEW:
            reason = f"{number_of(len(pairs), 'pair is', 'pairs are')} too few: give {FEW} at least."
            yield Finding.not_testable(name, "pair_accuracy", reason, about=about, count=len(pairs), counted="pairs")
            return
        pictures = normalize(embed(backbone.image, probe.table.items, run), dim=-1).double().numpy()
        sentences = [self.template.replace("{}", t) for t in statements(probe.table)]
        texts = normalize(embed(backbone.text, Texts(tuple(sentences)), run), dim=-1).double().numpy()
        scores = pair_scores(texts, pictures, pairs)
        right, chosen = right_pairs(scores), right_pairs(scores.transpose(0, 2, 1))
        shift = 1 + int(np.random.default_rng(run.integer("other pairs")).integers(len(pairs) - 1))
        other = right_pairs(pair_scores(texts[pairs[np.roll(np.arange(len(pairs)), shift)]], pictures[pairs]))
        hits, n = int(right.sum()), len(pairs)
        wrong = pairs[~right][:EXAMPLES, 0]
        yield Finding(
            name, "pair_accuracy", hits / n, wilson(hits, n), about,
            {"text_score": float(chosen.mean()), "group_score": float((right & chosen).mean())},
            range=(0.0, 1.0), count=n, counted="pairs", units=right.astype(np.float64),
            control=Control(
                "statements_of_other_pairs", float(other.mean()), wilson(int(other.sum()), n), 0.25, above=True
            ),
            examples=tuple(Example(about, probe.table.items.key(int(i)), sentences[int(i)]) for i in wrong),
            says=f"Both statements choose their picture in {100 * hits / n:.0f} % of the pairs; by chance in 25 %.",
            advice="Do not rely on prompts that ask about what differs in the pairs that are wrong.",
        )  # fmt: skip
        patterns = probe.table.columns.get("pattern")
        named = np.array([str(patterns.values[i]) for i in pairs[:, 0]] if patterns else [], dtype=str)
        for pattern in dict.fromkeys(named.tolist()):
            part = right[named == pattern]
            yield Finding(
                name, "pair_accuracy", float(part.mean()), wilson(int(part.sum()), len(part)), f"{about}: {pattern}",
                range=(0.0, 1.0), count=len(part), counted="pairs", units=part.astype(np.float64),
            )  # fmt: skip


def pairs_of(table: Table[object]) -> Ints:
    """Return the (P, 2) rows of the pairs of a table, in its order.

    Raises:
        DataError: a value of the column "group" has not two items.
    """
    rows: dict[str, list[int]] = {}
    for i, group in enumerate(table.columns["group"].values):
        rows.setdefault(str(group), []).append(i)
    for group, members in rows.items():
        if len(members) != 2:
            raise DataError(f"The pair {group!r} has {len(members)} items: give two each.")
    return np.array(list(rows.values()), dtype=np.int64).reshape(-1, 2)


def statements(table: Table[object]) -> list[str]:
    """Return the first caption of each item.

    Raises:
        DataError: an item has none.
    """
    values = [(v,) if isinstance(v, str) else v for v in table.columns["captions"].values]
    texts = [str(next(iter(captions), "")).strip() for captions in values]
    if missing := [i for i, t in enumerate(texts) if not t]:
        raise DataError(f"{table.items.name(missing[0])} has no statement: fill its caption.")
    return texts


def pair_scores(texts: Floats, pictures: Floats, pairs: Ints | None = None) -> Floats:
    """Return (P, 2, 2) cosines of the texts and the pictures of each pair.

    Args:
        texts: (N, D) unit vectors, or (P, 2, D) of pairs.
        pictures: the same size.
        pairs: (P, 2) rows, for the former.
    """
    t, x = (v if pairs is None else v[pairs] for v in (texts, pictures))
    return np.asarray(np.einsum("pad,pbd->pab", t, x))


def seen(subject: Subject, items: Samples[object], run: Run) -> tuple[Floats, Floats]:
    """Return unit vectors of N pictures by the backbone, (N, D), and by the part "vision", (N, E).

    Raises:
        MissingPart: the kit lacks one of them.
        UnreadableItem: a picture cannot be read.
    """
    second = normalize(embed(subject.kit.need(Encoder, "vision"), items, run), dim=-1)
    return embeddings(subject, items, run).double().numpy(), second.double().numpy()


def _stated(probe: Probe) -> bool:
    return {"group", "captions"} <= set(probe.table.columns)
