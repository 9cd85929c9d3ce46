"""``board few-shot``: the field's few-shot protocol in one command that goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.verbs.answer import Answer, Shown
from diptych.verbs.arguments import argument
from diptych.verbs.board.board import BoardVerb, the_same, whole_numbers
from diptych.verbs.board.classifiers import tables_of
from diptych.verbs.board.classify import BoardClassify, pool_of
from diptych.verbs.board.measured import INTERRUPTED, nothing_measured
from diptych.verbs.kinds import Kind
from diptych.verbs.photos import open_labelled
from diptych.verbs.train.fitting import several

if TYPE_CHECKING:
    from pathlib import Path

    from diptych.core import DataError
    from diptych.evaluation.few_shot.protocol import Protocol, Reach
    from diptych.verbs.context import Context
    from diptych.verbs.names import TextsLike

PAGE = "protocol.html"
DATA_SETS = Kind(list[str] | None, None, several)


@dataclass(frozen=True, kw_only=True)
class BoardFewShot(BoardVerb):
    """Measure shots 1 to 16, base to new classes, other data sets and shifted test sets, with three seeds."""

    name: ClassVar[str] = "board few-shot"
    systems_of: ClassVar[str] = "classify"
    item: ClassVar[str] = "Reach"
    out: ClassVar[str] = "out/few-shot"
    out_help: ClassVar[str] = "Results folder; the same command resumes from it."
    python_out: ClassVar[Any] = "must"
    examples: ClassVar[tuple[str, ...]] = (
        "board few-shot clothes/ --methods zero-shot,gda", "board few-shot birds/ --cross flowers/ --shifted sketches/",
    )  # fmt: skip

    data: Any = argument(
        "A folder with train and test, a table, or demo:clothes.", Kind(str), flag="DATA", positional=True
    )
    methods: str | Sequence[str] | None = the_same(BoardClassify, "methods", ())
    settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = the_same(BoardClassify, "settings", ())
    shots: int | Sequence[int] = the_same(BoardClassify, "shots", (1, 2, 4, 8, 16))
    seeds: int | Sequence[int] = the_same(BoardClassify, "seeds", (1, 2, 3))
    val: str = the_same(BoardClassify, "val", "coop")
    cross: Any = argument("Another data set, with its own classes; repeat for several.", DATA_SETS, ())
    shifted: Any = argument("A test set of the same classes that looks different; repeat for several.", DATA_SETS, ())
    texts: TextsLike = the_same(BoardClassify, "texts", None)

    def run(self, context: Context) -> Measured:
        """Open the data, then the model, and measure every part."""
        from diptych.evaluation.few_shot.plan import Plan
        from diptych.evaluation.few_shot.protocol import protocol
        from diptych.evaluation.pages import protocol as page

        shots, seeds = (whole_numbers(n, "1,4,16").read(getattr(self, n)) for n in ("shots", "seeds"))
        rule: Any = self.val
        plan = Plan(tuple(self.methods or ()) or None, shots, seeds, rule, settings=tuple(self.settings))
        data, *others = (
            open_labelled(each, "classes", context.keys) for each in (self.data, *self.cross, *self.shifted)
        )
        assert context.out is not None  # every face has one
        result = protocol(
            data, context.model(), replace(context.run(), out=context.out), plan, cross=others[: len(self.cross)],
            shifted=others[len(self.cross) :], texts=pool_of(self.texts),
            source=os.fspath(self.data) if isinstance(self.data, (str, os.PathLike)) else "",
            command=context.command, overwrite=context.overwrite,
        )  # fmt: skip
        page.write(result, context.out / PAGE)
        return Measured(result, context.out / PAGE)


class Measured(Answer[Any]):
    """What each system reached in each place, and the board of shots."""

    rows_key = "reaches"
    item_kind = "system"
    listed = False

    def __init__(self, result: Protocol, page: Path) -> None:
        super().__init__(iter(result.reaches))
        self.result, self.page = result, page
        self.failed: list[Any] = list(result.board.failed)
        self.exit_code = 0 if result.complete else 130

    def title(self, items: Sequence[Reach]) -> str:
        """Return the data set."""
        return f"Few-shot protocol on {self.result.board.data.name}"

    def name(self, item: Reach) -> str:
        """Return the system with its shots."""
        return item.label

    def line(self, item: Reach) -> str:
        """Return where it was measured, and top-1 with its interval."""
        accuracy = item.accuracy
        percent = f"{100 * accuracy.value:.1f} % ({100 * accuracy.low:.0f}-{100 * accuracy.high:.0f})"
        return f"{item.kind} {item.name}: {percent}"

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the protocol, and the remarks."""
        return {**self.result.as_dict(), "remarks": list(remarks)}

    def remarks(self, items: Sequence[Reach]) -> list[str]:
        """Return whether it was interrupted."""
        return [] if self.result.complete else [INTERRUPTED]

    def verdict(self) -> DataError | None:
        """Return an error where nothing was finished."""
        board, ended = self.result.board, self.result.reaches or not self.result.complete
        return None if ended else nothing_measured([board], board.data.name)

    def tables(self) -> Sequence[Shown | str]:
        """Return the board of shots, base to new, and what was measured elsewhere."""
        parts: list[Shown | str] = list(tables_of(self.result.board.as_dict()))
        if rows := [(label, *(f"{100 * v:.1f}" for v in values)) for label, values in self.result.harmonic().items()]:
            parts.append(Shown(("base to new", "base", "new", "harmonic"), rows, (1, 2, 3)))
        elsewhere = [r for r in self.result.reaches if r.kind in ("cross", "shift")]
        if elsewhere:
            cells = [(f"{r.kind} {r.name}", r.label, f"{100 * r.accuracy.value:.1f}") for r in elsewhere]
            parts.append(Shown(("measured on", "system", "top-1"), cells, (2,)))
        parts += [f"{'; '.join(labels)}: {reason}" for reason, labels in self.result.reasons().items()]
        return [*parts, str(self.page)]
