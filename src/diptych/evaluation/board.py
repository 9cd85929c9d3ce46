"""What every board is: rows that were measured one after the other on the same data, what could not be measured, and
the two files that say so. The boards of verbs, of classifiers and of audits are of this one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from diptych.core import DataError, Run, UnreadableItem, UsageError
from diptych.data.files import plain, read_json, refuse, write_json
from diptych.evaluation.schedule import Limits, Worked, work
from diptych.tasks.record import write_table

J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True)
class BoardOf(Generic[R]):
    """A finished or interrupted board. A subclass says how a row becomes plain data and lines of a table.

    Args:
        verb: what the systems do.
        rows: in the order in which they are shown.
        missing: row -> why it could not run.
        late: row -> what the budget or a time-out left out.
        interrupted: whether Ctrl-C ended it.
        failed: items that cannot be read.
        facts: data, seeds, backbone, device, versions, command, date, as plain data.
    """

    verb: str
    rows: tuple[R, ...]
    missing: Mapping[str, str]
    late: Mapping[str, str]
    interrupted: bool
    failed: tuple[UnreadableItem, ...]
    facts: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether nothing was cut short, by Ctrl-C, the budget or a time-out."""
        return not self.interrupted and not self.late

    def reasons(self) -> dict[str, list[str]]:
        """Return why rows are missing or late -> their labels."""
        return by_reason(self.missing, self.late)

    def row(self, row: R) -> dict[str, Any]:
        """Return plain data of a row."""
        raise NotImplementedError

    def lines(self, row: R) -> list[dict[str, Any]]:
        """Return the lines of a row in board.csv: column -> value."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        ended = {"complete": self.complete, "missing": self.missing, "late": self.late}
        skipped, rows = [str(e) for e in self.failed], [self.row(row) for row in self.rows]
        about = {"kind": "board", "verb": self.verb, **self.facts}
        return plain({**about, **ended, "skipped": skipped, "rows": rows})

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json and board.csv; raises UsageError where one exists and ``overwrite`` is False."""
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)
        write_table(out / "board.csv", [line for row in self.rows for line in self.lines(row)], overwrite=overwrite)


def measured(
    jobs: Sequence[J],
    measure: Callable[[J], M],
    run: Run,
    *,
    label: Callable[[J], str],
    always: Sequence[J],
    budget: float | None,
) -> Worked[J, M]:
    """Measure the rows of a board one after the other, see ``schedule.work``.

    What stops the first row of ``always``, the base, stops the board, unless it only does not fit: the data are then at
    fault. What stops another row is named in its place. Ctrl-C and the budget leave the rows that were finished.

    Args:
        jobs: one per row.
        measure: a job -> its row.
        run: progress.
        label: of a job.
        always: rows that the budget does not stop.
        budget: seconds for all rows; None: no end.

    Raises:
        Unwritten: a finished row cannot be kept.
        KeyboardInterrupt: before any row was finished.
    """
    return work(
        jobs, measure, run, label=label, always=always.__contains__, stops=always[0].__eq__, limits=Limits(budget)
    )


def by_reason(*missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Return why something is missing -> the labels of all that is."""
    labels: dict[str, list[str]] = {}
    for label, reason in (pair for table in missing for pair in table.items()):
        labels.setdefault(reason, []).append(label)
    return labels


def expect(out: Path, verb: str, facts: Mapping[str, Any] | None = None, *, whole: bool = False) -> None:
    """Refuse to write over a board, unless the same command goes on with it. Once the data are open, their facts show
    whether they are the same.

    Args:
        out: folder of the board.
        verb: of the board that is to be written.
        facts: of its data: what decides that they are the same; None: not known yet.
        whole: whether a board that is complete is gone on with too, and data are the same where either fact is; else
            only one that was cut short, and both must be.

    Raises:
        UsageError: there is a whole board, one of another verb or other data, or another file of its name.
    """
    path = out / "board.json"
    if not path.exists():
        if not whole:
            refuse(out / "board.csv", False)
        return
    try:
        before = read_json(path)
    except DataError:
        before = {}
    if before.get("kind") != "board":
        raise UsageError(f"{path} exists and is no board: give another {{out}} or {{overwrite}}.")
    if before.get("verb") != verb:
        raise UsageError(
            f"{path} exists and is a board of {before.get('verb')}: give another {{out}} or {{overwrite}}."
        )
    if not whole and before.get("complete") is not False:
        refuse(path, False)
    name, hash_of = ("source" if whole else "dataset"), "data_hash"
    if facts is None:
        return
    same = [before.get(fact) == facts.get(fact) for fact in (name, hash_of)]
    if not (any(same) if whole else all(same)):
        data, given = before.get(name), facts.get(name)
        other = f"data named {data} that have changed since" if data == given else f"{data}, not {given}"
        raise UsageError(f"{path} is a board of {other}: give another {{out}} or {{overwrite}}.")
