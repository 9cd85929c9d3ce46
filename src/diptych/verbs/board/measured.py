"""What boards of systems answer: the table, the files, and what could not be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import DataError
from diptych.verbs.answer import Answer, Shown

if TYPE_CHECKING:
    from diptych.evaluation.board import BoardOf
    from diptych.evaluation.boards.verb import BoardRow, VerbBoard

INTERRUPTED = "Interrupted: the board holds the rows that were finished; the same command goes on from there."
HEADINGS: Mapping[str, str] = {
    "precision": "right %",  # of curate; all names that are not listed, such as "kept", are in percent
    "t": "t",
    "cider_d": "CIDEr-D",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "clip_score": "CLIPScore",
    "acc1": "top-1 %",
    "recall_at_1": "R@1 %",
    "recall@1": "R@1 %",
    "miou": "mIoU %",
    "pixel_accuracy": "pixels %",
    "pq": "PQ %",
    "pq_things": "PQ things %",
    "pq_stuff": "PQ stuff %",
    "mask_ap": "mask AP %",
    "image_auroc": "AUROC %",
    "image_ap": "AP %",
    "pixel_auroc": "pixel AUROC %",
    "pixel_ap": "pixel AP %",
    "pro": "PRO %",
    "false_alarms": "alarms %",
    "detected": "found %",
    "eer": "EER %",
    "hter": "HTER %",
    "acer": "ACER %",
    "fit_seconds": "fit s",
    "images_a_second": "img/s",
    "region_accuracy": "regions %",
    "crop_accuracy": "crops %",
    "slot_accuracy": "slots %",
    "dense_probe_miou": "dense mIoU %",
    "steps": "steps",
    "train_seconds": "train s",
}
"""Metric -> heading; those in percent are fractions in files."""
ONE_DIGIT = ("fit_seconds", "images_a_second", "steps", "train_seconds")
"""Numbers that are shown with one digit."""


def nothing_measured(boards: Sequence[BoardOf[Any]], named: str) -> DataError | None:
    """Return the error of boards that were not interrupted and have no row; None where one has a row.

    Args:
        boards: at least one.
        named: what the data are called.
    """
    if any(board.rows or board.interrupted for board in boards):
        return None
    reasons = dict.fromkeys(reason for board in boards for reason in board.reasons())
    return DataError(f"Nothing could be measured on {named}: {' '.join(reasons)}")


class Measures(Answer[Any]):
    """The rows of a board, its files, and what could not be measured."""

    rows_key = "rows"
    item_kind = "system"
    listed = False

    def __init__(self, board: Any, out: Path | None, notes: Sequence[str] = ()) -> None:
        super().__init__(iter(board.rows))
        self.board, self.out, self.noted = board, out, list(notes)
        self.failed += board.failed
        self.exit_code = 130 if board.interrupted else 0

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the board as its file has it, and the remarks."""
        return {**self.board.as_dict(), "remarks": list(remarks)}

    def tables(self) -> list[Shown | str]:
        """Return the table, and the name of the file."""
        shown: list[Shown | str] = [self.table()] if self.board.rows else []
        return shown if self.out is None else [*shown, str(self.out / "board.json")]

    def table(self) -> Shown:
        """Return the rows as a table."""
        raise NotImplementedError

    def remarks(self, items: Sequence[Any]) -> list[str]:
        """Return what did not run, and whether the board was interrupted."""
        absent = (*self.board.missing.items(), *self.board.late.items())
        lines = [*self.noted, *(f"{label} did not run: {reason}" for label, reason in absent), *self.silent()]
        return [*lines, INTERRUPTED] if self.board.interrupted else lines

    def silent(self) -> Sequence[str]:
        """Return further remarks."""
        return ()

    def verdict(self) -> DataError | None:
        """Return an error where no row was finished."""
        return nothing_measured([self.board], str(self.board.facts["dataset"]))

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the files; what lies there is an earlier part of the same board, or may be replaced."""
        self.board.write(folder, overwrite=True)
        return []


class BoardRows(Measures):
    """Systems of one verb, best first."""

    board: VerbBoard

    def title(self, items: Sequence[BoardRow]) -> str:
        """Return what was measured on what."""
        facts, seeds = self.board.facts, ", ".join(map(str, self.board.facts["seeds"]))
        title = f"{facts['dataset']}: {facts['items']} items, {facts['backbone']}, seeds {seeds}, gain over "
        title += facts["base"]
        if "object" in facts:  # of the data's name where the user gave none
            title += f", photos of {facts['object']!r} to those that read words"
        return f"{title}, alarms at a rate of {facts['rate']:g}" if "false_alarms" in self.board.others else title

    def name(self, item: BoardRow) -> str:
        """Return the system."""
        return item.label

    def line(self, item: BoardRow) -> str:
        """Return the metric and the gain."""
        value, gain, *_ = self._cells(item)
        return f"{_heading(self.board.metric)} {value}{f', gain {gain}' if gain else ''}"

    def row(self, item: BoardRow) -> dict[str, Any]:
        """Return plain data of a system."""
        return item.as_dict(self.board.metric)

    def columns(self, items: Sequence[BoardRow]) -> dict[str, list[Any]]:
        """Return systems, the metric with its interval, the gain and further numbers."""
        ends = ("value", "low", "high")
        gains = [None if r.gain is None else r.gain for r in items]
        return {
            "method": [r.arm.system for r in items], "variant": [r.arm.variant for r in items],
            self.board.metric: [r.value.value for r in items],
            "low": [r.value.low for r in items], "high": [r.value.high for r in items],
            **{n: [None if g is None else getattr(g, e) for g in gains]
               for n, e in zip(("gain", "gain_low", "gain_high"), ends, strict=True)},
            **{name: [r.others.get(name) for r in items] for name in self.board.others},
            "seconds": [r.seconds for r in items],
        }  # fmt: skip

    def table(self) -> Shown:
        """Return a line for each system, with intervals."""
        others = [_heading(name) for name in self.board.others]
        columns = ["system", f"{_heading(self.board.metric)} (95 %)", "gain", *others, "s"]
        last = range(len(columns) - 1, 2, -1)
        cells = [
            (r.label, *self._cells(r), *(_number(name, r.others) for name in self.board.others), f"{r.seconds:.1f}")
            for r in self.board.rows
        ]
        return Shown(columns, cells, range(1, len(columns)), self.title(self.board.rows), last)

    def _cells(self, row: BoardRow) -> tuple[str, str]:
        factor, digits = (100, 1) if "%" in _heading(self.board.metric) else (1, 3)
        value, low, high = (f"{factor * v:.{digits}f}" for v in (row.value.value, row.value.low, row.value.high))
        if row.gain is None:
            return f"{value} ({low}-{high})", ""
        gained, least, most = (f"{factor * v:+.{digits}f}" for v in (row.gain.value, row.gain.low, row.gain.high))
        return f"{value} ({low}-{high})", f"{gained} ({least} to {most})"


def _heading(name: str) -> str:
    """Return a heading; of top-1 on another set its name alone, for columns are dear."""
    return HEADINGS.get(name, f"{name.removeprefix('acc1 on ')} %")


def _number(name: str, others: Mapping[str, float]) -> str:
    if name not in others:
        return "-"
    return f"{100 * others[name]:.1f}" if "%" in _heading(name) else f"{others[name]:.{1 if name in ONE_DIGIT else 3}f}"
