"""What boards share: which systems are run on which data, the folder of finished rows, and the table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from diptych.core import UsageError
from diptych.core.settings import by_system
from diptych.core.wording import number_of
from diptych.verbs import kinds
from diptych.verbs.arguments import argument
from diptych.verbs.board.measured import BoardRows
from diptych.verbs.declare import Verb
from diptych.verbs.kinds import Kind

if TYPE_CHECKING:
    from diptych.core import Backbone, ClassNames
    from diptych.evaluation.arms import Arm, Bench
    from diptych.evaluation.boards.choice import Reader
    from diptych.features.artefacts import About
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike, TemplatesLike

OFFERS = ("overwrite", "json", "backbone", "device", "precision", "engine", "batch", "workers", "cache", "verify")
"""Options of a run that boards offer."""


def _slugs(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    if wrong := [m for m in given if m is not None and not isinstance(m, str)]:
        raise UsageError(f"A board takes systems by their slugs, not {wrong[0]!r}: give for example ['gda'].")
    return kinds.words(value)


def _whole(value: str | int | Sequence[int]) -> tuple[int, ...]:
    parts = kinds.words(value) if isinstance(value, str) else (value,) if isinstance(value, int) else value
    numbers = tuple(int(part) for part in parts)
    if any(isinstance(part, float) and part != number for part, number in zip(parts, numbers, strict=True)):
        raise ValueError
    return numbers


def whole_numbers(argument: str, example: str) -> Kind:
    """Return the kind of several whole numbers: "1,4,16", one number, or a sequence of them."""

    def read(value: str | int | Sequence[int]) -> tuple[int, ...]:
        try:
            return _whole(value)
        except (TypeError, ValueError):
            raise UsageError(f"{{{argument}}} takes whole numbers such as {example}, not {value!r}.") from None

    return Kind(str | None, None, read)


def _by_system(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return by_system((value,) if isinstance(value, str) else value or ())
    if plain := [name for name, settings in value.items() if not isinstance(settings, Mapping)]:
        raise UsageError(
            f"{{settings}} are those of several systems: say whose {plain[0]} is, as SLUG.{plain[0]}=VALUE."
        )
    return value


def _folders(value: Any) -> tuple[Path, ...]:
    every = [value] if isinstance(value, (str, os.PathLike)) else value or ()
    if not isinstance(every, (list, tuple)) or not all(isinstance(f, (str, os.PathLike)) for f in every):
        raise UsageError(f"{{fitted}} names folders, not a {type(value).__name__}.")
    return tuple(Path(folder).expanduser() for folder in every)


def _path(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"a board reads a path or the name of a data set, not a {type(value).__name__}.")
    return os.fspath(value)


SLUGS = Kind(str | None, None, _slugs, slugs=True)
DATA = Kind(str, None, _path)
"""The data set of a board: a path, or a known name."""
ROW_SETTINGS = Kind(list[str] | None, None, _by_system)
"""Settings of systems: lines such as "SLUG.epochs=100", or in Python {"SLUG": {"epochs": 100}}."""
FOLDERS = Kind(list[Path] | None, None, _folders)
METHODS = "Systems, with commas, as NAME or NAME:VARIANT (default: all of the verb)."
SETTING = "A setting of a system, such as SLUG.epochs=100; repeat for several."
BUDGET = "Seconds for all rows; those that are finished by then are shown."
FITTED = (
    "Folder of a fitted system, which is measured as it is; repeat for several. Where no methods are named, no system "
    "is fitted beside them but those of the baseline rows."
)


def the_same(verb: type[Verb], name: str, default: Any) -> Any:
    """Return the field of an argument that another verb declares."""
    return field(default=default, metadata={"argument": verb.arguments()[name]})


def fitted_folders() -> Any:
    """Return the field of folders with systems that were fitted before."""
    return argument(FITTED, FOLDERS, ())


def classes_of(
    names: NamesLike, classes: Sequence[str], templates: TemplatesLike = None
) -> tuple[ClassNames, list[str]]:
    """Return class names with their templates, and a remark where they are numbers."""
    from diptych.data.words.classnames import unreadable_names
    from diptych.verbs.names import names_of

    numbers = unreadable_names(classes) if names is None else ""
    return names_of(names, tuple(classes), templates), [numbers] if numbers else []


def refuse_other(context: Context, verb: str, facts: Mapping[str, Any] | None = None) -> None:
    """Refuse a folder with a whole board, or one of another verb or other data, unless it may be replaced."""
    from diptych.evaluation.board import expect

    if context.out is not None and not context.overwrite:
        expect(context.out, verb, facts)


@dataclass(frozen=True, kw_only=True)
class BoardVerb(Verb):
    """A board: it keeps its rows in the folder that it writes, and may measure systems of folders as they are."""

    without_out: ClassVar[str] = "None: no row is kept."
    python_out: ClassVar[Any] = "name"
    trains: ClassVar[bool] = False
    offers: ClassVar[tuple[str, ...]] = OFFERS

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse settings of systems where only those of folders are measured."""
        if self.folders() and not getattr(self, "methods", ()) and "settings" in given:
            raise UsageError(
                "Only systems of folders are measured, which keep their settings, so {settings} has no effect: leave "
                "it out."
            )

    def folders(self) -> tuple[Path, ...]:
        """Return the folders of fitted systems."""
        return _folders(getattr(self, "fitted", ()))

    def saved(self, out: Path | None) -> tuple[str, str]:
        """Return how many rows are kept."""
        return saved_rows(out)


def saved_rows(out: Path | None) -> tuple[str, str]:
    """Return how many rows of a board are in its folder, and what goes on from them; see ``Verb.saved``."""
    rows = 0 if out is None else len(list(out.glob("**/rows/*.json")))
    return (f"{number_of(rows, 'row is', 'rows are')} in {out}", "the same command uses them") if rows else ("", "")


@dataclass(frozen=True, kw_only=True)
class SystemsBoard(BoardVerb):
    """Measure every fitting system of a verb on one data set. A subclass opens the data, ``bench``.

    ``every`` says whether all rows of all cards are run where no methods are named.
    """

    name: ClassVar[str] = "board"
    every: ClassVar[bool] = False
    item: ClassVar[str] = "BoardRow"
    out_help: ClassVar[str] = "Folder for rows and board."

    methods: str | Sequence[str] | None = argument(METHODS, SLUGS, ())
    settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = argument(SETTING, ROW_SETTINGS, (), flag="--set")
    seeds: int | Sequence[int] = argument("Seeds of draws and trainings.", whole_numbers("seeds", "1,2,3"), (1, 2, 3))
    budget: float | None = argument(BUDGET, default=None)

    @property
    def draws(self) -> tuple[int, ...]:
        """The seeds."""
        return _whole(self.seeds)

    def without(self) -> Sequence[Arm]:
        """Return the rows that run only where they are named."""
        return ()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> Bench:
        """Open the data, which may be absent, then the backbone, and return what measures a row.

        Args:
            context: where the board runs.
            load: returns the backbone.
            notes: takes remarks.
        """
        raise NotImplementedError

    def run(self, context: Context) -> BoardRows:
        """Open the data, then the backbone, and measure the rows."""
        from diptych.evaluation.boards.choice import arms_of, in_lengths, loaded_arms, stated_of
        from diptych.evaluation.boards.verb import verb_board

        if "engine" in self.run_options:  # towers that are trained or looked into run in torch, and so does their start
            context = context.like({}, engine="torch")
        refuse_other(context, self.systems_of)
        folders, settings = self.folders(), _by_system(self.settings)
        abouts = stated_of(self.systems_of, folders)
        methods = tuple(self.methods or ()) or (() if folders else None)
        arms = arms_of(self.systems_of, methods, every=self.every, without=self.without(), settings=settings)
        notes: list[str] = []
        bench = self.bench(context, Loader(context, folders, abouts), notes)
        refuse_other(context, self.systems_of, bench.facts)
        arms = in_lengths(arms, tuple(getattr(bench, "lengths", ())))
        if folders:
            arms += loaded_arms(cast("Reader", bench), folders, abouts)
        board = verb_board(self.systems_of, bench, arms, budget=self.budget, keep=context.out, command=context.command)
        return BoardRows(board, context.out, notes)


@dataclass(frozen=True)
class Loader:
    """Loads the backbone of a board: that of the folders that it measures, where the user names none."""

    context: Context
    folders: Sequence[Path] = ()
    abouts: Sequence[About] = ()

    def __call__(self) -> Backbone:
        """Return the backbone; raises UsageError where the folders were fitted on several."""
        from diptych.evaluation.boards.choice import backbone_of

        name = backbone_of(self.folders, self.abouts)
        return self.context.chosen(name) if name else self.context.model()
