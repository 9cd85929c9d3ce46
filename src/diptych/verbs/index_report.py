"""What ``index`` answers: what was added to an index and removed, what its marks allow, and how good its search is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core.wording import number_of
from diptych.verbs.answer import Answer

if TYPE_CHECKING:
    from diptych.search_index.recall import Approximate
    from diptych.search_index.rows import Modality
    from diptych.tasks.search.index import Indexed
    from diptych.verbs.context import Context


class IndexReport(Answer[Any]):
    """An index, and what was done to it."""

    listed = False

    def __init__(self, folder: Path) -> None:
        super().__init__(iter(()))
        self.folder = folder
        self.result: Indexed | None = None
        self.built: Mapping[Modality, Approximate] = {}
        self.marked: Mapping[str, Any] = {}
        self.context: Context | None = None
        self.with_graphs = False
        self.advice, self.lines = list[str](), list[str]()

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return what was added and removed, marked and built."""
        from diptych.data.files import named

        facts = {"index": named(self.folder)} if self.result is None else self.result.as_dict()
        facts |= {"cut": self.marked} if self.marked else {}
        facts |= {"approximate": {m: asdict(graph) for m, graph in self.built.items()}} if self.with_graphs else {}
        return {**facts, "remarks": list(remarks)}

    def remarks(self, items: Sequence[Any]) -> list[str]:
        """Return what a user should know of the index, such as entries whose photos are no longer there."""
        return [*self.advice, *(self.result.gone.remarks() if self.result else ())]

    def notes(self) -> list[str]:
        """Return how good the approximate index is, and what was copied."""
        return self.lines

    def summary(self, out: Path | None) -> list[str]:
        """Return what was added and removed, and what the marks allow."""
        from diptych.data.files import named
        from diptych.tasks.search.marks import marked_by

        lines = []
        if self.result is not None:
            r = self.result
            changed = f" ({r.changed} of them changed)" if r.changed else ""
            lines.append(
                f"{number_of(r.entries, 'entry', 'entries')} in {named(self.folder)}: {r.added} added{changed}, "
                f"{r.unchanged} unchanged, {r.removed} removed"
            )
        if marked := self.marked:
            lines.append(
                f"{marked['marks']:,} answers to {number_of(marked['queries'], 'query', 'queries')}, "
                f"{marked_by(marked['source'])}"
            )
            if marked["why_not"]:
                lines.append(f"Cuts are not by these: {marked['why_not']}. By answers {marked_by(marked['cut_by'])}:")
            for level, cut in marked["cuts"].items():
                shown = cut if isinstance(cut, str) else promise(cut["share"], cut["interval"])
                if not isinstance(cut, str) and cut["by"] != marked["cut_by"]:
                    shown = f"{shown}, by answers {marked_by(cut['by'])}, since these reach it nowhere"
                lines.append(f"  --at-least {level}: {shown}")
            if "to_mark" in marked:
                lines.append(
                    f"{marked['asked']} answers tell most: fill in 'right' of {marked['to_mark']}, and give it to --cut"
                )
        return lines


def promise(share: float, interval: Sequence[float]) -> str:
    """Say which share of answers is expected to be right."""
    return f"{share:.2f} of the answers are expected to be right, {interval[0]:.2f} to {interval[1]:.2f}"
