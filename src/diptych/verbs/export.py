"""``export``: a backbone as files for other programs, with the proof that they give its vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import BoundBroken, UsageError
from diptych.core.errors import need_extra, need_onnx
from diptych.core.ranges import at_least
from diptych.verbs import kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import LOCAL, NAMES, TEMPLATES, argument
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    from diptych.core import ClassNames, DiptychError, Samples, Table
    from diptych.tasks.export.tower import Exported, Form, Graph
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike, TemplatesLike


@dataclass(frozen=True, kw_only=True)
class Export(Verb):
    """Write a backbone's encoders as graphs, measure them, and fail (exit code 5) if a bound is broken."""

    item: ClassVar[str] = "Graph"
    out: ClassVar[str] = "exported"
    out_help: ClassVar[str] = "Folder to write."
    python_out: ClassVar[Any] = "position"
    on_model: ClassVar[bool] = True
    raises: ClassVar[str] = "BoundBroken: a bound does not hold; export.json in the folder has what was measured."
    run_options: ClassVar[Mapping[str, Any]] = {"device": "cpu", "engine": "torch", "workers": 1}
    offers: ClassVar[tuple[str, ...]] = ("overwrite", "json", "cache")

    to: Form = argument(
        "onnx or openvino (float32), or int8 (of the image encoder, for OpenVINO; needs images).", default="onnx",
        faces=LOCAL,
    )  # fmt: skip
    images: Any = argument("Your images, to measure parity and to calibrate int8.", kinds.PHOTOS, None, faces=LOCAL)
    labelled: Any = argument("A folder of class folders, on which top-1 must not fall.", kinds.TABLE, None)
    names: NamesLike = argument(NAMES, kinds.NAMES, None, faces=LOCAL)
    templates: TemplatesLike = argument(TEMPLATES, kinds.TEMPLATES, None, faces=LOCAL)
    max_drop: float = argument("Points of top-1 that may be lost.", default=0.3, range=at_least(0), faces=LOCAL)
    limit: int = argument(
        "Images of each kind that are used, evenly spread.", default=256, range=at_least(1), faces=LOCAL
    )

    def check(self) -> None:
        """Refuse an unknown form, one whose packages are not installed, and int8 without images to calibrate on."""
        from diptych.tasks.export.tower import FORMS

        if self.to not in FORMS:
            raise UsageError(f"{{to}} takes {', '.join(FORMS)}, not {self.to!r}.")
        if self.to != "onnx":
            need_extra("openvino", f"{{to}} {self.to}")
        need_onnx()
        if self.to == "int8":
            need_extra("openvino", f"{{to}} {self.to}", "nncf")
        if self.to == "int8" and self.images is None:
            raise UsageError("int8 needs images to calibrate on: give {images}.")

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse what says how top-1 is counted where nothing is labelled."""
        if self.labelled is None and (idle := sorted(given & {"names", "templates", "max_drop"})):
            raise UsageError(f"No photos are labelled, so {{{idle[0]}}} has no effect: give {{labelled}} too.")

    def run(self, context: Context) -> Graphs:
        """Open the photos, then load the backbone, write and measure."""
        from diptych.tasks.export.tower import check_target, export
        from diptych.verbs.photos import open_samples

        assert context.out is not None  # every face must name a folder
        check_target(context.out, context.overwrite)
        images: Samples[Any] | None = None if self.images is None else open_samples(self.images, context.keys)
        table, classes = self._labelled(context)
        result = export(
            context.model(), context.out, self.to, context.run(), images=images, labelled=table, classes=classes,
            allowed=self.max_drop / 100, limit=self.limit, overwrite=context.overwrite,
        )  # fmt: skip
        return Graphs(self, result, context.out, context.backbone, classes)

    def _labelled(self, context: Context) -> tuple[Table[Any] | None, ClassNames | None]:
        from diptych.data.samples import as_data
        from diptych.verbs.names import names_of

        if self.labelled is None:
            return None, None
        data = as_data(self.labelled, context.keys)
        table = data.split("test" if "test" in data.splits else next(iter(data.splits)))
        return table, names_of(self.names, data.classes, self.templates)


class Graphs(Answer["Graph"]):
    """What was written, and how good it is."""

    def __init__(self, verb: Export, result: Exported, out: Path, backbone: str, classes: ClassNames | None) -> None:
        super().__init__(iter(result.graphs(out)))
        self.verb, self.result, self.out, self.backbone, self.counted = verb, result, out, backbone, classes
        self.failed += result.skipped

    def title(self, items: Sequence[Graph]) -> str:
        """Return what was written where, and top-1 where it was counted."""
        return "\n".join([f"{self.backbone} as {self.result.form} in {self.out}", *self._top1()])

    def name(self, item: Graph) -> str:
        """Return the path of the file."""
        return str(item.path)

    def label(self, item: Graph) -> str:
        """Return the modality."""
        return item.modality

    def line(self, item: Graph) -> str:
        """Return the least and the mean cosine of the modality."""
        p, least = item.parity, min(item.parity.least, item.parity.least_alone)
        return f"{item.modality}: cosine to torch at least {least:.7f}, mean {p.mean:.7f}, over {p.items} items"

    def printed(self, item: Graph, name: str) -> str:
        """Return the line, which names the modality; ``summary`` names the folder."""
        return self.line(item)

    def summary(self, out: Path | None) -> list[str]:
        """Return top-1 before and after, and where the files lie."""
        return [*self._top1(), str(out)]

    def _top1(self) -> list[str]:
        gate = self.result.gate
        if gate is None:
            return []
        before, after = 100 * gate.torch, 100 * gate.exported
        points = f"{after - before:+.2f} points"
        return [f"top-1: {before:.2f} in torch, {after:.2f} exported, {points}, over {gate.items} images"]

    def remarks(self, items: Sequence[Graph]) -> list[str]:
        """Return that names are numbers, and which encoder has no file, and why."""
        from diptych.data.words.classnames import unreadable_names

        numbers = "" if self.counted is None or self.verb.names else unreadable_names(self.counted.names)
        refused = [f"{modality}: not exported ({reason})" for modality, reason in self.result.refused.items()]
        return [*([numbers] if numbers else []), *refused]

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the folder, what was measured, and which bound does not hold."""
        return {"out": str(self.out), **self.result.as_dict(), "remarks": list(remarks)}

    def verdict(self) -> DiptychError | None:
        """Return which bound does not hold."""
        broken = self.result.broken()
        return BoundBroken(f"{broken}: do not use {self.out}, or choose another form.") if broken else None
