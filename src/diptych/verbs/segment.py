"""``segment``: what lies where on these photos?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import MissingHook, UsageError
from diptych.core.ranges import between
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import keeping, kinds
from diptych.verbs.arguments import BOXES, argument, class_names, fit_workers, fitted, method, prompts, served, settings
from diptych.verbs.declare import CLUSTER, RUN, Verb
from diptych.verbs.photos import open_photos, open_samples, open_table, paths_of
from diptych.verbs.reads import needs

if TYPE_CHECKING:
    from diptych.core import Backbone, Evidence, Kit, Segmenter, Table
    from diptych.data.keys import FileKeys
    from diptych.verbs.context import Context
    from diptych.verbs.label_maps import LabelMaps
    from diptych.verbs.names import NamesLike, TemplatesLike

MAPS = "lite:2026-11"
"""The model of label maps where none is named, see ``tasks.segment.TEACHER``."""
SHIPPED = (MAPS, "lite", "tiny", "auto", "merged-cells", "ranked-cells")
"""Parts that ship, which a request may name."""
DEFAULT_RISK = 0.1
"""Share of a photo's pixels that may be named wrongly, where calibration photos are given and no risk."""


@dataclass(frozen=True, kw_only=True)
class Segment(Verb):
    """Mark which pixels of each photo show which class, from a list of class names."""

    item: ClassVar[str] = "Segmented"
    role: ClassVar[str] = "diptych.core.method:Segmenter"
    out: ClassVar[str] = "segments"
    out_help: ClassVar[str] = "Folder for overlays, label maps and areas."
    python_out: ClassVar[Any] = "name"
    examples: ClassVar[tuple[str, ...]] = (
        'segment street/ --names "road, car, tree, sky"',
        'segment street/ --names "car, person" --background "road, tree, sky" --things all',
    )
    run_options: ClassVar[dict[str, Any]] = {"backbone": MAPS, "batch": 1, "workers": 1}
    offers: ClassVar[tuple[str, ...]] = (*RUN, *CLUSTER)

    photos: object = argument(
        "Photos, a folder, a table, or demo:photos.", kinds.MANY_PHOTOS, json="images", positional=True
    )
    names: NamesLike = class_names()
    templates: TemplatesLike = prompts()
    method: str | Segmenter | None = method(
        None, "A segmenter; 'diptych systems --verb segment' lists them (default: maskclip on backbones with an image "
        "tower, stuff-context on others, such as lite)."
    )  # fmt: skip
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    background: str | Sequence[str] = argument(
        'Words for everything else, such as "sky, wall, floor".', kinds.WORDS, ()
    )
    threshold: float | None = argument(
        "Pixels below this probability are background.", default=None, range=between(0, 1)
    )
    unknown: float | None = argument(
        "Leave pixels below this probability without a class.", default=None, range=between(0, 1)
    )
    risk: float | None = argument(
        "Share of a photo's pixels that may be labelled wrongly; calibration photos set the probability below which "
        "pixels are unknown (default with these: 0.1).",
        default=None, range=between(0, 1, "()"), faces=("command", "python"),
    )  # fmt: skip
    calibration: object = argument(
        "Photos with label maps that the method does not learn from (split val, else train); a risk of 0.1 needs ten.",
        kinds.TABLE, None,
    )  # fmt: skip
    things: str | Sequence[str] = argument(
        'Names whose objects are counted, "cat, dog" or all: instance and panoptic maps.', kinds.WORDS, ()
    )
    void: str | Sequence[int] = argument(
        'Values of label maps to ignore, besides those marked: "0".',
        kinds.NUMBERS,
        (),
        faces=("command", "python"),
    )
    confidence: bool = argument("Also give the probability of each pixel.", default=False)
    regions: object = argument(BOXES, kinds.TABLE, None)
    unlabelled: object = argument(
        "Photos without labels to learn from, about a hundred.", kinds.PHOTOS, None,
        reads=needs("unlabelled"), evidence="unlabelled", fits=True,
    )  # fmt: skip
    captioned: object = argument(
        "A table of photos with captions to learn from, at least a hundred.", kinds.TABLE, None,
        reads=needs("auxiliary"), evidence="auxiliary", fits=True,
    )  # fmt: skip
    train: object = argument(
        "Photos with label maps to learn from, about a hundred.", kinds.TABLE, None,
        reads=needs("train"), evidence="train", fits=True,
    )  # fmt: skip
    teacher: str = argument(
        "Backbone whose image encoder teaches, for a method that asks for one.", default=MAPS, panel="Model",
        reads=needs("Space"), shipped=SHIPPED[:3],
    )  # fmt: skip
    proposer: str = argument(
        "Mask proposer, for a method that asks for one: auto (ranked-cells for ovseg, else merged-cells), "
        "merged-cells, ranked-cells, a Mask2Former, CLIPSeg, OWLv2 or SAM as hf:NAME, a folder or SAM's .pth.",
        default="auto", panel="Model", reads=needs("MaskProposer"), shipped=SHIPPED[3:],
    )  # fmt: skip
    masks: Any = argument(
        "SAM or SAM 2 for a method that uses one: hf:NAME, a folder or SAM's .pth; a loaded one in Python.",
        default=None, panel="Model", reads=needs("PromptableMasks"), faces=("command", "python"),
    )  # fmt: skip
    fitted: str | Path | None = fitted()
    fit_workers: int = fit_workers()
    segmenter: str = served("segmenter")
    inline: bool = argument(
        "Whether to send the label maps, as PNG in base64.", default=True, json="masks", faces=("http",)
    )

    def check(self) -> None:
        """Refuse boxes with counted things, and a risk without label maps or beside a threshold."""
        if self.risk is not None and self.calibration is None:
            raise UsageError("A {risk} needs photos with label maps: give {calibration}.")
        if self.calibration is not None and (self.unknown is not None or self.threshold is not None):
            raise UsageError("{calibration} chooses the threshold: leave out {unknown} and {threshold}.")
        if self.regions is not None and self.things:
            raise UsageError("Each box is one object: leave out {things}, or {regions}.")

    def slug(self) -> str:
        """Return the system that does the work where none is named and the backbone is not known yet.

        Of the two that may be meant it is the one that has more of the settings, or of names like theirs.
        """
        from diptych import catalog

        given = [name.partition(".")[0] for name in self.given_settings()]

        def named(slug: str) -> tuple[int, int]:
            names = [f.name for f in fields(catalog.find(slug, self.kind_of_system()))]  # type: ignore[arg-type]
            return sum(n in names for n in given), sum(bool(get_close_matches(n, names)) for n in given)

        usual = (DEFAULTS["segment"], DEFAULTS["segment cells"])
        return max(usual, key=named) if given else usual[0]

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse a choice of a system beside one that is fitted already."""
        keeping.refuse_choice(self, "segmenter", given)

    def is_fitted(self) -> bool:
        """Return whether the server was started with the segmenter."""
        return bool(self.segmenter)

    def check_with(self, system: Any) -> None:
        """Refuse a method whose SAM is not named."""
        if self.masks is None and "PromptableMasks" in system.card.needs.parts:
            raise UsageError(
                f"{system.card.slug} draws masks with SAM: give {{masks}}, such as hf:facebook/sam-vit-base, or a "
                f"folder."
            )

    def run(self, context: Context) -> LabelMaps:
        """Begin to segment: the photos are read one by one while the answer is."""
        from diptych.data.formats.region_table import with_regions
        from diptych.data.load import open_data
        from diptych.data.samples import need_photos
        from diptych.data.words.classnames import with_words
        from diptych.tasks.label_maps.fitted_segmenter import (
            names_of_folder,
            of_classes,
            parts_of_folder,
            templates_of_folder,
        )
        from diptych.tasks.label_maps.question import question
        from diptych.tasks.label_maps.segmented import COCO, endings, stems
        from diptych.tasks.segment import segmented, teach
        from diptych.verbs.label_maps import LabelMaps
        from diptych.verbs.names import names_of

        known, keys = keeping.served(self, context, "segmenter"), context.keys
        system = self.system() if known is None else known.about.system
        table, classes = open_photos(self.photos, keys, void=self.void)
        if self.regions is not None:
            if (paths := paths_of(self.photos)) is None:
                raise UsageError("{regions} names boxes on files: give {photos} as paths.")
            table = with_regions(open_data(paths, keys, need="photos"), Path(str(self.regions))).whole()
            table = table.take([i for i, b in enumerate(table.columns["boxes"].values) if len(b.corners)])
        need_photos(table.items)
        about = keeping.about_of(self) if known is None else known.about
        if about is not None and self.names is None:
            named, background = names_of_folder(about, self.background)
            if self.templates is not None:
                named = replace(named, templates=names_of(list(named.names), (), self.templates).templates)
        else:
            background = tuple(self.background)
            templates = templates_of_folder(about) if self.templates is None else self.templates
            named = with_words(names_of(self.names, () if self.names is not None else classes, templates))
        things = named.names if tuple(self.things) == ("all",) else self.things
        query = question(
            named, system, background=background, threshold=self.threshold, unknown=self.unknown, things=things
        )
        answer = LabelMaps(self, system.card.slug, named, query, table)
        ends = endings(confidence=self.confidence, things=answer.counted)
        marks = stems([table.items.name(i) for i in range(len(table))])
        context.free(*(f"{stem}{end}" for stem in marks for end in ends), *(COCO if answer.counted else ()))
        context = keeping.where(self, context)
        if all(source is None for source in (self.train, self.unlabelled, self.captioned)):
            context.expect(len(table))
        model, run = context.model(), context.run()
        if known is None and about is None and self.method is None:
            answer.slug = DEFAULTS[usual(model)]
            system = replace(self, method=answer.slug).system()
        parts = parts_of_folder(
            about, {"teacher": self.teacher, "proposer": self.proposer}, {"teacher": MAPS, "proposer": "auto"}
        )

        def taught(**data: Any) -> tuple[Kit, Evidence[Any]]:
            photos = data.pop("photos", lambda: None)
            return teach(type(system), model, photos, parts["teacher"], parts["proposer"], self.masks, **data)

        def fit() -> Any:
            kit, evidence = taught(
                photos=lambda: open_samples(self.unlabelled, keys),
                labelled=lambda: open_table(self.train, "masks", keys, void=self.void),
                captioned=lambda: open_table(self.captioned, "captions", keys),
            )
            return system.fit(kit, query.fit_classes, evidence, run)

        learns = not {"train", "unlabelled", "auxiliary"}.isdisjoint(system.card.needs.evidence)
        words = (query.fit_classes.names, query.fit_classes.templates, query.fit_classes.words)
        calibration = None if self.calibration is None else self._calibration(keys)
        key = None if learns else (repr(system), *words, self.teacher, self.proposer)
        facts = {"named": named, "background": background, **parts}
        of_names = keeping.read_or_fit(
            replace(self, method=system), context, lambda: taught()[0], fit, key, known, **facts
        )
        fitted = of_classes(of_names, query.fit_classes, run, system.card.slug)
        answer.backbone, answer.languages, answer.processor = model.spec.name, model.spec.languages, run
        if calibration is not None:
            from diptych.tasks.label_maps.pixel_risk import promise

            held, labels = calibration
            query, answer.promise = promise(fitted, held, labels, query, run, self.risk or DEFAULT_RISK)
        answer.start(segmented(fitted, table.items, query, run, confidence=self.confidence))
        return answer

    def _calibration(self, keys: FileKeys | None) -> tuple[Table[Any], tuple[str, ...]]:
        """Return photos with label maps, which the method must not learn from, and the classes of the maps."""
        from diptych.evaluation.datasets import open_set

        if not isinstance(self.calibration, (str, os.PathLike)):
            raise UsageError("{calibration} is the path of a folder with photos and label maps.")
        data = open_set(os.fspath(self.calibration), "masks", keys, void=kinds.numbers(self.void))
        if "val" in data.splits:
            return data.split("val"), data.classes
        if isinstance(self.train, (str, os.PathLike)) and os.fspath(self.train) == os.fspath(self.calibration):
            raise UsageError(
                "{calibration} must be photos that the method does not learn from: give others than {train}."
            )
        return data.split("train" if "train" in data.splits else next(iter(data.splits))), data.classes


def usual(backbone: Backbone) -> str:
    """Return the key of ``DEFAULTS`` for a backbone: whether it has an image tower, or cells of a map alone."""
    try:
        backbone.tower("image")
    except MissingHook:
        return "segment cells"
    return "segment"
