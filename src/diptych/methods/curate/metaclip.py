"""MetaCLIP keeps the texts that contain an entry of a word list, and thins out those whose entries are frequent.

    c_e     = number of texts that contain entry e as whole words
    p_e     = t / max(c_e, t)
    P(keep) = 1 - prod over the entries e of the text of (1 - p_e)

e: one of M entries of the metadata, such as a noun
t: number of texts up to which an entry is not thinned
p_e: (M,) in (0, 1], probability of keeping a text for entry e alone
P(keep): probability of keeping a text; 0 for a text without entries
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diptych.core import Curator, Kit, Plan, Run, Stream, UsageError, Verdicts
from diptych.core.blocks import Block, blocks
from diptych.core.ranges import at_least, between, check
from diptych.data.draws import uniform
from diptych.data.words.metaclip_entries import WORDNET, entries
from diptych.features.entry_counts import Counts, EntryCounts, read_entry_counts, tail_share, threshold_for
from diptych.nn.text.substrings import Matcher

T = TypeVar("T")
HEAD = 128
"""Characters of a text that are matched first: an entry of p_e = 1 among them decides."""


def entry_probabilities(counts: Counts, t: float) -> NDArray[np.float64]:
    """Return p_e = t / max(c_e, t), (M,) in (0, 1]; for t = infinity all are 1."""
    if math.isinf(t):
        return np.ones(len(counts))
    return t / np.maximum(counts.astype(np.float64), t)


def keep_probabilities(
    rows: NDArray[np.int64], matches: NDArray[np.int64], p: NDArray[np.float64], texts: int
) -> NDArray[np.float64]:
    """Return P(keep) of each text, (texts,); 0 for a text without entries.

    Args:
        rows: (L,) text of each match.
        matches: (L,) entry of each match.
        p: (M,) p_e.
        texts: number of texts.
    """
    dropped = np.ones(texts)
    np.multiply.at(dropped, rows, 1 - p[matches])
    return 1 - dropped


def _chances(matcher: Matcher, p: NDArray[np.float64], texts: Sequence[str]) -> NDArray[np.float64]:
    """Return P(keep) of N texts, (N,); of one that its first words keep for sure, no more are read."""
    heads = [text if len(text) <= HEAD else text[: max(0, text.rfind(" ", 0, HEAD))] for text in texts]
    chances = keep_probabilities(*matcher.match(heads), p, len(texts))
    rest = [i for i in np.flatnonzero(chances < 1).tolist() if len(texts[i]) > HEAD]
    if rest:
        chances[rest] = keep_probabilities(*matcher.match([texts[i] for i in rest]), p, len(rest))
    return chances


@dataclass(frozen=True)
class MetaCLIP(Curator):
    """Match texts against metadata, and balance how often the entries appear.

    Use it to make a training pool from raw alt-texts, where a few subjects are far more frequent than all others.

    Args:
        metadata: "wordnet" (the nouns in diptych, default), a JSON list, or a text file with one entry per line.
        t: texts up to which an entry is not thinned, >= 1; 20,000 (the paper's, for 1.6 G pairs). Infinity keeps all
            texts that match. A good t has 3 to 6 % of the matched entries above it.
        tail: share of the matches on entries below t, in [0, 1]; t is then the count that comes closest to it in the
            plan, as MetaCLIP 2 has it for every language (0.06). 0: t as it is.

    Raises:
        UsageError: t is below 1, or tail is outside [0, 1].

    Source: Xu et al. 2024, section 3, algorithm 1. Written from the paper: the authors' code was not read for this
        file.

    Example:
        The entry "dog" is in 1,000 texts, "axolotl" in 5; the second text contains both:

        >>> p = entry_probabilities(np.array([1000, 5], dtype=np.uint64), t=100)
        >>> p.tolist()
        [0.1, 1.0]
        >>> rows, matches = np.array([0, 1, 1]), np.array([0, 0, 1])
        >>> keep_probabilities(rows, matches, p, texts=3).round(3).tolist()
        [0.1, 1.0, 0.0]
    """

    metadata: str = WORDNET
    t: float = 20_000
    tail: float = 0.0

    def __post_init__(self) -> None:
        check(self, at_least(1), "t")
        check(self, between(0, 1), "tail")

    def threshold(self, plan: EntryCounts) -> float:
        """Return t, or that of a plan whose tail has the share ``tail`` of its matches.

        Raises:
            UsageError: no text of the plan contains an entry.
        """
        return threshold_for(plan.counts, self.tail) if self.tail else self.t

    def thinned(self, plan: EntryCounts) -> dict[str, float | None]:
        """Return t with a plan, None where nothing is thinned, and the share of its matches on entries below t."""
        t = self.threshold(plan)
        return {"threshold": t if math.isfinite(t) else None, "tail_share": tail_share(plan.counts, t)}

    @cached_property
    def matcher(self) -> Matcher:
        """Return the matcher of the metadata, built once.

        Raises:
            UsageError: there is no such metadata file.
            DataError: the file has no entries.
        """
        return Matcher(entries(self.metadata))

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> EntryCounts:
        """Count the texts that contain each entry, with a few chunks of texts in memory at a time.

        Raises:
            UsageError, DataError: as ``matcher``.
        """
        matcher = self.matcher
        counts, texts, matched = np.zeros(len(matcher.entries), dtype=np.uint64), 0, 0
        with run.track("count texts") as bar:
            for some, (rows, matches) in _ahead(matcher.match, stream, run.workers):
                counts += np.bincount(matches, minlength=len(counts)).astype(np.uint64)
                texts, matched = texts + len(some), matched + int((np.diff(rows, prepend=-1) != 0).sum())
                bar.advance(len(some))
        return EntryCounts(matcher.entries, counts, texts, matched)

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield a verdict for each text, with P(keep) as its score.

        Raises:
            UsageError: the plan is from another system, or counts other metadata.
            DataError: as ``matcher``.
        """
        matcher = self.matcher
        if not isinstance(plan, EntryCounts) or plan.entries != matcher.entries:
            raise UsageError("The plan counts other metadata than these: plan and apply with the same entries.")
        p, seed = entry_probabilities(plan.counts, self.threshold(plan)), run.integer("keep")
        for some, chances in _ahead(partial(_chances, matcher, p), stream, run.workers):
            keep = chances > 0
            for i in np.flatnonzero(keep & (chances < 1)).tolist():
                keep[i] = uniform(seed, int(some.positions[i])) < chances[i]
            yield Verdicts(some.positions, keep, chances)

    def read_plan(self, path: Path) -> EntryCounts:
        """Return the plan that ``EntryCounts.write`` wrote; raises DataError where it is none."""
        return read_entry_counts(path, "metaclip")


def _ahead(work: Callable[[Sequence[str]], T], stream: Stream[Any], workers: int) -> Iterator[tuple[Block, T]]:
    """Yield blocks with what work returns of their texts, in order; threads do a few blocks ahead."""
    waiting: deque[tuple[Block, Future[T]]] = deque()
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="match") as pool:
        for block in blocks(stream):
            waiting.append((block, pool.submit(work, block.texts())))
            if len(waiting) > max(1, workers):
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
