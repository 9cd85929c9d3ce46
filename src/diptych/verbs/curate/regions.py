"""``curate regions``: boxes with phrases, for photos that have captions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.verbs import kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diptych.data.format import Need
    from diptych.metrics.estimate import Interval
    from diptych.tasks.curate.regions import Quality, RegionTable
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class CurateRegions(Verb):
    """Find regions of photos and say what each shows: noun phrases of the captions, or a captioner."""

    name: ClassVar[str] = "curate regions"
    item: ClassVar[str] = "NamedRegions"
    out: ClassVar[str] = "regions.csv"
    out_help: ClassVar[str] = "Table to write, one box per row, which other commands take as regions."
    out_is_file: ClassVar[bool] = True
    python_out: ClassVar[Any] = "name"
    goes_on: ClassVar[bool] = True
    run_options: ClassVar[dict[str, Any]] = {"engine": "torch", "batch": 1}
    examples: ClassVar[tuple[str, ...]] = (
        "curate regions captions.csv", "curate regions captions.csv --truth instances.csv",
    )  # fmt: skip
    offers: ClassVar[tuple[str, ...]] = ("overwrite", "json", "backbone", "device")

    photos: Any = argument(
        "A table or a folder with captions; with an agent, any photos.", kinds.PHOTOS, positional=True
    )
    captions: str = argument("Column of the captions, or a pattern such as 'caption_*'.", default="")
    proposer: str = argument(
        "Finds regions: merged-cells, or, as hf:NAME or a folder, an open-vocabulary detector (OWL-ViT, OWLv2), which "
        "reads the phrases, or a mask model of transformers.",
        default="merged-cells", panel="Model",
    )  # fmt: skip
    agent: str = argument(
        "MODEL@http://host/v1 that names what it sees in each region, instead of the captions.", default=""
    )
    agent_key: str = argument("Environment variable with its API key.", default="")
    truth: Any = argument(
        "A table of true boxes with a column category: measures how right the regions are.", kinds.FILE, None
    )

    def check(self) -> None:
        """Refuse captions where an agent names the regions."""
        if self.agent and self.captions:
            raise UsageError("An agent names regions, so captions are not read: leave out {captions}, or {agent}.")

    def run(self, context: Context) -> Regions:
        """Find and name regions."""
        from diptych.backbones.sources.proposers import load_proposer
        from diptych.data.formats.region_table import with_regions
        from diptych.tasks.curate.agents import agents_of
        from diptych.tasks.curate.regions import find_regions, quality
        from diptych.verbs.photos import naming, open_labelled

        context.free("")
        writer = next(iter(agents_of([self.agent], self.agent_key).values())) if self.agent else None
        need: Need = "photos" if self.agent else "captions"
        with naming(text="captions"):
            data = open_labelled(self.photos, need, context.keys, text=self.captions)
        known = None if self.truth is None else with_regions(data, self.truth).whole()
        model, run = context.model(), context.run()
        result = find_regions(data.whole(), model, load_proposer(self.proposer), run, writer=writer)
        return Regions(result, None if known is None else quality(result, known, run.integer("bootstrap")))


@dataclass(frozen=True, eq=False)
class NamedRegions:
    """The regions of a photo.

    Args:
        name: of the photo, usually its path.
        boxes: (n, 4) corners x0, y0, x1, y1 in pixels.
        phrases: n, what each region shows.
    """

    name: str
    boxes: NDArray[np.float64]
    phrases: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        boxes = [[round(float(v), 1) for v in box] for box in self.boxes]
        return {"path": self.name, "boxes": boxes, "phrases": list(self.phrases)}


class Regions(Answer[NamedRegions]):
    """Regions of photos, and how right they are where true boxes were given."""

    listed = False

    def __init__(self, result: RegionTable, quality: Quality | None) -> None:
        super().__init__(self._photos())
        self.result, self.quality = result, quality
        self.failed += result.failed

    def _photos(self) -> Any:
        table = self.result.table
        columns = [table.columns[n].values for n in ("boxes", "phrases")]
        for i, (boxes, phrases) in enumerate(zip(*columns, strict=True)):
            yield NamedRegions(table.items.name(i), boxes.corners, tuple(phrases))

    def title(self, items: Sequence[NamedRegions]) -> str:
        """Return how many regions of how many photos were found."""
        return f"{self.result.count:,} regions of {len(self.result.table):,} photos"

    def line(self, item: NamedRegions) -> str:
        """Return the phrases."""
        return ", ".join(item.phrases)

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return where the table lies, how many regions it has, and what was skipped."""
        facts: dict[str, Any] = {"out": None, "photos": len(self.result.table), "regions": self.result.count}
        if self.quality is not None:
            facts["quality"] = self.quality.as_dict()
        return {**facts, "skipped": [e.as_dict() for e in self.failed], "remarks": list(remarks)}

    def cells(self) -> list[tuple[str, str]]:
        """Return the counts, and how right the regions are."""
        rows = [("photos", f"{len(self.result.table):,}"), ("regions", f"{self.result.count:,}")]
        if (judged := self.quality) is None:
            return rows
        shares = {"of a class that the photo has, %": judged.present, "IoU of 0.5 with one of it, %": judged.right}
        return [
            *rows, ("that name a true class", f"{judged.named:,}"),
            *((name, _cell(part, 100, 0)) for name, part in shares.items() if part is not None),
            *([] if judged.iou is None else [("mean IoU (95 %)", _cell(judged.iou, 1, 2))]),
        ]  # fmt: skip

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the table."""
        self.result.write(folder, overwrite=overwrite)
        data["out"] = str(folder)
        return [str(folder)]


def _cell(part: Interval, factor: int, digits: int) -> str:
    value, low, high = (f"{factor * v:.{digits}f}" for v in (part.value, part.low, part.high))
    return f"{value} ({low}-{high})"
