"""``curate apply``: keep or drop every pair of a pool by a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.ranges import at_least, between, one_of
from diptych.verbs.arguments import argument
from diptych.verbs.curate.plan import PLAN_FILE
from diptych.verbs.curate.pool import (
    CURATOR,
    DUPLICATE_CURATOR,
    FILE_NAME,
    HEAD_CURATOR,
    LABEL_CURATOR,
    PLAN,
    POOL,
    RUN,
    SCORED,
    SLIDE_CURATOR,
    SOURCE,
    Pass,
    Pooled,
    setting,
)
from diptych.verbs.kinds import TEXTS, Kind
from diptych.verbs.reads import has, needs

if TYPE_CHECKING:
    from diptych.tasks.curate.plan import Curated, Curation
    from diptych.verbs.context import Context


def _limit(value: Any) -> float:
    """Return a number of texts, or infinity."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{{t}} takes a number of texts or inf, not {value!r}.") from None


@dataclass(frozen=True, kw_only=True)
class CurateApply(Pooled):
    """Keep or drop every pair of the pool by a plan, and write the kept ones as Parquet."""

    name: ClassVar[str] = "curate apply"
    out: ClassVar[str] = "curated"
    out_help: ClassVar[str] = "Folder of the kept pairs."
    python_out: ClassVar[Any] = "position"
    without_out: ClassVar[str] = "It must be given."
    result: ClassVar[str] = "CuratedPairs"
    examples: ClassVar[tuple[str, ...]] = (
        "curate apply pairs.csv --method clip-score --share 0.5",
        "curate apply captions.txt --t 20000 --out curated --resume",
    )
    offers: ClassVar[tuple[str, ...]] = RUN

    source: str | Path = argument(POOL, SOURCE, positional=True)
    plan: Any = argument("What diptych curate plan wrote.", PLAN, PLAN_FILE, positional=True)
    t: float = setting(
        "t", f"Texts an entry may keep by itself; inf keeps all that match. For {CURATOR}.", 20_000,
        kind=Kind(str, None, _limit),
    )  # fmt: skip
    tail: float = setting(
        "tail", "Choose t so that entries below it have this share of the matches", 0.0, CURATOR, range=between(0, 1)
    )
    share: float = setting("share", "Best share of the pool that stays", 0.3, SCORED, range=between(0, 1))
    threshold: float | None = setting("threshold", "Keep pairs with at least this score instead", None, SCORED)
    seed: int = argument("Seed of the draws.", default=0)
    votes: str | Path = setting("votes", "Table of labels that people gave to looks", "", LABEL_CURATOR, FILE_NAME)
    taxonomy: str | Path = setting("taxonomy", "JSON of broad labels and narrower ones", "", LABEL_CURATOR, FILE_NAME)
    only: str | Sequence[str] = setting("only", "Keep pairs of this label; repeat for several.", (), kind=TEXTS)
    drop: str | Sequence[str] = setting("drop", "Drop pairs of this label; repeat for several.", (), kind=TEXTS)
    most: float | None = setting(
        "most", f"Pairs to keep of each label, roughly (default: all); for {LABEL_CURATOR}.", None
    )
    eps: float = setting("eps", "Duplicates have a cosine of at least 1 minus this", 0.05, DUPLICATE_CURATOR)
    prefer: str = setting(
        "keep", "Which of a group of duplicates stays: hard, easy or random", "hard", DUPLICATE_CURATOR,
        range=one_of("hard", "easy", "random"),
    )  # fmt: skip
    cells: int | None = setting(
        "cells", "Cells that are searched separately", None, DUPLICATE_CURATOR, range=at_least(1)
    )
    rule: str = setting("rule", "What makes duplicates: vector, hash, both or either", "vector", DUPLICATE_CURATOR)
    bits: int = setting("bits", "Bits in which hashes of duplicates may differ", 10, DUPLICATE_CURATOR)
    precision: float | None = setting(
        "precision", "Keep pairs above the threshold at which this share is right", None, HEAD_CURATOR
    )
    below: bool = setting("below", "Keep low scores", False, HEAD_CURATOR)
    words: int = setting("words", "Words of a caption", 50, SLIDE_CURATOR, range=at_least(1))
    agent: str | Sequence[str] = argument(
        f"MODEL@http://host/v1 for all agents of {SLIDE_CURATOR}, or describe=, revise=, judge= or shorten= before it "
        "for one; repeat.",
        TEXTS, (), reads=needs("Writer"),
    )  # fmt: skip
    agent_key: str = argument("Environment variable with the agents' API key.", default="", reads=needs("Writer"))

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse what another argument makes idle."""
        system = self.system()
        rule = getattr(system, "rule", "")
        idle = [
            ("threshold" in given and has("threshold")(system), "{threshold} says what stays", "share"),
            ("tail" in given and has("tail")(system), "{tail} says what t is", "t"),
            (rule == "vector", "Duplicates are found by the vector alone", "bits"),
            (rule == "hash", "Duplicates are found by the hash alone", "eps"),
        ]
        for holds, reason, name in idle:
            if holds and name in given:
                raise UsageError(f"{reason}, so {{{name}}} has no effect: leave it out.")

    def run(self, context: Context) -> Applied:
        """Judge every pair, here or on workers, and write what is kept."""
        from diptych.data.addresses import exists_at, published
        from diptych.data.files import address_of, named
        from diptych.data.load import open_stream
        from diptych.data.named_sets import located
        from diptych.tasks.curate.agents import agents_of
        from diptych.tasks.curate.plan import apply_plan, read_plan
        from diptych.tasks.curate.shards import apply_shards, cut
        from diptych.tasks.curate.stream import need_items

        out, curation = context.out, self.curation()
        if out is None:
            raise UsageError("Kept pairs are written to a folder: give {out}.")
        if not exists_at(self._plan):
            raise UsageError(f"There is no plan {self._plan}: write one first, from {self.source}, by the step plan.")
        curator = curation.curator
        planned = read_plan(curator, located(self._plan))
        stream = open_stream(str(self.source), self.image, self.text, pictures=curation.looks)
        curation.check_items(stream)
        need_items([stream], [str(self.source)])
        agents = agents_of(self.agent, self.agent_key) if curation.writes else {}
        request = self._request(curation, context)
        if agents:
            request["agents"] = {name: f"{agent.model}@{agent.base_url}" for name, agent in agents.items()}
        thinned = getattr(curator, "thinned", None)
        report = {**request, **planned.report(), **({} if thinned is None else thinned(planned))}
        with published(out, resume=self.resume) as local:
            load, run, workers = self.begin(curation, context, agents)
            if address_of(out) and exists_at(out) and not self.resume:
                raise UsageError(f"{named(out)} holds a curation: give another {{out}}, or {{resume}} to continue it.")
            if workers:
                shards = cut(stream)
                result = apply_shards(
                    curator, load, planned, shards, run, local, workers, about=report, resume=self.resume
                )
            else:
                result = apply_plan(curator, load(), planned, stream, run, local, about=report, resume=self.resume)
        return Applied(self, out, result, report)

    @property
    def _plan(self) -> Path:
        return Path(self.plan)

    def _request(self, curation: Curation, context: Context) -> dict[str, Any]:
        """Return what is asked, as plain data: a pass is resumed only where it is the same."""
        request: dict[str, Any] = {
            "source": self.source, "method": curation.curator.card.slug, **curation.settings,
        }  # fmt: skip
        if request.get("t") == math.inf:
            request["t"] = "inf"  # JSON has no such number
        if curation.loads:
            request["backbone"] = context.backbone
        return request


class Applied(Pass):
    """What a pass kept."""

    right = (1,)

    def __init__(self, verb: CurateApply, path: Path, result: Curated, report: Mapping[str, Any]) -> None:
        from diptych.tasks.curate.stream import Skipped

        super().__init__(Skipped(result.broken, list(map(dict, result.skipped))))
        self.verb, self.path, self.result, self._report = verb, path, result, report

    def counts(self) -> dict[str, int]:
        """Return how many pairs were seen, kept and broken, and how many files were written."""
        return {name: getattr(self.result, name) for name in ("seen", "kept", "broken", "parts")}

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return where the kept pairs lie, and how many there are."""
        from diptych.data.files import named

        return {
            "out": named(self.path), **self.counts(), "skipped": [e.as_dict() for e in self.failed],
            "settings": self.verb.given_settings(), "remarks": list(remarks),
        }  # fmt: skip

    def cells(self) -> list[tuple[str, str]]:
        """Return the counts."""
        return [(name, f"{value:,}") for name, value in self.counts().items()]

    def remarks(self, items: Sequence[Any]) -> list[str]:
        """Return t where it was chosen by the tail."""
        if not self._report.get("tail"):
            return []
        share = f"{100 * self._report['tail_share']:.1f} %"
        return [f"t = {self._report['threshold']:,}: entries below it have {share} of the matches."]

    def ends(self) -> list[str]:
        """Return how many pairs are kept, and where."""
        from diptych.data.files import named

        whole = ": nothing was left out with these settings" if self.result.kept == self.result.seen > 0 else ""
        return [f"{named(self.path)}: {self.result.kept:,} of {self.result.seen:,} kept{whole}"]
