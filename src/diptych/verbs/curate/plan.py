"""``curate plan``: look at every pair of a pool once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.ranges import at_least
from diptych.verbs.arguments import argument
from diptych.verbs.curate.pool import (
    FILE_NAME,
    LABEL_CURATOR,
    POOL,
    RUN,
    SLIDE_CURATOR,
    SOURCES,
    Pass,
    Pooled,
    setting,
    sources,
    written,
)
from diptych.verbs.kinds import Kind

if TYPE_CHECKING:
    from diptych.tasks.curate.plan import Curation
    from diptych.tasks.curate.stream import Skipped
    from diptych.verbs.context import Context

PLAN_FILE = "plan.parquet"


def _older(value: Any) -> tuple[Path, ...]:
    plans = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
    return tuple(Path(written(plan)) for plan in plans)


@dataclass(frozen=True, kw_only=True)
class CuratePlan(Pooled):
    """Look at every pair of a pool once, and write counts of entries, scores, a sample, hashes, or picked tiles."""

    name: ClassVar[str] = "curate plan"
    out: ClassVar[str] = PLAN_FILE
    out_help: ClassVar[str] = "File of the plan."
    out_is_file: ClassVar[bool] = True
    python_out: ClassVar[Any] = "name"
    without_out: ClassVar[str] = "None: a temporary file, which goes with what is returned."
    result: ClassVar[str] = "CurationPlan"
    examples: ClassVar[tuple[str, ...]] = (
        "curate plan pairs.csv --method clip-score",
        'curate plan "shards/{00000..00099}.tar" --merge plan.parquet --out both.parquet',
    )
    offers: ClassVar[tuple[str, ...]] = ("overwrite", *RUN)

    sources: str | Path | Sequence[str | Path] = argument(POOL, SOURCES, positional=True)
    merge: Any = argument("Add an older plan; repeat for several.", Kind(list[Path] | None, None, _older), ())
    clusters: int = setting("clusters", "Clusters of pictures", 2000, LABEL_CURATOR, range=at_least(1))
    components: int = setting("components", "Principal components", 25, LABEL_CURATOR, range=at_least(1))
    sample: int = setting("sample", "Pictures that clusters are made from", 100_000, LABEL_CURATOR, range=at_least(1))
    attributes: str | Path = setting(
        "attributes", "File of phrases to look for, one per line", "", SLIDE_CURATOR, FILE_NAME
    )
    top: int = setting("top", "Tiles per slide by attributes, and by findings", 64, SLIDE_CURATOR, range=at_least(0))
    sampled: int = setting("sampled", "Tiles per slide by clusters", 256, SLIDE_CURATOR, range=at_least(0))

    def paths(self) -> tuple[str, ...]:
        """Return the paths of the pools."""
        return sources(self.sources)

    def run(self, context: Context) -> Planned:
        """Plan over every shard, here or on workers."""
        if context.out is not None:
            return self._run(context, context.out)
        folder = Path(tempfile.mkdtemp(prefix="diptych-plan-"))
        try:
            return self._run(context, folder / PLAN_FILE)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _run(self, context: Context, out: Path) -> Planned:
        from diptych.data.addresses import exists_at, published
        from diptych.data.load import open_stream
        from diptych.data.named_sets import located
        from diptych.tasks.curate.plan import read_plan
        from diptych.tasks.curate.shards import cut, plan_in
        from diptych.tasks.curate.stream import Skipped, need_items

        whole = self.resume and exists_at(out)
        if not whole:
            context.free("")
        curation = self.curation()
        curator = curation.curator
        if whole and not out.with_name(f"{out.name}.parts").exists():
            return Planned(self, out, read_plan(curator, located(out)).report(), Skipped(), finished=True)
        older = [read_plan(curator, located(path)) for path in self.merge]
        streams = [open_stream(s, self.image, self.text, pictures=curation.looks) for s in self.paths()]
        for stream in streams:
            curation.check_items(stream)
        need_items(streams, self.paths())
        shards, skipped = [shard for stream in streams for shard in cut(stream)], Skipped()
        with published(out) as local:
            load, run, workers = self.begin(curation, context)
            parts = local.with_name(f"{out.name}.parts")
            with plan_in(
                parts, curator, load, shards, run, self._request(curation, context), resume=self.resume, pool=workers,
                skipped=skipped, listed=local.with_name(f"{local.stem}.skipped.csv"),
            ) as plan:  # fmt: skip
                passed = skipped.count
                # of this pass: older plans are added next
                skipped.extend(int(plan.report().get("broken", 0)), [{"path": n, "reason": r} for n, r in plan.unread])
                for other in older:
                    plan = plan.merge(other)
                facts = _with_passed(plan.report(), passed)  # first: an older plan may be replaced now
                plan.write(local)
        return Planned(self, out, facts, skipped)

    def _request(self, curation: Curation, context: Context) -> dict[str, Any]:
        """Return what is asked, as plain data: a pass is resumed only where it is the same."""
        request: dict[str, Any] = {
            "sources": [(s, os.path.getsize(s) if os.path.isfile(s) else 0) for s in self.paths()],
            "method": curation.curator.card.slug, **curation.settings,
        }  # fmt: skip
        if curation.loads:
            request |= {"backbone": context.backbone, "image": self.image, "text": self.text}
        return request


def _with_passed(facts: Mapping[str, Any], passed: int) -> dict[str, Any]:
    """Return the facts of a plan with the items that were passed over before a curator saw them, such as a row that
    leads outside: they are broken as those are that it could not read, and of its pairs where it counts the broken ones
    among these.
    """
    if not passed:
        return dict(facts)
    pairs = {"pairs": facts["pairs"] + passed} if {"pairs", "broken"} <= facts.keys() else {}
    return {**facts, **pairs, "broken": facts.get("broken", 0) + passed}


class Planned(Pass):
    """A plan that was written."""

    def __init__(
        self, verb: CuratePlan, path: Path, facts: Mapping[str, Any], skipped: Skipped, *, finished: bool = False
    ) -> None:
        super().__init__(skipped)
        self.verb, self.path, self.facts_of_plan, self.finished = verb, path, dict(facts), finished

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return where the plan lies, and its facts."""
        from diptych.data.files import named

        skipped = [e.as_dict() for e in self.failed]
        return {
            "plan": named(self.path), **self.facts_of_plan, "skipped": skipped,
            "settings": self.verb.given_settings(), "remarks": list(remarks),
        }  # fmt: skip

    def cells(self) -> list[tuple[str, str]]:
        """Return the facts of the plan."""
        return [
            (n.replace("_", " "), f"{v:,}" if isinstance(v, int) else str(v)) for n, v in self.facts_of_plan.items()
        ]

    def remarks(self, items: Sequence[Any]) -> list[str]:
        """Return whether the plan was there."""
        if not self.finished:
            return []
        return [f"{self.path.name} is finished: nothing is planned again. Leave out {{resume}} for another plan."]

    def ends(self) -> list[str]:
        """Return where the plan lies."""
        from diptych.data.files import named

        return [named(self.path)]
