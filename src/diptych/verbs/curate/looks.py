"""``curate looks``: a table of a few items of each cluster, for people to label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.ranges import at_least
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument, method
from diptych.verbs.curate.plan import PLAN_FILE
from diptych.verbs.curate.pool import LABEL_CURATOR, PLAN
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    from diptych.core import Curator
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class CurateLooks(Verb):
    """Write a table with a few items of each cluster, for people to label."""

    name: ClassVar[str] = "curate looks"
    item: ClassVar[str] = "Look"
    role: ClassVar[str] = "diptych.core.curate:Curator"
    out: ClassVar[str] = "looks.csv"
    out_help: ClassVar[str] = "Table to fill."
    out_is_file: ClassVar[bool] = True
    python_out: ClassVar[Any] = "position"
    takes_model: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = ("curate looks", "curate looks plan.parquet --count 2")
    offers: ClassVar[tuple[str, ...]] = ("overwrite", "json")

    plan: Any = argument("What diptych curate plan wrote.", PLAN, PLAN_FILE, positional=True, word=True)
    method: str | Curator = method(LABEL_CURATOR, "The system that planned.")
    count: int = argument("Items of each cluster.", default=5, short="-n", range=at_least(1))

    def run(self, context: Context) -> Looks:
        """Write the table where there is a path for it."""
        from diptych.core import Clustered
        from diptych.tasks.curate.plan import read_plan
        from diptych.tasks.curate.rows import looks_of

        context.free("")
        path, system = Path(self.plan), self.system()
        if not path.is_file():
            slug = system.card.slug
            raise UsageError(f"There is no plan {path}: write one first, by the step plan with {{method}} {slug}.")
        return Looks(looks_of(read_plan(system, path, Clustered), self.count))


@dataclass(frozen=True)
class Look:
    """An item of a cluster.

    Args:
        cluster: its number.
        name: of the item, usually a path.
    """

    cluster: int
    name: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"cluster": self.cluster, "filepath": self.name}


class Looks(Answer[Look]):
    """A few items of each cluster."""

    rows_key = "looks"
    listed = False

    def __init__(self, looks: Sequence[tuple[int, str]]) -> None:
        super().__init__(iter(()))
        self.looks = looks
        self.clusters = len({cluster for cluster, _ in looks})
        self._items = (Look(*look) for look in looks)
        self.path: Path | None = None

    def title(self, items: Sequence[Look]) -> str:
        """Return how many items of how many clusters there are."""
        return f"{len(self.looks):,} looks at {self.clusters:,} clusters"

    def line(self, item: Look) -> str:
        """Return the number of the cluster."""
        return f"cluster {item.cluster}"

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return where the table lies, and how many rows it has."""
        return {"out": None, "clusters": self.clusters, "looks": len(self.looks)}

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the table."""
        from diptych.tasks.curate.rows import write_looks

        write_looks(self.looks, folder, overwrite=overwrite)
        data["out"] = str(folder)
        return [f"{folder}: {self.title(())}; write labels into its last column"]
