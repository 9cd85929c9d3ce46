"""``detect``: which of these photos are not as they should be, and where?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, TypedDict

from diptych.core import DataError, UsageError
from diptych.core.ranges import between
from diptych.core.wording import number_of
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import keeping, kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import argument, fit_workers, fitted, method, settings
from diptych.verbs.declare import CLUSTER, RUN, Verb
from diptych.verbs.photos import open_photos, open_samples, open_table
from diptych.verbs.reads import has, needs, uses

if TYPE_CHECKING:
    from PIL import Image

    from diptych.core import Detector, Samples, Table
    from diptych.tasks.detect import Detected, Detections, Ready
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class Detect(Verb):
    """Find anomalous photos and locate the anomalies, from normal photos or from words."""

    item: ClassVar[str] = "Detected"
    role: ClassVar[str] = "diptych.core.method:Detector"
    out: ClassVar[str] = "anomalies"
    out_help: ClassVar[str] = "Folder for heat maps and detect.json."
    python_out: ClassVar[Any] = "name"
    examples: ClassVar[tuple[str, ...]] = (
        "detect line/ --normal good/ --false-alarm-rate 0.05",
        'detect nuts/ --object "hazelnut"',
    )
    offers: ClassVar[tuple[str, ...]] = (*RUN, *CLUSTER, "batch", "workers")

    photos: object = argument("Photos, a folder or a table.", kinds.MANY_PHOTOS, json="images", positional=True)
    normal: object = argument(
        "Photos without anomalies, of the same kind.", kinds.PHOTOS, None, evidence="train", fits=True
    )
    thing: str | None = argument(
        'What the photos show, such as "hazelnut", for detectors that read it.', default=None, flag="--object",
        reads=has("thing"),
    )  # fmt: skip
    auxiliary: object = argument(
        "Labelled anomalies of other objects to learn from, in MVTec's layout.",
        kinds.TABLE, None,
        reads=needs("auxiliary"), evidence="auxiliary", fits=True,
    )  # fmt: skip
    method: str | Detector | None = method(
        None, f"A detector (default: {DEFAULTS['detect words']} for words, else {DEFAULTS['detect']})."
    )  # fmt: skip
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    rate: float | None = argument(
        "Flag photos at this rate of false alarms, such as 0.05; needs normal photos.", default=None,
        flag="--false-alarm-rate", range=between(0, 1, "()"),
    )  # fmt: skip
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()
    detector: str = argument(
        "Name of a set of normal photos that the server was started with, in place of normal photos.", default="",
        faces=("http",),
    )  # fmt: skip
    seed: int = argument("Seed of draws and trainings.", default=0, faces=("command", "python"))

    def slug(self) -> str:
        """Return the detector for words where the thing is named, else that for normal photos."""
        return DEFAULTS["detect words"] if self.thing else DEFAULTS["detect"]

    def defaults(self) -> dict[str, Any]:
        """Return the setting that the thing gives, for a detector that has it."""
        kind: Any = self.method
        from diptych import catalog

        chosen = kind or self.slug()
        base = catalog.find(chosen, self.kind_of_system()) if isinstance(chosen, str) else getattr(kind, "method", kind)
        return (
            {"thing": self.thing or "object"} if has("thing")(base) and (self.thing or isinstance(chosen, str)) else {}
        )

    def check(self) -> None:
        """Refuse a question without a normal, and a rate without photos to hold it on."""
        nothing = self.normal is None and self.thing is None and self.auxiliary is None
        if nothing and not self.detector and not self.is_kept():
            raise UsageError(
                'Say what is normal: give {normal}, photos without anomalies, or {thing}, such as "hazelnut", for '
                "words alone."
            )
        if self.detector and (self.normal is not None or self.thing or self.rate is not None):
            raise UsageError("{detector} is fitted already: leave out {normal}, {thing} and {rate}, or {detector}.")
        if self.rate is not None and self.normal is None and not self.is_kept():
            raise UsageError("A false-alarm rate is set on normal photos: give {normal}, or leave out {rate}.")

    def is_fitted(self) -> bool:
        """Return whether the server was started with the detector."""
        return bool(self.detector)

    def check_with(self, system: Any) -> None:
        """Refuse normal photos that nothing uses."""
        if self.normal is not None and self.rate is None and not uses("train")(system):
            raise UsageError(
                f"{system.card.slug} learns nothing from normal photos, and no {{rate}} is given, so {{normal}} has no "
                f"effect: leave it out."
            )

    def run(self, context: Context) -> Anomalies:
        """Score the photos."""
        from diptych.core import Kit
        from diptych.data.samples import need_photos
        from diptych.tasks.detect import Ready, detections, fit

        table, classes = open_photos(self.photos, context.keys)
        there = self.is_kept()
        good = None if self.normal is None or there else _normal(self.normal, context)
        labelled = (
            None
            if self.auxiliary is None or there
            else open_table(self.auxiliary, "anomalies", context.keys, split="test")
        )
        context.free("detect.json")
        need_photos(table.items)
        context = keeping.where(self, context)
        model, run = context.model(), context.run()
        if self.detector:
            ready = context.named("detector", self.detector)
        else:
            system = self.system()
            key = None if good is not None or labelled is not None else repr(system)
            ready = Ready.of(
                keeping.read_or_fit(
                    self,
                    context,
                    lambda: Kit.of(model),
                    lambda: fit(system, model, run, good, labelled, self.rate),
                    key,
                )
            )
            if there and self.rate is not None:
                _check_rate(ready, self.rate, self.fitted)
        slug = self.detector or system.card.slug
        return Anomalies(self, detections(ready, table.items, run), model.spec.name, slug, table, classes, good)


class DetectFacts(TypedDict):
    """Anomaly scores of all pictures; those above the threshold are flagged."""

    backbone: str
    method: str
    object: str | None
    false_alarm_rate: float | None
    seed: int
    settings: dict[str, Any]
    labelled: NotRequired[dict[str, Any]]
    threshold: float | None
    normal: dict[str, Any]
    map_span: Sequence[float]


class Anomalies(Answer["Detected"]):
    """Scores of photos, with a heat map each where the detector has maps."""

    ranked = True
    done = "scored, higher is more anomalous"

    def __init__(
        self, verb: Detect, result: Detections, backbone: str, slug: str, photos: Table[Any],
        classes: Sequence[str] = (), normal: Samples[Any] | None = None,
    ) -> None:  # fmt: skip
        from diptych.tasks.detect_errors import labelled_errors, normal_too
        from diptych.tasks.label_maps.segmented import stems

        super().__init__(iter((*result.results, *result.failed)), photos.items)
        self.verb, self.result, self.backbone, self.slug = verb, result, backbone, slug
        self.span = result.span()
        names = [d.name for d in result.results]
        self.stems = dict(zip(names, stems(names), strict=True))
        kinds = () if normal is None else {Path(normal.name(i)).parent.name for i in range(len(normal))}
        self.errors = labelled_errors(result, photos, classes, kinds)
        self.normal_too = "" if normal is None else normal_too(photos.items, normal)

    def order(self, items: Sequence[Detected]) -> Sequence[Detected]:
        """Return the most anomalous photo first."""
        return self.result.ranked()

    def label(self, item: Detected) -> str:
        """Return "anomalous" or "normal"; "" where there is no threshold."""
        return {None: "", True: "anomalous", False: "normal"}[item.flagged]

    def line(self, item: Detected) -> str:
        """Return the score, how often a normal photo has it, and the label."""
        share = "" if item.normal_share is None else f"  p {item.normal_share:.3f}"
        return f"{item.score:10.4g}{share}  {self.label(item)}".rstrip()

    def picture(self, item: Detected) -> Image.Image:
        """Return the photo under its heat map."""
        return item.shown(self.span)

    def facts(self) -> DetectFacts:
        """Return what was asked, the threshold, the normal photos, and the errors where labels are known."""
        facts: DetectFacts = {
            "backbone": self.backbone, "method": self.slug, "object": self.verb.thing,
            "false_alarm_rate": self.result.by.rate, "seed": self.verb.seed, "settings": self.verb.given_settings(),
            "threshold": self.result.threshold, "normal": self.result.about_normal(), "map_span": self.span,
        }  # fmt: skip
        if self.errors is not None:
            facts["labelled"] = self.errors
        return facts

    def remarks(self, items: Sequence[Detected]) -> list[str]:
        """Return what the labels say, what the rate is worth, and when it does not hold."""
        words = self.slug == DEFAULTS["detect words"] and self.verb.thing is None
        return [
            *filter(None, ("" if self.errors is None else _labelled(self.errors), self.normal_too)),
            *self.result.remarks(),
            *(
                [f"{self.slug} looks for damage of an 'object': say what the photos show with {{thing}}."]
                if words
                else []
            ),
        ]

    def ends(self) -> list[str]:
        """Return what the scores mean where no photo is flagged."""
        if self.result.by.rate is not None or not self.result.results:
            return []
        how = "sets" if self.verb.normal is not None else "with photos in --normal sets"
        return [f"Higher is more anomalous, and nothing is flagged: --false-alarm-rate 0.1 {how} a threshold."]

    def write(self, item: Detected, folder: Path, *, overwrite: bool) -> dict[str, Any]:
        """Write the heat map, over that of a run that was killed before it wrote detect.json."""
        path = item.write(folder, self.stems[item.name], self.span)
        return {"heat_map": None if path is None else str(path)}

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write detect.json, and name photos of an earlier run."""
        from diptych.data.files import write_json
        from diptych.tasks.label_maps.segmented import of_others

        write_json(folder / "detect.json", data, overwrite=overwrite)
        maps = sum(d.map is not None for d in self.result.results)
        if maps:
            others = of_others(folder, ".heat.png", self.stems.values())
            return [f"{number_of(maps, 'heat map')} and detect.json in {folder}", *others]
        return [f"detect.json in {folder}; {self.slug} judges whole photos and has no maps"]


def _check_rate(ready: Ready, rate: float, folder: object) -> None:
    """Refuse a rate of false alarms that a detector of a folder was not kept with.

    Raises:
        UsageError: it is another one.
    """
    if ready.rate != rate:
        there = "without {rate}" if ready.rate is None else f"with {{rate}} {ready.rate:g}"
        raise UsageError(f"{folder} was kept {there}, not {rate:g}: leave {{rate}} out, or give another {{fitted}}.")


def _normal(value: object, context: Context) -> Samples[Any]:
    """Return normal photos; those of a folder are all below it."""
    if not isinstance(value, str):
        return open_samples(value, context.keys)
    from diptych.data.folders import ImageFiles, image_paths
    from diptych.data.named_sets import located

    if not (paths := image_paths(located(value))):
        raise DataError(f"No normal photos below {value}: give a folder that holds some.")
    return ImageFiles(paths, context.keys)


def _labelled(errors: dict[str, Any]) -> str:
    """Return the error rates of photos of known kinds."""
    ranking = f"AUROC {100 * errors['image_auroc']:.1f} %, EER {100 * errors['eer']:.1f} %"
    rates = (("false_alarms", "false alarms"), ("detected", "detected"), ("hter", "HTER"), ("acer", "ACER"))
    at = ", ".join(f"{name} {100 * errors[key]:.1f} %" for key, name in rates if key in errors)
    counts = f"By their folders {errors['anomalous']} of {errors['items']} photos are anomalous: {ranking}"
    return f"{counts}; at the threshold {at}." if at else f"{counts}."
