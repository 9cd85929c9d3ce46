"""Several boards side by side: mean ranks over data sets with Nemenyi's critical difference, as JSON and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import DataError
from diptych.data.files import plain, read_json, refuse, write_json, write_whole
from diptych.evaluation.few_shot.board import Board
from diptych.evaluation.pages import plots
from diptych.evaluation.pages.trust import called
from diptych.metrics.significance import cliques, critical_difference, mean_ranks
from diptych.tasks.pages.page import CLOSING, TABLE_END, opening, table

PAGE, DATA = "comparison.html", "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """K systems on N data sets.

    Args:
        datasets: N names.
        systems: K rows that stand on every board, with their shots.
        accuracy: N lists of K fractions, top-1 on test.
        ranks: (K,) mean ranks, 1 is best.
        difference: mean ranks that lie nearer than this may differ by chance (5 %, all pairs together).
        left_out: rows that stand on some boards only.
    """

    datasets: tuple[str, ...]
    systems: tuple[str, ...]
    accuracy: tuple[tuple[float, ...], ...]
    ranks: tuple[float, ...]
    difference: float
    left_out: tuple[str, ...]

    @property
    def remark(self) -> str:
        """What a reader may conclude from a difference of mean ranks."""
        if max(self.ranks) - min(self.ranks) <= self.difference:
            return (
                f"No two differ by more than chance may: that takes {self.difference:.2f} ranks on "
                f"{len(self.datasets)} data sets."
            )
        return f"Mean ranks that lie within {self.difference:.2f} may differ by chance (Nemenyi's test at 5 %)."

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return plain({"kind": "comparison", **vars(self)})

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write ``comparison.json`` and ``comparison.html`` over older ones of the same data sets.

        Raises:
            UsageError: those of others lie there and ``overwrite`` is False.
        """
        if (out / DATA).exists() and read_json(out / DATA).get("datasets") != list(self.datasets):
            refuse(out / DATA, overwrite)
        write_json(out / DATA, self.as_dict(), overwrite=True)
        write_whole(out / PAGE, self.html(), overwrite=True)

    def html(self) -> str:
        """Return the page."""
        title = f"{len(self.systems)} systems on {len(self.datasets)} data sets"
        order = sorted(range(len(self.systems)), key=lambda k: self.ranks[k])
        plot = plots.critical_difference(
            self.systems, self.ranks, self.difference, cliques(self.ranks, self.difference)
        )
        parts = [
            opening(title, pictures=False),
            f"<section><h2>Mean ranks</h2><figure><div class='scroll plot'>{plot}</div>",
            f"<figcaption>1 is best. {self.remark} A bar joins such systems; few data sets make long "
            f"bars.</figcaption></figure></section>",
            "<section><h2>Top-1, %</h2>" + table(["system", *map(escape, self.datasets), "mean rank"]),
        ]
        for k in order:
            cells = "".join(f"<td>{100 * row[k]:.1f}</td>" for row in self.accuracy)
            parts.append(f'<tr><th scope="row">{escape(self.systems[k])}</th>{cells}<td>{self.ranks[k]:.2f}</td></tr>')
        parts.append(TABLE_END)
        if self.left_out:
            parts.append(f'<p class="note">Not on every board, so not ranked: {escape("; ".join(self.left_out))}.</p>')
        return "\n".join([*parts, "</section>", CLOSING])


def compare(boards: Sequence[Board]) -> Comparison:
    """Rank the rows that stand on all boards.

    Raises:
        DataError: fewer than two rows stand on all of them.
    """
    tables = [{called(row): row.metrics["acc1"] for row in board.rows} for board in boards]
    every = dict.fromkeys(name for table in tables for name in table)
    shared = tuple(name for name in every if all(name in table for table in tables))
    if len(shared) < 2:
        raise DataError(
            "Fewer than two systems stand on all of these boards: give more time, or name {methods} that all can run."
        )
    accuracy = tuple(tuple(table[name] for name in shared) for table in tables)
    ranks = tuple(mean_ranks(np.array(accuracy)).tolist())
    difference = critical_difference(len(shared), len(boards))
    names = tuple(board.data.name for board in boards)
    return Comparison(names, shared, accuracy, ranks, difference, tuple(name for name in every if name not in shared))
