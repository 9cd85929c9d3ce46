"""``board classify``: every classifier at several shots and seeds, on one data set or on several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError, UsageError
from diptych.core.settings import as_text
from diptych.verbs import kinds
from diptych.verbs.arguments import NAMES, TEMPLATES, argument
from diptych.verbs.board.board import (
    ROW_SETTINGS,
    SETTING,
    SLUGS,
    BoardVerb,
    Loader,
    classes_of,
    fitted_folders,
    whole_numbers,
)
from diptych.verbs.board.classifiers import Classifiers
from diptych.verbs.kinds import Kind
from diptych.verbs.photos import open_labelled

if TYPE_CHECKING:
    from diptych.core import ClassNames
    from diptych.data.labelled import LabelledData
    from diptych.data.words.pools import Pool
    from diptych.evaluation.few_shot.board import Board
    from diptych.evaluation.few_shot.plan import Plan
    from diptych.evaluation.few_shot.unlabelled import Unlabelled
    from diptych.features.artefacts import About
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike, TemplatesLike, TextsLike


def _settings(value: Any) -> tuple[str, ...]:
    """Return settings as lines, as plan and records hold them."""
    if isinstance(value, str) or not isinstance(value, Mapping):
        return (value,) if isinstance(value, str) else tuple(value or ())
    every = ROW_SETTINGS.read(value)
    return tuple(f"{slug}.{name}={as_text(v)}" for slug, settings in every.items() for name, v in settings.items())


def data_sets(value: Any) -> tuple[Any, ...]:
    """Return one or several data sets; a list holds several."""
    return tuple(value) if isinstance(value, list) else (value,)


BASE = "zero-shot"
"""The system that runs beside those of folders where no other is named."""


@dataclass(frozen=True, kw_only=True)
class BoardClassify(BoardVerb):
    """Run every classifier at several shots and seeds; finished rows are kept and used again."""

    name: ClassVar[str] = "board classify"
    systems_of: ClassVar[str] = "classify"
    examples: ClassVar[tuple[str, ...]] = (
        "board classify birds/ --methods zero-shot,gda --shots 1,4,16",
        "board classify birds/ cars/ --budget 3600",
    )
    item: ClassVar[str] = "Row"
    out: ClassVar[str] = "out/board"
    out_help: ClassVar[str] = "Folder for rows, board.json, board.csv and report.html."

    data: Any = argument(
        "A folder with train and test, a table, or demo:clothes; several are compared.",
        Kind(list[str], None, data_sets), positional=True,
    )  # fmt: skip
    methods: str | Sequence[str] | None = argument(
        "Names of systems, with commas, as diptych systems lists them (default: all).", SLUGS, ()
    )
    settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = argument(
        SETTING, Kind(list[str] | None, None, _settings), (), flag="--set"
    )
    shots: int | Sequence[int] = argument(
        "Training photos of each class.", whole_numbers("shots", "1,4,16"), (1, 4, 16)
    )
    seeds: int | Sequence[int] = argument("Seeds of the draws.", whole_numbers("seeds", "1,2,3"), (1, 2, 3))
    val: str = argument(
        "coop: choose on min(shots, 4) val items per class; full: on all of val; none: choose nothing, with "
        "settings that are the same for all data sets.", default="coop",
    )  # fmt: skip
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    templates: TemplatesLike = argument(TEMPLATES, kinds.TEMPLATES, None)
    texts: TextsLike = argument(
        "Descriptions of the classes: a JSON pool, or one that ships (default: the data set's).", kinds.POOL, None
    )
    unlabelled: str | PathLike[str] | None = argument(
        "Photos for label-free systems (default: train).", kinds.PHOTOS, None
    )
    budget: float | None = argument(
        "Seconds for the whole board; rows that are finished by then are shown.", default=None
    )
    timeout: float | None = argument("Seconds for each system.", default=None)
    export: str | None = argument("Write OUT/model: best (chosen on val), or the slug of a system.", default=None)
    fitted: Any = fitted_folders()

    def check(self) -> None:
        """Refuse no data set, and what belongs to one beside several."""
        if not self.data:
            raise UsageError("{data} names no data set: give one, or several to compare.")
        if len(self.data) > 1 and (self.names or self.texts or self.unlabelled or self.fitted):
            raise UsageError(
                "{names}, {texts}, {unlabelled} and {fitted} belong to one data set: give one, or leave them out."
            )
        if self.export == "best" and self.val == "none":
            raise UsageError("The best system is chosen on val: name a system for {export}, or leave {val} out.")

    def plan(self) -> Plan:
        """Return what is run, with its limits."""
        from diptych.evaluation.few_shot.plan import Plan

        shots, seeds = (whole_numbers(n, "1,4,16").read(getattr(self, n)) for n in ("shots", "seeds"))
        slugs = tuple(self.methods or ()) or ((BASE,) if self.folders() else None)
        rule: Any = self.val
        return Plan(slugs, shots, seeds, rule, self.budget, self.timeout, _settings(self.settings))

    def run(self, context: Context) -> Classifiers:
        """Open the data, then the backbone, unless a board of the same lies there, and measure."""
        from diptych.evaluation.few_shot.unlabelled import Unlabelled

        plan, given = self.plan(), self.data
        sets = [open_labelled(data, "classes", context.keys) for data in given]
        if self.names is None:
            for data in sets:
                _need_classes(data)
        named = [classes_of(self.names, data.classes, self.templates) for data in sets]
        names, notes = [classes for classes, _ in named], [line for _, lines in named for line in lines]
        pool = pool_of(self.texts)
        photos = Unlabelled.open(os.fspath(self.unlabelled), context.keys) if self.unlabelled else None
        paths = [os.fspath(d) if isinstance(d, (str, os.PathLike)) else "" for d in given]
        sources = [path or data.name for path, data in zip(paths, sets, strict=True)]
        earlier, folders = None, self.folders()
        if len(sets) == 1 and not folders:  # the key of a board says nothing of folders
            earlier = EarlierBoard(self, context, plan, sets[0], names[0], pool, photos, sources[0])
        if earlier is not None and (before := earlier.before()) is not None:
            return self._answer(context, [], [before], notes, unchanged=True)
        loader = Loader(context, folders, self._stated())
        boards = self._measured(context, loader, plan, sets, names, sources, pool, photos)
        shown = [each.as_dict() for each in boards]
        if earlier is not None:
            earlier.keep(shown[0])
        return self._answer(context, boards, shown, notes)

    def _answer(self, context: Context, boards: Sequence[Board], *rest: Any, unchanged: bool = False) -> Classifiers:
        shown, notes = rest
        return Classifiers(
            boards, shown, context.out, notes, several=len(self.data) > 1, export=self.export,
            unchanged=unchanged,
        )  # fmt: skip

    def _stated(self) -> list[About]:
        """Return what the folders of fitted classifiers say of their content."""
        if not self.folders():
            return []
        from diptych.evaluation.boards.choice import stated_of
        from diptych.evaluation.few_shot.loaded import stated

        return stated_of("classify", self.folders(), stated)

    def _measured(
        self, context: Context, loader: Loader, plan: Plan, sets: Sequence[LabelledData], names: Sequence[ClassNames],
        sources: Sequence[str], pool: Pool | None, photos: Unlabelled | None,
    ) -> list[Board]:  # fmt: skip
        """Return the boards, each of which is written before the next begins."""
        from diptych.evaluation.few_shot import again
        from diptych.evaluation.few_shot.board import board
        from diptych.evaluation.few_shot.loaded import read
        from diptych.evaluation.few_shot.plan import PAGE
        from diptych.evaluation.pages import board as report
        from diptych.tasks.label_maps.segmented import stems

        boards, backbone = [], loader()
        loaded = [
            read(f, a, backbone, sets[0].name, names[0]) for f, a in zip(loader.folders, loader.abouts, strict=True)
        ]
        if loaded and context.out is not None:
            again.forget(context.out)
        for i, stem in enumerate(stems([data.name.replace(":", "-") for data in sets])):
            folder = context.out if context.out is None or len(sets) == 1 else context.out / stem
            result = board(
                sets[i], backbone, replace(context.run(), out=folder), plan, classes=names[i], texts=pool,
                unlabelled=photos, loaded=loaded, export=self.export, source=sources[i], command=context.command,
                overwrite=context.overwrite,
            )  # fmt: skip
            if folder is not None:
                report.write(result, folder / PAGE)
            boards.append(result)
            if result.interrupted:
                break
        return boards


class EarlierBoard:
    """A board of one data set that is not run again where nothing that decides it has changed."""

    def __init__(
        self, verb: BoardClassify, context: Context, plan: Plan, data: LabelledData, classes: ClassNames,
        pool: Pool | None, photos: Unlabelled | None, source: str,
    ) -> None:  # fmt: skip
        self.verb, self.context, self.plan, self.data, self.classes = verb, context, plan, data, classes
        self.pool, self.photos, self.source = pool, photos, source

    def before(self) -> dict[str, Any] | None:
        """Return the board that lies there, as plain data; None where it must be run. Loads no torch."""
        from diptych.evaluation.few_shot import again
        from diptych.evaluation.few_shot.plan import PAGE

        out, known = self.context.out, self.context.recalled()
        if out is None or known is None or not (out / PAGE).exists():
            return None
        before = again.written(out, self._key(known[0].fingerprint))
        return None if before is None else before | {"encode": dict.fromkeys(before["encode"], 0.0)}

    def keep(self, board: Mapping[str, Any]) -> None:
        """Write the key of a board that was run, and remember its backbone."""
        from diptych.evaluation.few_shot import again

        if self.context.out is not None:
            backbone = self.context.model()
            self.context.remember(backbone)
            again.keep(self.context.out, self._key(backbone.fingerprint), board)

    def _key(self, fingerprint: str) -> str:
        from diptych.evaluation.few_shot import again

        request = {"backbone": fingerprint, "source": self.source, "export": self.verb.export, **self.context.options}
        return again.key_of(self.data, self.plan, self.classes, self.pool, self.photos, request)


def _need_classes(data: LabelledData) -> None:
    if not data.classes:
        raise DataError(
            f"A board measures labelled photos, and {data.name} has no classes: give class folders, train/cat/1.jpg "
            f"and test/cat/2.jpg, or a table with a column class_name; 'diptych classify' names photos without labels"
            f"{data.heading}."
        )


def pool_of(texts: TextsLike) -> Pool | None:
    """Return descriptions of classes as a pool; None: there are none."""
    from diptych.data.words.pools import Pool, read_pool
    from diptych.verbs.names import texts_of

    if isinstance(texts, (str, os.PathLike)):
        return read_pool(texts)
    pool = texts_of(texts)
    return None if pool is None else Pool("given", pool)
