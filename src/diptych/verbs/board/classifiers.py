"""What ``board classify`` answers: the rows of one board of classifiers, or of several with their mean ranks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import DataError
from diptych.core.wording import number_of
from diptych.verbs.answer import Answer, Shown, counted
from diptych.verbs.board.measured import INTERRUPTED, nothing_measured

if TYPE_CHECKING:
    from diptych.evaluation.few_shot.board import Board
    from diptych.evaluation.few_shot.gains import Row
    from diptych.evaluation.pages.comparison import Comparison


class Classifiers(Answer[Any]):
    """The rows of one board, or of several with their mean ranks."""

    rows_key = "rows"
    item_kind = "system"
    listed = False

    def __init__(
        self, boards: Sequence[Board], shown: Sequence[Mapping[str, Any]], out: Path | None, notes: Sequence[str], *,
        several: bool, export: str | None, unchanged: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(row for board in boards for row in board.rows)
        self.boards, self.shown, self.out, self.noted = list(boards), list(shown), out, list(notes)
        self.several, self.export = several, export
        self.unchanged, self.interrupted = unchanged, any(board.interrupted for board in boards)
        self.failed: list[Any] = [error for board in boards for error in board.failed]
        if unchanged:  # errors of the board that was read are sentences
            self.failed = [line for board in shown for line in board["skipped"]]
        self.exit_code = 130 if self.interrupted else 0
        self.compared = self._compared()

    def title(self, items: Sequence[Row]) -> str:
        """Return what was measured on what, and what was left out."""
        titles = []
        for board in self.boards:
            left_out = [f"left out: {', '.join(labels)} ({reason})" for reason, labels in board.reasons().items()]
            photos = (
                f"{board.data.name}: {len(board.test)} {board.facts['measured']} photos, {len(board.classes)} classes"
            )
            titles += [f"{photos}, {board.facts['spec']['name']}", *left_out]
        return "\n".join(titles)

    def name(self, item: Row) -> str:
        """Return the system, with its shots."""
        return f"{item.label}, {number_of(item.shots, 'shot')}" if item.shots else item.label

    def line(self, item: Row) -> str:
        """Return top-1 with its interval."""
        value, (low, high) = item.metrics["acc1"], item.ci95["acc1"]
        return f"{100 * value:.1f} % ({100 * low:.0f}-{100 * high:.0f})"

    def label(self, item: Row) -> str:
        """Return the system."""
        return item.label

    def columns(self, items: Sequence[Row]) -> dict[str, list[Any]]:
        """Return systems, top-1 with its interval, gain and p; the data set where there are several."""
        ends = [(r.metrics["acc1"], *r.ci95["acc1"]) for r in items]
        sets = {"data": [m.data.name for m in self.boards for _ in m.rows]} if len(self.boards) > 1 else {}
        return {
            **sets, "method": [r.method for r in items], "variant": [r.variant for r in items],
            "shots": [r.shots for r in items],
            **({"fitted": [r.fitted.get("folder", "") for r in items]} if any(r.fitted for r in items) else {}),
            **{name: [value[k] for value in ends] for k, name in enumerate(("acc1", "low", "high"))},
            "gain": [None if r.gain is None else r.gain.value for r in items], "p": [r.p for r in items],
        }  # fmt: skip

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the board as its file has it, or several, and the remarks."""
        return {**({"boards": self.shown} if self.several else self.shown[0]), "remarks": list(remarks)}

    def tables(self) -> list[Shown | str]:
        """Return the table of each board with its recommendation, and the names of files."""
        from diptych.evaluation.few_shot.plan import MODEL, PAGE

        parts: list[Shown | str] = []
        for board, folder in zip(self.shown, self._folders(), strict=True):
            parts += tables_of(board)
            if self.export:
                parts.append(_exported(board, self.export, folder / MODEL))
            parts.append(f"{folder / PAGE}")
        if self.compared is not None:
            parts += [*ranks_of(self.compared), f"{self._page()}"]
        return parts

    def notes(self) -> list[str]:
        """Return how fast the photos were encoded."""
        if self.unchanged:
            (board,) = self.shown
            return [f"{encoding(board)}; nothing has changed since {board['date']}, so no row was run"]
        return [encoding(board) for board in self.shown]

    def remarks(self, items: Sequence[Row]) -> list[str]:
        """Return what was noted on the way, and whether a board was interrupted."""
        return [*self.noted, INTERRUPTED] if self.interrupted else self.noted

    def verdict(self) -> DataError | None:
        """Return an error where no row was finished on any data set."""
        if self.unchanged and any(board["rows"] for board in self.shown):
            return None  # the rows are in the file that was read
        return nothing_measured(self.boards, ", ".join(board["dataset"] for board in self.shown))

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the comparison; the boards are written."""
        if self.compared is not None:
            self.compared.write(folder, overwrite=overwrite)
        return []

    def _compared(self) -> Comparison | None:
        if len(self.boards) < 2:
            return None
        from diptych.evaluation.pages import comparison

        try:
            return comparison.compare(self.boards)
        except DataError as error:
            self.noted.append(error.args[0])
            return None

    def _page(self) -> Path:
        from diptych.evaluation.pages import comparison

        return (self.out or Path()) / comparison.PAGE

    def _folders(self) -> list[Path]:
        out = self.out or Path()
        if not self.several:
            return [out]
        from diptych.tasks.label_maps.segmented import stems

        return [out / stem for stem in stems([board["dataset"].replace(":", "-") for board in self.shown])]


def encoding(board: Mapping[str, Any]) -> str:
    """Return one line about what was encoded."""
    n, seconds = board["encode"]["images"], board["encode"]["image_seconds"]
    rate = counted(int(n), seconds) if n else "all images from the cache"
    where = f"{board['spec']['name']} on {board['device']}, {board['precision']}"
    return f"{where}: {rate}; texts {board['encode']['text_seconds']:.1f} s"


def tables_of(board: Mapping[str, Any]) -> list[Shown | str]:
    """Return a board as written, percentages with 95 % intervals, then what is missing or late, then the choice."""
    from diptych.evaluation.board import by_reason

    rows = []
    for row in board["rows"]:
        low, high = row["ci95"]["acc1"]
        gain = "" if row["gain"] is None else f"{100 * row['gain']['acc1']:+.1f}"
        p = row["p_holm"]
        rows.append(
            (
                called(row["method"], row["variant"], row["shots"], row.get("fitted", {}).get("folder", "")),
                f"{100 * row['metrics']['acc1']:.1f} ({100 * low:.0f}-{100 * high:.0f})",
                gain,
                "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0"),
                f"{100 * row['metrics']['ece']:.0f}",
                f"{row['seconds']['fit']:.1f}+{row['seconds']['predict']:.1f}",
                _extra(row),
            )
        )
    photos = f"{board['items']} {board['measured']} photos, {len(board['classnames'])} classes"
    columns = ["system", "top-1 (95 %)", "gain", "p", "ECE", "fit+predict s", "extra"]
    title = f"{board['dataset']}: {photos}, {board['spec']['name']}"
    reasons = by_reason(board["missing"], board["late"])
    absent = [f"{'; '.join(labels)}: {reason}" for reason, labels in reasons.items()]
    return [Shown(columns, rows, range(1, 6), title, (5, 6, 4)), *absent, *_advice(board)]


def _advice(board: Mapping[str, Any]) -> list[str]:
    choice = board["choice"]
    if choice is None:
        apart = "train split" if board["measured"] == "val" else "val or train split"
        why = f"there is no {apart} to choose on" if board["rows"] else "no row is finished"
        why = "no system may be chosen where none sees val" if board.get("val") == "none" else why
        return [f"No recommendation: {why}."]
    on, reached, measured = choice["chosen_on"], choice["test"], board["measured"]
    name = called(choice["method"], choice["variant"], choice["shots"])
    apart = "that fit had seen too" if on["seen_by_fit"] else f"apart from {measured}, seen by no system"
    return [
        f"Recommended: {name}: {100 * on['acc1']:.1f} % of {on['items']:.0f} photos {apart}.",
        f"On {measured} it reached {100 * reached['acc1']:.1f} % ({100 * reached['ci95'][0]:.1f}-"
        f"{100 * reached['ci95'][1]:.1f}).",
    ]


def _exported(board: Mapping[str, Any], export: str, model: Path) -> str:
    """Return where a system was exported to, or why it was not: a folder of an earlier run is not taken for it."""
    rows = [row for row in board["rows"] if not row.get("fitted")]
    if board["choice"] if export == "best" else any(row["method"] == export for row in rows):
        return f"{model}: diptych classify PHOTOS --model {shlex.quote(str(model))}"
    why = "there is no recommendation" if export == "best" else f"no row of {export} is finished"
    return f"Nothing was exported: {why}." + (f" {model} is of an earlier run." if model.exists() else "")


def ranks_of(compared: Comparison) -> list[Shown | str]:
    """Return mean ranks over several data sets."""
    ranked = sorted(zip(compared.systems, compared.ranks, strict=True), key=lambda pair: pair[1])
    rows = [(name, f"{rank:.2f}") for name, rank in ranked]
    line = f"\nMean rank over {len(compared.datasets)} data sets. {compared.remark}"
    return [line, Shown(["system", "rank"], rows, (1,))]


def called(slug: str, variant: str, shots: int, folder: str = "") -> str:
    """Return what a row is called where it must be short: by the name that ``methods`` takes, and the folder from which
    it was loaded.
    """
    number = number_of(shots, "shot") if shots else ""
    source = f"loaded from {folder}" if folder else ""
    return ", ".join(part for part in (slug, variant, number, source) if part)


def _extra(row: Mapping[str, Any]) -> str:
    """Return what a system was given besides class names."""
    given = {"photos": row["images"], "texts": row["extra_texts"]}
    return ", ".join(f"{count} {what}" for what, count in given.items() if count) or "-"
