"""Link the records of two tables: the nearest record of the other table, from a threshold on."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diptych.core import (
    Backbone,
    DataError,
    Evidence,
    FittedRetriever,
    Kit,
    Retriever,
    Run,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import columns_there, none_readable
from diptych.data.records.parts import RecordPart
from diptych.data.records.records import Records, joined
from diptych.features.embed import embed_readable
from diptych.metrics.retrieval import f1_threshold
from diptych.tasks.classify import with_store
from diptych.tasks.linked_groups import components, entities, group_threshold, held_out_pairs, labelled_records

CELLS = 1 << 24
"""Scores held at once (64 MiB)."""
PARTNERS = 16
"""Nearest partners of each record that one-to-one linkage and groups may choose from."""


@dataclass(frozen=True)
class Link:
    """A record and the one that it is linked to.

    Args:
        left, right: positions in the two tables.
        score: higher is nearer.
    """

    left: int
    right: int
    score: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.left, self.right, self.score))


@dataclass(frozen=True)
class Linked:
    """All links of two tables.

    Args:
        links: of left records in order; none below the threshold.
        threshold: from which score on records are linked; None: all are.
        labelled: what the labelled pairs say: "pairs", "val" records among them that chose the threshold, the share of
            these whose nearest record is right, how many are "linked", and "precision", "recall" and "f1" of these
            links, one to one where the others are; empty without.
        failed: records that cannot be read, of either table, and why; they are in neither.
        ids: column of each table that names its records; None: their rows or files.
        groups: (N + M,) number of the group of each record, left ones first; empty where groups were not asked for.
        cut: texts of which the model read the start alone.
    """

    links: tuple[Link, ...]
    left: Records
    right: Records
    threshold: float | None
    method: str
    labelled: Mapping[str, float]
    failed: tuple[UnreadableItem, ...] = ()
    ids: tuple[str | None, str | None] = (None, None)
    groups: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    cut: int = 0

    def names(self, link: Link) -> tuple[str, str]:
        """Return the names of the two records of a link."""
        sides = ((self.left, link.left, self.ids[0]), (self.right, link.right, self.ids[1]))
        left, right = (
            records.names[i] if column is None else str(records.facts[i].get(column, records.names[i]))
            for records, i, column in sides
        )
        return left, right

    def as_csv(self) -> str:
        """Return left, right, score, one line a link; cells that a spreadsheet would run as formulas are quoted."""
        lines = []
        for link in self.links:
            texts = (self.left.texts[link.left] or "", self.right.texts[link.right] or "")
            lines.append([*map(_safe, self.names(link)), f"{link.score:.6f}", *map(_safe, texts)])
        return _csv(["left", "right", "score", "left_text", "right_text"], lines)

    def groups_as_csv(self) -> str:
        """Return table (left or right), record, group and text, one line per record, group by group."""
        lines = []
        for place in np.argsort(self.groups, kind="stable").tolist():
            second = place >= len(self.left)
            records, i = (self.right, place - len(self.left)) if second else (self.left, place)
            name = self.names(Link(0, i, 0.0) if second else Link(i, 0, 0.0))[second]
            side = "right" if second else "left"
            lines.append([side, _safe(name), int(self.groups[place]), _safe(records.texts[i] or "")])
        return _csv(["table", "record", "group", "text"], lines)

    def about(self) -> dict[str, Any]:
        """Return plain data of all beside the links and what was skipped."""
        about = {"left": len(self.left), "right": len(self.right), "threshold": self.threshold, "method": self.method}
        about |= {"cut_texts": self.cut} if self.cut else {}
        about |= {"groups": int(self.groups.max()) + 1} if len(self.groups) else {}
        return {**about, "labelled": dict(self.labelled)}


def _csv(heads: list[str], lines: list[list[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *lines])
    return out.getvalue()


def _safe(cell: str) -> str:
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def link(
    left: Records,
    right: Records,
    method: Retriever,
    backbone: Backbone | None,
    run: Run,
    *,
    pairs: Sequence[tuple[int, int]] = (),
    threshold: float | None = None,
    one_to_one: bool = False,
    grouped: bool = False,
    ids: tuple[str | None, str | None] = (None, None),
    remember: Callable[[Callable[[], FittedRetriever]], FittedRetriever] = lambda fit: fit(),
) -> Linked:
    """Link each left record to its nearest right one; records that cannot be read are left out and named.

    Args:
        left: N records.
        right: M records.
        method: any retriever.
        backbone: for those that need one.
        run: seed, device, cache and progress.
        pairs: labelled matches (left, right). A method that learns is fitted on about four of five, and the others,
            which share no record with those, choose the threshold, by F1; for one that learns nothing all choose it.
        threshold: from which score on records are linked; None: chosen on ``pairs``, or without them all are linked.
        one_to_one: no right record is linked twice; of all pairs among each record's nearest 16 the greatest sum of
            scores is taken.
        grouped: group the records too: the connected components of all pairs among each record's nearest 16 from the
            threshold on, which then is the one of the best B-cubed F1 on the labelled records.
        ids: column of each table whose values name its records in the result; None: their rows or files.
        remember: takes what fits the method, and calls it or returns what an earlier call fitted.

    Raises:
        DataError: a table is empty or none of it can be read, fewer than five pairs, or no pairs that share no record
            with the others, for a method that learns.
        UsageError: a pair names a record that is not there, the threshold is not finite, or records are to be grouped
            without pairs and threshold, or one to one.
    """
    if not len(left) or not len(right):
        raise DataError("Linking takes two tables with at least one record each: one of them is empty.")
    if any(not (0 <= i < len(left) and 0 <= j < len(right)) for i, j in pairs):
        raise UsageError(f"A labelled pair names a record that is not there: left has {len(left)}, right {len(right)}.")
    for records, column in zip((left, right), ids, strict=True):
        if column is not None and not any(column in facts for facts in records.facts):
            there = columns_there(dict.fromkeys(c for facts in records.facts for c in facts))
            raise DataError(f"There is no column {column!r} to name records by, only {there}: see {{ids}}.")
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"The threshold must be a finite score, got {threshold}.")
    if grouped and (one_to_one or (threshold is None and not pairs)):
        raise UsageError("Groups need a threshold or labelled pairs that choose one, and are not one to one.")
    failed = (*left.failed, *right.failed)
    with with_store(run) as stored:
        if backbone is not None:
            left, lefts, broken = readable_records(left, backbone, stored)
            right, rights, more = readable_records(right, backbone, stored)
            failed += broken + more
            pairs = [(lefts[i], rights[j]) for i, j in pairs if i in lefts and j in rights]
        if pairs and len(pairs) < 5:
            raise DataError(f"{len(pairs)} labelled pairs choose no threshold: give at least 5, or {{threshold}}.")
        both = joined((left, right))
        rng = np.random.default_rng(run.integer("pairs"))
        learns = "train" in method.card.needs.optional and getattr(method, "learns", "") != "nothing"
        val, train = set(range(len(pairs))), None
        if pairs and learns:
            entity = entities(both, pairs, len(left))
            val = held_out_pairs([int(entity[i]) for i, _ in pairs], rng)
            train = labelled_records(both, [pair for k, pair in enumerate(pairs) if k not in val], len(left), entity)
        kit = Kit({} if backbone is None else {"main": backbone})
        fitted = remember(lambda: method.fit(kit, Evidence(train=train), stored))
        values, places = _nearest(fitted.against(right, stored), left, len(right), stored)
    links = (
        _one_to_one(values, places)
        if one_to_one
        else [Link(i, int(places[i, 0]), float(values[i, 0])) for i in range(len(left))]
    )
    labelled: dict[str, float] = {}
    if pairs:
        partners: dict[int, set[int]] = {}
        for i, j in pairs:
            partners.setdefault(i, set()).add(j)
        judged = np.array(sorted({pairs[k][0] for k in val}))
        nearest_right = np.array([places[i, 0] in partners[i] for i in judged])
        linked_to = {
            k.left: k for k in links
        }  # one to one, a record may be linked to another than the nearest, or none
        least = min(k.score for k in links)
        judged_links = [linked_to.get(int(i), Link(int(i), -1, least - 1)) for i in judged]
        first = np.array([k.score for k in judged_links])
        right_link = np.array([k.right in partners[k.left] for k in judged_links])
        exists = np.ones(len(judged), dtype=bool)
        if grouped:
            threshold, cubed = group_threshold(both, values, places, [pairs[k] for k in sorted(val)], threshold)
            labelled = dict(zip(("group_precision", "group_recall", "group_f1"), cubed, strict=True))
        elif threshold is None:
            threshold = max(f1_threshold(first, right_link, exists)[0], least)
        linked = (first >= threshold) & np.array([k.right >= 0 for k in judged_links])
        hits = float((right_link & linked).sum())
        shares = {
            "precision": hits / max(1, int(linked.sum())),
            "recall": hits / len(judged),
            "f1": 2 * hits / float(linked.sum() + len(judged)),
        }
        labelled |= {"pairs": len(pairs), "val": len(judged), "nearest_right": float(nearest_right.mean())}
        labelled |= {"linked": int(linked.sum()), **shares}
    chosen = tuple(k for k in links if threshold is None or k.score >= threshold)
    groups = np.zeros(0, dtype=np.int64)
    if grouped and threshold is not None:
        groups = components(both, values, places, threshold)
    unread = tuple({e.name: e for e in failed}.values())  # a table may be linked to itself
    cut = 0 if backbone is None else _cut_texts(backbone.text, [*left.texts, *right.texts])
    return Linked(chosen, left, right, threshold, method.card.slug, labelled, unread, ids, groups, cut)


def _nearest(
    score: Callable[[Records], Tensor], left: Records, count: int, run: Run
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (N, P) scores of each left record's nearest right ones, of ``count``, the best first, and their places."""
    values = np.empty((len(left), min(PARTNERS, count)), dtype=np.float64)
    places = np.empty(values.shape, dtype=np.int64)
    step = max(1, CELLS // count)
    with run.track("link", len(left)) as bar:
        for start in range(0, len(left), step):
            rows = slice(start, min(start + step, len(left)))
            scores = score(left.take(range(rows.start, rows.stop))).numpy()
            near = np.argpartition(-scores, values.shape[1] - 1, axis=1)[:, : values.shape[1]]
            order = np.argsort(-np.take_along_axis(scores, near, 1), axis=1, kind="stable")
            places[rows] = np.take_along_axis(near, order, 1)
            values[rows] = np.take_along_axis(scores, places[rows], 1)
            bar.advance(rows.stop - rows.start)
    return values, places


def _cut_texts(encoder: Any, texts: Sequence[str | None]) -> int:
    """Return how many of the different texts an encoder cuts; none where it raises for long ones."""
    if not getattr(encoder, "truncate", False):
        return 0
    strict, count = replace(encoder, truncate=False), 0
    for text in {text for text in texts if text}:
        try:
            strict.inputs([text])
        except UsageError:
            count += 1
    return count


def readable_records(
    records: Records, backbone: Backbone, run: Run
) -> tuple[Records, dict[int, int], tuple[UnreadableItem, ...]]:
    """Return the records whose pictures can be read, old position -> new one, and why the others cannot.

    Raises:
        DataError: none can.
    """
    pictures = RecordPart(records, "image")
    embedded = embed_readable(backbone.image, pictures, run)
    if not embedded.failed:
        return records, {i: i for i in range(len(records))}, ()
    broken = {pictures.rows[i] for i in set(range(len(pictures))).difference(embedded.kept.tolist())}
    readable = [i for i in range(len(records)) if i not in broken]
    if not readable:
        raise DataError(none_readable(len(records), "records", embedded.failed))
    return records.take(readable), {old: new for new, old in enumerate(readable)}, tuple(embedded.failed)


def _one_to_one(values: NDArray[np.float64], places: NDArray[np.int64]) -> list[Link]:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, k = values.shape
    m = int(places.max()) + 1
    # A column of its own for each row makes staying alone possible, at a cost above all others.
    cost = 2.0 + values.max() - values
    rows = np.concatenate([np.repeat(np.arange(n), k), np.arange(n)])
    columns = np.concatenate([places.ravel(), m + np.arange(n)])
    costs = np.concatenate([cost.ravel(), np.full(n, 4.0 * (1 + cost.max()))])
    chosen = min_weight_full_bipartite_matching(csr_matrix((costs, (rows, columns)), shape=(n, m + n)))
    score = {(i, int(j)): float(v) for i in range(n) for j, v in zip(places[i], values[i], strict=True)}
    return [Link(int(i), int(j), score[(int(i), int(j))]) for i, j in zip(*chosen, strict=True) if j < m]
