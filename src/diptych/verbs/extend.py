"""``extend``: from labelled clips, point clouds or light curves to a space that names others."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.ranges import at_least
from diptych.core.settings import with_settings
from diptych.data.format import FRAMES, Request
from diptych.data.modalities import CLIPS, Modality, modality, modality_of
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import keeping, kinds
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import LOCAL, NAMES, argument, fit_workers, method, settings
from diptych.verbs.declare import RUN, Verb, plain_system
from diptych.verbs.reads import has

if TYPE_CHECKING:
    from diptych.core import ClassNames, Extender, Run
    from diptych.data.labelled import LabelledData
    from diptych.tasks.extend import Extended
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike

PASSES = 50
"""Passes over the samples where none are given."""
TEMPLATE = "a photo of a {}."


@dataclass(frozen=True, kw_only=True)
class Extend(Verb):
    """Learn classes of clips, point clouds or light curves from labelled ones, and save a space that names others."""

    role: ClassVar[str] = "diptych.core.method:Extender"
    result: ClassVar[str] = "FittedSpace"
    out: ClassVar[str] = "clip-model"
    out_help: ClassVar[str] = "New folder for the space, and for the tuned weights where there are some."
    python_out: ClassVar[Any] = "position"
    offers: ClassVar[tuple[str, ...]] = (*RUN[1:], "batch", "workers")

    data: Any = argument(
        "A folder train/CLASS/CLIP, and test/ or val/: videos or folders of frames, or point clouds. Or one with "
        "light_curves.csv and stars.csv.", kinds.Kind(str), flag="CLIPS", positional=True, faces=LOCAL,
    )  # fmt: skip
    names: NamesLike = argument(NAMES, kinds.NAMES, None, faces=LOCAL)
    template: str = argument(
        "One prompt with {} for the class of a clip or cloud.", default=TEMPLATE, faces=LOCAL,
        reads=lambda system: modality(system.samples).named,
    )  # fmt: skip
    method: str | Extender | None = method(
        None,
        f"For clips {DEFAULTS['extend clips']} (tunes the backbone; the order of frames has no effect), or any other "
        "extender: see diptych systems --verb extend.",
    )
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    tunes: str | None = argument(
        "full (both towers) or heads (the layers after their pooling; quick; the default).", default=None, faces=LOCAL,
        reads=lambda system: system.samples == CLIPS.name and has("tunes")(system),
    )  # fmt: skip
    frames: int | None = argument(
        f"Frames sampled from each clip (default: {FRAMES}).", default=None, range=at_least(1), reads=has("frames"),
        faces=LOCAL,
    )  # fmt: skip
    label: str | None = argument(
        "With light curves: column of the class in stars.csv.", default=None, faces=LOCAL
    )  # fmt: skip
    epochs: int | None = argument(
        f"Passes over the clips, clouds or curves (default: {PASSES}).", default=None, range=at_least(1), faces=LOCAL,
        reads=lambda system: has(system.passes)(system),
    )  # fmt: skip
    seed: int = argument("Seed of the order and the views.", default=0, faces=LOCAL)
    fit_workers: int = fit_workers()
    fitted: str | Path | None = argument(
        "Folder of a space that was fitted before, to measure on test or val; nothing is learnt or written.",
        kinds.FOLDER, None,
    )  # fmt: skip

    def check(self) -> None:
        """Refuse photos, and what else no extender learns from."""
        path, kind = self._path(), self._modality()
        if kind is None and path is not None and path.startswith("demo:"):
            raise UsageError(f"{path} holds photos, and extend learns from clips: {CLIPS.layout}.")
        if self.tunes not in ("full", "heads", None):
            raise UsageError(f"{{tunes}} takes full or heads, not {self.tunes!r}: for prompts use {{settings}}.")
        if self.fitted is not None and not self.is_kept():
            raise UsageError(f"There is no folder {self.fitted}: name one that extend wrote, or give {{out}} instead.")

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse settings beside a space that was fitted before, which keeps its own."""
        idle = [name for name in ("settings", "tunes", "frames", "epochs", "seed", "fit_workers") if name in given]
        if self.fitted is not None and idle:
            names = " and ".join(f"{{{name}}}" for name in idle)
            raise UsageError(f"A space of {{fitted}} keeps its settings: leave {names} out, or {{fitted}}.")

    def chooses(self) -> bool:
        """Return whether a system is to learn."""
        return self.fitted is None

    def slug(self) -> str:
        """Return the system of the modality that the data hold."""
        from diptych.tasks.extenders import default_extender

        return default_extender(self._modality() or CLIPS)

    def system(self) -> Any:
        """Return the extender, fitted in minutes on two cores unless its settings are given.

        Raises:
            UsageError: it learns from other samples than the data hold, or has no such setting.
        """
        from diptych.tasks.extenders import extender, of_modality

        given = {"frames": self.frames, "tunes": self.tunes}
        if self.method is None or isinstance(self.method, str):
            slug, kind = self.method or self.slug(), self._modality()
            of_modality(slug, kind or CLIPS, certain=kind is not None)
            base = extender(slug, **{**given, "frames": self.frames or FRAMES}, passes=self.epochs or PASSES)
        else:
            base = plain_system(self.method)
            named = {**given, base.passes: self.epochs}
            base = with_settings(base, {name: value for name, value in named.items() if name and value is not None})
        return with_settings(base, self.given_settings())

    def check_with(self, system: Any) -> None:
        """Refuse a system of other samples, names of classes that no words name, and a label that no table has."""
        kind, holds = modality(system.samples), self._modality()
        if holds is not None and holds.name != kind.name:
            raise UsageError(
                f"{system.card.slug} learns from {kind.title}, and these are {holds.title}: give another {{method}}."
            )
        if self.label is not None and not kind.rows:
            raise UsageError(f"{{label}} is for light curves, and these are {kind.title}: leave it out.")
        if self.names and not kind.named:
            raise UsageError("Classes of stars are those of stars.csv: leave out {names}.")

    def run(self, context: Context) -> Extension:
        """Open the samples, then load the backbone, fit, measure and keep."""
        from diptych.tasks.extend import extend, refuse_full

        if self.fitted is not None:
            return self._measured(Path(self.fitted), context)
        if context.out is not None:
            refuse_full(context.out)
        system = self.system()
        kind = modality(system.samples)
        data = self._open(kind, int(getattr(system, "frames", FRAMES)), context)
        classes, looks = self._classes(data, kind), bool(system.card.needs.hooks)
        if not looks and getattr(context, "given", None) is not None:
            raise UsageError(f"{system.card.slug} does not read {{model}}: leave it out.")
        where = context if kind is CLIPS else context.like({}, engine="torch")
        tower = where.model() if looks else None
        run = replace(where.run() if looks else where.light_run(), seed=self.seed)
        result = extend(data, classes, tower, system, run, out=context.out, workers=self.fit_workers)
        return Extension(self, result, system.card.name, data.classes, run)

    def _measured(self, folder: Path, context: Context) -> Extension:
        """Measure a space that was fitted before."""
        from diptych.core import DataError
        from diptych.tasks.fitted_space import measure_fitted, stated
        from diptych.tasks.space_classifier import stated as stated_space

        if context.out is not None and str(context.out) != self.out:
            raise UsageError("A space of {fitted} is measured, and nothing is written: leave {out} out, or {fitted}.")
        about, space = stated(folder), stated_space(folder)
        if not about.slug or (space is None and about.system is None):
            raise DataError(f"{folder} holds no fitted space: name one that extend wrote.")
        if self.method is not None and (slug := self._slug_of_method()) != about.slug:
            raise UsageError(f"{folder} holds what {about.slug} fitted, and not {slug}: leave {{method}} out.")
        kind = modality(space.samples if space is not None else about.system.samples)
        frames = space.frames if space is not None else int(getattr(about.system, "frames", 0))
        if (holds := self._modality()) is not None and holds.name != kind.name:
            raise UsageError(
                f"{folder} takes {kind.title}, and {self._path()} holds {holds.title}: give another {{fitted}}."
            )
        data = self._open(kind, frames or FRAMES, context)
        classes = self._classes(data, kind)
        where = keeping.where(self, context) if kind is CLIPS else context.like({}, engine="torch")
        tower = where.chosen(about.backbone) if about.backbone else None
        run = where.run() if tower is not None else where.light_run()
        result = measure_fitted(data, classes, tower, folder, run, prompts=self.template == TEMPLATE)
        return Extension(self, result, about.slug, data.classes, run)

    def _slug_of_method(self) -> str:
        return self.method.partition(":")[0] if isinstance(self.method, str) else plain_system(self.method).card.slug

    def _open(self, kind: Modality, frames: int, context: Context) -> LabelledData:
        from diptych.data.samples import as_data

        path = self._path()
        if path is None:
            return as_data(self.data)
        return kind.open([path], Request(keys=context.keys, frames=frames, label=self.label or ""))

    def _classes(self, data: LabelledData, kind: Modality) -> ClassNames:
        from diptych.tasks.extenders import classes_of
        from diptych.verbs.names import names_of

        if not kind.named:
            return classes_of(data, kind)
        if self.names is None and not data.classes:
            raise UsageError(
                f"{self._path() or data.name} has no class folders, so there is nothing to learn: {kind.layout}."
            )
        return names_of(self.names, data.classes, (self.template,))

    def _path(self) -> str | None:
        return os.fspath(self.data) if isinstance(self.data, (str, os.PathLike)) else None

    def _modality(self) -> Modality | None:
        """Return what a path holds; None where folders of pictures may be frames, and for data that are open."""
        path = self._path()
        return None if path is None else modality_of(path)


class Extension(Answer[Any]):
    """A fitted space, and how many held samples it names right beside what it is compared with."""

    listed = False

    def __init__(self, verb: Extend, result: Extended, name: str, classes: Sequence[str], run: Run) -> None:
        super().__init__(iter(()))
        self.verb, self.result, self.system, self.labels, self.run = verb, result, name, classes, run
        self.failed += result.failed

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return what was fitted on what, and what it names right."""
        settings = {name: str(value) for name, value in self.verb.given_settings().items()}
        return {**self.result.as_dict(), "settings": settings, "remarks": list(remarks)}

    def remarks(self, items: Sequence[Any]) -> list[str]:
        """Return that names are numbers, and that nothing was measured."""
        from diptych.data.words.classnames import unreadable_names

        numbers = "" if self.verb.names else unreadable_names(self.labels)
        unmeasured = "" if self.result.held else "There is no test or val split, so nothing is measured."
        return [line for line in (numbers, unmeasured) if line]

    def summary(self, out: Path | None) -> list[str]:
        """Return what was learnt, what is named right, and how others are named."""
        kind = self.result.classifier.modality
        folder = self.verb.fitted or out
        others = (
            []
            if folder is None
            else [f"Name others with: diptych classify {kind.name.upper()} --model {shlex.quote(str(folder))}"]
        )
        return [*self.result.lines(self.system), *others]
