"""``curate head``: a head that scores pictures of one class high, from labelled ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.verbs import kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    from diptych.core import UnreadableItem
    from diptych.nn.vector_head import VectorHead
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class CurateHead(Verb):
    """Fit a head on labelled pictures, for vector-head, and measure it on held-out pictures."""

    name: ClassVar[str] = "curate head"
    out: ClassVar[str] = "head.safetensors"
    out_help: ClassVar[str] = "File of the head."
    out_is_file: ClassVar[bool] = True
    python_out: ClassVar[Any] = "name"
    result: ClassVar[str] = "FittedHead"
    examples: ClassVar[tuple[str, ...]] = (
        "curate head demo:clothes --positive dress", "curate head looks/ --positive good --out good.safetensors",
    )  # fmt: skip
    offers: ClassVar[tuple[str, ...]] = (
        "overwrite", "json", "backbone", "device", "engine", "batch", "workers", "cache",
    )  # fmt: skip

    labelled: Any = argument("Pictures with classes: folders of classes, or a table.", kinds.PHOTOS, positional=True)
    positive: str = argument("The positive class.")
    seed: int = argument("Seed of the held-out pictures.", default=0)

    def run(self, context: Context) -> Fitted:
        """Fit the head, and write it where there is a path for it."""
        from diptych.tasks.curate.heads import fit_labelled
        from diptych.verbs.photos import open_labelled

        context.free("")
        data = open_labelled(self.labelled, "classes", context.keys)
        return Fitted(self.positive, *fit_labelled(data, self.positive, context.model(), context.run()))


class Fitted(Answer[Any]):
    """A fitted head."""

    listed = False

    def __init__(self, positive: str, head: VectorHead, failed: Sequence[UnreadableItem]) -> None:
        from diptych.tasks.curate.heads import head_report

        super().__init__(iter(()))
        self.positive, self.head, self.report_of_head = positive, head, head_report(head)
        self.failed += failed

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return where the head lies, and how well it does."""
        return {"out": None, **self.report_of_head}

    def cells(self) -> list[tuple[str, str]]:
        """Return how well the head does on pictures that it has not seen."""
        facts = self.report_of_head
        low, high = facts["val_auc_interval"]
        return [
            ("held out", f"{facts['val']:,} pictures, {facts['val_positive']:,} of them {self.positive}"),
            ("AUC on held-out pictures", f"{facts['val_auc']:.3f} ({low:.3f}-{high:.3f})"),
            *(
                (f"threshold at precision {p}", "not promised" if cut is None else f"{cut:.3f}")
                for p, cut in facts["thresholds"].items()
            ),
        ]

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the head."""
        self.head.save(folder, overwrite=overwrite)
        data["out"] = str(folder)
        return [str(folder)]
