"""``board audit``: all findings about several backbones, beside the first one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError, UsageError
from diptych.core.wording import short_names
from diptych.verbs import kinds
from diptych.verbs.answer import Shown
from diptych.verbs.arguments import argument
from diptych.verbs.audit.models import Tabled
from diptych.verbs.board.board import BUDGET, OFFERS, refuse_other
from diptych.verbs.board.measured import Measures

if TYPE_CHECKING:
    from pathlib import Path

    from diptych.evaluation.boards.audit import AuditBoard, AuditedBackbone, Key
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class BoardAudit(Tabled):
    """Run the same audits on several backbones, and compare each with the first, paired where possible."""

    name: ClassVar[str] = "board audit"
    examples: ClassVar[tuple[str, ...]] = (
        "board audit birds/ --against tiny",
        "board audit birds/ --shift night=night/ --only holistic-robustness --against tiny",
    )
    item: ClassVar[str] = "AuditedBackbone"
    out: ClassVar[str] = "out/board-audit"
    out_help: ClassVar[str] = "Folder for rows and board."
    without_out: ClassVar[str] = "None: no row is kept."
    report: ClassVar[str] = ""
    offers: ClassVar[tuple[str, ...]] = OFFERS

    against: str | Sequence[str] = argument(
        "A backbone to compare with the first; repeat for several.", kinds.TEXTS, (), panel="Model"
    )
    only: str | Sequence[str] = argument("Audits to run, with commas (default: all).", kinds.WORDS, ())
    budget: float | None = argument(BUDGET, default=None)

    def chooses(self) -> bool:
        """Return False: the audits are all that fit."""
        return False

    def check(self) -> None:
        """Refuse a board of one backbone."""
        if not self.against:
            raise UsageError("A board of audits compares at least two backbones: give another one with {against}.")
        if loaded := [b for b in kinds.TEXTS.read(self.against) if not isinstance(b, str)]:
            raise UsageError(f"{{against}} names backbones, not a {type(loaded[0]).__name__}: give for example 'tiny'.")

    def run(self, context: Context) -> ComparedBackbones:
        """Open the tables, then the backbone, and audit it and the others."""
        from diptych.evaluation.boards.audit import AuditBench, audit_board

        refuse_other(context, "audit")
        opened = self.opened(context.keys)
        base = context.model()
        run, only = context.run(), kinds.words(self.only)
        tables, failed = opened.gathered(self.names, base, run)
        bench = AuditBench(opened.data.name, tables, base, run, only, failed)
        refuse_other(context, "audit", bench.facts)
        names: tuple[str, ...] = kinds.TEXTS.read(self.against)
        board = audit_board(bench, names, context.model, budget=self.budget, keep=context.out, command=context.command)
        return ComparedBackbones(board, context.out, self.noted(opened), data=str(self.data))


class ComparedBackbones(Measures):
    """Findings about several backbones, in the order in which they were named."""

    board: AuditBoard
    item_kind = "backbone"

    def __init__(self, board: AuditBoard, out: Path | None, notes: Sequence[str], *, data: str) -> None:
        super().__init__(board, out, notes)
        self.source = data

    def title(self, items: Sequence[AuditedBackbone]) -> str:
        """Return what was audited."""
        counted = sum(p["items"] for p in self.board.facts["tables"].values())
        first = self.board.rows[0].backbone
        return f"{self.board.facts['dataset']}: {counted} items, * differs from {first} beyond doubt"

    def name(self, item: AuditedBackbone) -> str:
        """Return the backbone."""
        return item.backbone

    def line(self, item: AuditedBackbone) -> str:
        """Return how many measures could be tested, and how many differ from those of the first backbone."""
        tested = [key for key in self.board.keys if _finding(item, key, "value") is not None]
        apart = sum(self._differs(item, key) for key in tested)
        return f"{len(tested)} measures" + ("" if item is self.board.rows[0] else f", {apart} of them differ")

    def row(self, item: AuditedBackbone) -> dict[str, Any]:
        """Return plain data of a backbone."""
        rows: list[dict[str, Any]] = self.board.as_dict()["rows"]
        return rows[self.board.rows.index(item)]

    def columns(self, items: Sequence[AuditedBackbone]) -> Mapping[str, Sequence[Any]]:
        """Return a column for each measure that could be tested."""
        return {"_".join(filter(None, key)): [_finding(r, key, "value") for r in items] for key in self._tested()}

    def tables(self) -> list[Shown | str]:
        """Return the table and the name of the file, where something could be tested."""
        return super().tables() if self._tested() else []

    def table(self) -> Shown:
        """Return a line for each finding that is testable for a backbone, and a column for each backbone."""
        rows = self.board.rows
        shown = [
            (
                f"{measure.replace('_', ' ')}{' about ' if about else ''}{about}",
                *(self._cell(row, (audit, measure, about)) for row in rows),
            )
            for audit, measure, about in self._tested()
        ]
        names = short_names([row.backbone for row in rows])
        return Shown(("finding, 95 % interval", *names), shown, (), self.title(rows), range(len(names), 1, -1))

    def silent(self) -> list[str]:
        """Return what could not be tested or run."""
        untested = len(self.board.keys) - len(self._tested())
        lines = [f"Not testable here: {untested} of {len(self.board.keys)} measures. The JSON says why."]
        return [*(lines if untested else ()), *(f"{a} was not run: {why}" for a, why in self._lacking().items())]

    def verdict(self) -> DataError | None:
        """Return an error where nothing could be tested."""
        if self._tested():
            return None
        return DataError(f"Nothing could be tested on {self.source}: {' '.join(self._lacking().values())}")

    def _lacking(self) -> dict[str, str]:
        return {audit: reason for row in self.board.rows for audit, reason in row.lacking.items()}

    def _tested(self) -> list[Key]:
        return [k for k in self.board.keys if any(_finding(row, k, "value") is not None for row in self.board.rows)]

    def _differs(self, row: AuditedBackbone, key: Key) -> bool:
        gain = self.board.gain(row, key)
        return gain is not None and (gain[0].low > 0 or gain[0].high < 0)

    def _cell(self, row: AuditedBackbone, key: Key) -> str:
        value = _finding(row, key, "value")
        if value is None:
            return "-"
        factor, digits = (100, 1) if _finding(row, key, "unit") == "fraction" else (1, 2)
        interval = _finding(row, key, "interval")
        low, high = ("" if e is None else f"{factor * e:.{digits}f}" for e in interval or (None, None))
        ends = f" [{low}, {high}]" if interval else ""
        return f"{factor * value:.{digits}f}{ends}{'*' if self._differs(row, key) else ''}"


def _finding(row: AuditedBackbone, key: Key, name: str) -> Any:
    number = row.keys().get(key)
    return None if number is None else row.findings[number][name]
