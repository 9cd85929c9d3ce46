from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from diptych.core import Kit, Plan, Run, Stream, UnreadableItem, Verdict, Verdicts
from diptych.core.blocks import blocks
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.curate.judged import judged


@dataclass(frozen=True)
class Items:
    """Twelve texts; 3, and all from 8 to 9, cannot be read."""

    start: int = 0

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        broken = {i: UnreadableItem(str(i), "has no text") for i in (3, 8, 9)}
        return ((10 + i, broken.get(i, f"text {i}")) for i in range(self.start, 12))

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return ((at, item) for at, item in self.outcomes() if isinstance(item, str))

    def seek(self, position: int) -> Items:
        return replace(self, start=position - 10)


def is_kept(text: str) -> bool:
    return int(text.split()[1]) % 3 == 1


@dataclass(frozen=True)
class Blocks(MetaCLIP):
    """Keeps every third, cannot judge 5, and says which are odd."""

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        for block in blocks(stream):
            texts = block.texts()
            five = {i: "a five" for i, text in enumerate(texts) if text == "text 5"}
            scores = np.array([math.nan if i in five else float(len(text)) for i, text in enumerate(texts)])
            labels = [("odd",) if int(text.split()[1]) % 2 else () for text in texts]
            yield Verdicts(block.positions, np.array([is_kept(text) for text in texts]), scores, five, labels)


class ByRows(Blocks):
    def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
        yield from super().apply(kit, plan, stream, run)


def answers(curator: Any, **settings: Any) -> tuple[list[int], list[tuple[str, str]], int]:
    """Return numbers of items that came together, the items with their verdicts, and the last position."""
    counts, rows, last = list[int](), list[tuple[str, str]](), -1
    for count, position, some in judged(curator, Kit(), Any, Items(), Run(), **settings):  # type: ignore[arg-type]
        counts.append(count)
        last = position
        rows += [(str(item), str(verdict)) for item, verdict in some]
    return counts, rows, last


@pytest.mark.parametrize("passed", [0, 1, 4, 9])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_blocks_and_rows_give_the_same(size: int, passed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.core.blocks.chunks.__defaults__", (size,))
    for part in (1, 3, 100):
        counts, rows, last = answers(Blocks(), part=part, passed=passed)
        ones, expected, same_last = answers(ByRows(), part=part, passed=passed)
        assert (rows, last) == (expected, same_last)
        assert (sum(counts), sum(ones), last) == (12 - passed, 12 - passed, 21)
        ends = np.cumsum(counts)
        assert {*range(part, 12 - passed, part)} <= {*ends.tolist()}
    assert len(rows) == len([i for i in range(passed, 12) if i % 3 == 1 or i in (3, 5, 8, 9)])


def test_a_curator_that_miscounts_is_named() -> None:
    class Few(Blocks):
        def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
            for some in super().decide(kit, plan, stream, run):
                yield Verdicts(some.positions[1:], some.keep[1:], some.scores[1:])

    class Many(Blocks):
        def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
            for some in super().decide(kit, plan, stream, run):
                yield from (some, some)

    class Nothing(Blocks):
        def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
            return iter(())

    for kind, said in (
        (Few, "one verdict for each pair"),
        (Nothing, "one verdict for each pair"),
        (Many, "more blocks"),
    ):
        with pytest.raises(ValueError, match=said):
            answers(kind())


def test_which_of_apply_and_decide_counts() -> None:
    class Again(ByRows):
        def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
            return super().decide(kit, plan, stream, run)

    assert [kind().by_rows for kind in (Blocks, ByRows, Again)] == [False, True, False]
