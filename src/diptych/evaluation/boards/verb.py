"""A board of any verb: every fitting system on the same items with the same seeds, and what each gains over one row."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core.errors import UnreadableItem, UsageError
from diptych.data.files import plain, write_json, write_whole
from diptych.evaluation.arms import Arm, Bench
from diptych.evaluation.boards.rows import Rows
from diptych.evaluation.kept import Unwritten
from diptych.evaluation.schedule import Limits, work
from diptych.metrics.interval import Interval
from diptych.tasks.record import circumstances


@dataclass(frozen=True)
class Row:
    """One system over all seeds.

    Args:
        arm: slug and row of its card.
        value: the metric, with its 95 % interval over items and seeds.
        gain: over the base row, paired by seed and item; None for that row, or where it could not run.
        others: further numbers.
        seeds: that were run.
        seconds: mean wall seconds of fitting and measuring, a seed.
    """

    arm: Arm
    value: Interval
    gain: Interval | None
    others: Mapping[str, float]
    seeds: tuple[int, ...]
    seconds: float

    @property
    def label(self) -> str:
        """What ``--methods`` takes."""
        return self.arm.label

    def as_dict(self, metric: str) -> dict[str, Any]:
        """Return plain data for JSON."""
        gain = None if self.gain is None else {metric: self.gain.value, "ci95": [self.gain.low, self.gain.high]}
        own = {metric: self.value.value, "ci95": [self.value.low, self.value.high], "gain": gain, **self.others}
        return {
            "method": self.arm.system,
            "variant": self.arm.variant,
            **own,
            "seeds": self.seeds,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class VerbBoard:
    """A finished or interrupted board.

    Args:
        verb: what the systems do.
        metric: of the rows.
        rows: best first.
        missing: system -> why it could not run.
        late: system -> what the budget left out.
        interrupted: whether Ctrl-C ended it.
        failed: items that cannot be read.
        facts: data, seeds, backbone, device, versions, command, date.
    """

    verb: str
    metric: str
    rows: tuple[Row, ...]
    missing: Mapping[str, str]
    late: Mapping[str, str]
    interrupted: bool
    failed: tuple[UnreadableItem, ...]
    facts: Mapping[str, Any]

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the further numbers that rows have."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.others))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        ended = {"complete": not (self.interrupted or self.late), "missing": self.missing, "late": self.late}
        rows = [row.as_dict(self.metric) for row in self.rows]
        data: dict[str, Any] = plain(
            {
                "kind": "board",
                "verb": self.verb,
                **self.facts,
                **ended,
                "skipped": [str(e) for e in self.failed],
                "rows": rows,
            }
        )
        return data

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json, and its rows as board.csv; raises UsageError where one exists and ``overwrite`` is
        False.
        """
        text = io.StringIO(newline="")
        ends = ("low", "high", "gain", "gain_low", "gain_high")
        writer = csv.writer(text)
        writer.writerow(
            ["method", "variant", self.metric, *(f"{self.metric}_{end}" for end in ends), *self.others, "seconds"]
        )
        for r in self.rows:
            gain = ("", "", "") if r.gain is None else (r.gain.value, r.gain.low, r.gain.high)
            own = (r.value.value, r.value.low, r.value.high, *gain)
            writer.writerow(
                [
                    r.arm.system,
                    r.arm.variant,
                    *own,
                    *(r.others.get(name, "") for name in self.others),
                    round(r.seconds, 3),
                ]
            )
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)
        write_whole(out / "board.csv", text.getvalue(), overwrite=overwrite)


def arms_of(verb: str, methods: Sequence[str] | None, *, every: bool = False, without: Sequence[Arm] = ()) -> list[Arm]:
    """Return what is to be run.

    Args:
        verb: what the systems do.
        methods: "slug" for its default row, or "slug:variant"; None: all systems of the verb.
        every: whether all systems come with every row of their cards, not only with the default one.
        without: rows that run only where they are asked for.

    Raises:
        UsageError: there is no such system, it is of another verb, or has no such row.
    """
    if methods is None:
        slugs = [card["slug"] for card in catalog.cards() if card["verb"] == verb]
        arms = [Arm(slug, row) for slug in slugs for row in (catalog.find(slug).card.variants if every else ("",))]
        return [arm for arm in arms if arm not in without]
    arms = []
    for name in methods:
        slug, _, variant = name.partition(":")
        catalog.row(catalog.find(slug, verb=verb), variant)
        arms.append(Arm(slug, variant))
    return arms


def verb_board(
    verb: str,
    bench: Bench,
    arms: Sequence[Arm],
    *,
    budget: float | None = None,
    keep: Path | None = None,
    command: str = "",
) -> VerbBoard:
    """Measure every arm, after the rows that are always run.

    A finished row lies in ``keep/rows`` before the next begins, and is read from there where its inputs are the same: a
    board that was killed goes on where it stopped.

    What stops the base row stops the board, unless it only does not fit: the data are then at fault. What stops another
    row is named in its place. Ctrl-C and the budget leave a board of the rows that were finished.

    Args:
        verb: what the systems do.
        bench: measures them.
        arms: what to run.
        budget: seconds for all rows; those of ``bench.always`` run in any case. None: no end.
        keep: folder of the board; None: no row is kept.
        command: the command line that repeats the run.

    Raises:
        UsageError: there are no seeds, or no seconds.
        Unwritten: a finished row cannot be kept, such as on a full disk.
        KeyboardInterrupt: before any row was finished.
    """
    if not bench.seeds:
        raise UsageError("A board takes at least one seed, got none: give --seeds 1,2,3.")
    base, every = bench.always[0], list(dict.fromkeys([*bench.always, *arms]))
    worked = work(
        every,
        Rows(bench, keep).measure,
        bench.run,
        label=lambda arm: arm.label,
        always=bench.always.__contains__,
        stops=base.__eq__,
        faults=(Unwritten,),
        limits=Limits(budget),
    )
    if worked.interrupted and not worked.done:
        raise KeyboardInterrupt
    seed = bench.run.integer("bootstrap")
    plainly = next((row.result.values for arm, row, _ in worked.done if arm == base), None)
    rows = []
    for arm, row, _ in worked.done:
        result = row.result
        gain = None if plainly is None or arm == base else bench.statistic.gain(result.values, plainly, seed)
        value = bench.statistic.of(result.values, seed)
        rows.append(Row(arm, value, gain, result.others, result.seeds, row.seconds / max(len(result.seeds), 1)))
    about = {"metric": bench.metric, "base": base.label, "seeds": list(bench.seeds), "budget": budget}
    facts = {**bench.facts, **about, **circumstances(bench.backbone, bench.run, command)}
    ordered = tuple(sorted(rows, key=lambda r: -r.value.value))
    failed = tuple(bench.failed)
    return VerbBoard(verb, bench.metric, ordered, worked.missing, worked.late, worked.interrupted, failed, facts)
