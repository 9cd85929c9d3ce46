"""How a verb is declared: a frozen dataclass of its arguments, each with its help, kind and range.

The command, the Python function with its stub, and the HTTP body are derived from these fields (``cli.declared``,
``api.declared``, ``serve.declared``), so that an argument stands once. Loads no torch.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from diptych.core import MissingEvidence, UsageError
from diptych.core.settings import with_settings
from diptych.data.files import database_address
from diptych.tasks.defaults import slug_and_row
from diptych.verbs import keeping
from diptych.verbs.arguments import Argument, Face
from diptych.verbs.reads import refuse_unread

if TYPE_CHECKING:
    from diptych.core import Method
    from diptych.verbs.answer import Answer
    from diptych.verbs.context import Context

RUN = ("overwrite", "json", "backbone", "device", "precision", "engine", "cache", "verify")
"""Options of a run that most commands offer, see ``cli.options.RunOptions``."""
CLUSTER = ("cluster", "cluster_threads")
"""Options of those whose items the workers of a cluster can share."""

LIGHT: Mapping[str, Any] = {"backbone": "tiny", "engine": "torch", "workers": 1}
"""The run of verbs whose small systems were trained with ``tiny``."""
SLOW_RUN = ("overwrite", "json", "backbone", "device", "precision", "batch", "cache", "verify")
"""Options of a run of these verbs."""

ARRAYS = (".npy", ".npz", ".parquet", ".pt", ".pth", ".safetensors", ".onnx")
"""Endings of files of arrays and tables that have no media type."""

PLAIN_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (str, int, float, bool)},
    **{f"{kind.__name__} | None": kind | None for kind in (str, int, float, bool)},
}
"""Types of arguments of the kind ``kinds.PLAIN``, by their text."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One thing that a user asks for. A subclass is a frozen dataclass of its arguments.

    Its docstring is the help of the command and of the function, and its name in lower case that of all faces. ``role``
    is the base class of its systems as "module:Class", ``systems_of`` their verb where ``role`` has none, ``item`` the
    type of one result, ``out`` the folder that the command writes by default ("": none), ``report`` the help of a JSON
    file that the command writes where it is named ("": none), ``examples`` are command lines for its help, and
    ``run_options`` the defaults of the run that differ from those of other verbs. ``python_out`` says whether the
    Python function takes ``out=`` and, where the command does, ``overwrite=``, and writes there, by name or before the
    model ("": it writes nothing; "must": before the model, and it must be given), and ``result`` what it returns ("":
    ``Results`` of items). ``without_out`` is what its help says of None, ``out_is_file`` that ``out`` is a file,
    ``side_by_side`` that several processes may write into one vector database at a time, ``trains`` that a system may
    train, so that there is a trial, and ``takes_model`` that the function has an argument ``model``. Where ``on_model``
    is true, the verb is about the model itself: it is the first word of the command, and the function must have it and
    ``out``. ``raises`` documents an error of this verb alone, and ``without_model`` which model is taken where the
    function is given none ("": the default of the run, or that of ``fitted``). Where ``learns_in_steps`` is true, a
    copy of the model is trained in steps: the work locks its output itself, for processes of torchrun write there
    together, as many processes load as are asked for, and a recipe file repeats the command. Where ``goes_on`` is true,
    or a cluster can share the items, what was done of them is left by a command that is stopped, and the same command
    goes on from there. ``former`` holds names that arguments of the function had in the last version, with those of
    today.
    """

    name: ClassVar[str] = ""
    item: ClassVar[str] = "Any"
    role: ClassVar[str] = "diptych.core.method:Method"
    systems_of: ClassVar[str] = ""
    out: ClassVar[str] = ""
    out_help: ClassVar[str] = ""
    out_is_file: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    takes_model: ClassVar[bool] = True
    report: ClassVar[str] = ""
    python_out: ClassVar[Literal["", "name", "position", "must"]] = ""
    without_out: ClassVar[str] = "None: nothing is written."
    without_model: ClassVar[str] = ""
    result: ClassVar[str] = ""
    on_model: ClassVar[bool] = False
    raises: ClassVar[str] = ""
    learns_in_steps: ClassVar[bool] = False
    goes_on: ClassVar[bool] = False
    former: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[tuple[str, ...]] = ()
    run_options: ClassVar[Mapping[str, Any]] = {}
    offers: ClassVar[tuple[str, ...]] = (*RUN, "batch", "workers")

    def __init_subclass__(cls) -> None:
        cls.name = cls.__dict__.get("name") or cls.__name__.lower()

    @classmethod
    def locked(cls, out: Path | None) -> Path | None:
        """Return the output that one process alone may write at a time, and that is not locked by the work itself."""
        shared = cls.side_by_side and out is not None and database_address(out) is not None
        return None if cls.learns_in_steps or shared else out

    @classmethod
    def check_out(cls, out: Path | None) -> None:
        """Refuse the name of a file where a folder is written.

        Raises:
            UsageError: it ends as files of tables, pictures or arrays do, and is not there yet.
        """
        if out is None or cls.out_is_file or cls.report or out.exists():
            return
        if out.suffix.lower() in ARRAYS or guess_type(out.name)[0] is not None:
            raise UsageError(
                f"{{out}} is a folder of several files, and {out} has the name of a file: give {{out}} without "
                f"{out.suffix}."
            )

    @classmethod
    def arguments(cls, face: Face | None = None) -> dict[str, Argument]:
        """Return name -> argument, of one face or of all."""
        every = {f.name: f.metadata["argument"] for f in dataclasses.fields(cls)}
        return {name: a for name, a in every.items() if face is None or (face in a.faces and a.kind.on(face))}

    @classmethod
    def type_of(cls, name: str) -> Any:
        """Return the type of a plain argument; names in the annotations of other kinds need not be loaded."""
        text = next(texts[name] for base in cls.__mro__ if name in (texts := inspect.get_annotations(base)))
        return PLAIN_TYPES[text] if text in PLAIN_TYPES else str | None

    @classmethod
    def parsed(cls, face: Face, **values: Any) -> Self:
        """Return the verb of what a face was given; each value is read by its kind.

        Raises:
            UsageError: a value that cannot be read; it names the argument.
        """
        arguments, read = cls.arguments(), {}
        for name, value in values.items():
            try:
                kind = arguments[name].kind
                read[name] = kind.read(kind.typed(value) if face == "command" else value)
            except UsageError as error:
                raise UsageError(error.args[0] if "{" in error.args[0] else f"{{{name}}}: {error.args[0]}") from None
        return cls(**read)

    def check(self) -> None:
        """Refuse what cannot mean anything, before anything is loaded."""

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse arguments that the user wrote and that have no effect."""

    def defaults(self) -> Mapping[str, Any]:
        """Return settings of the system that arguments of the verb give."""
        return {}

    def system(self) -> Any:
        """Return the system with its settings.

        Raises:
            UsageError: it is unknown, of another verb, or has no such setting.
        """
        from diptych import catalog

        chosen: Any = getattr(self, "method", None) or self.slug()
        if not isinstance(chosen, str):
            base = plain_system(chosen)
        else:
            kind, variant = catalog.find(chosen, self.kind_of_system()), self.row()
            base = catalog.row(kind, variant) if variant else kind()
        return with_settings(with_settings(base, self.defaults()), getattr(self, "settings", None) or {})

    def row(self) -> str:
        """Return the variant: the named one, or where none is named that of ``DEFAULTS`` for its own system alone."""
        variant: str | None = getattr(self, "variant", "")
        if variant is not None:
            return variant
        slug, usual = slug_and_row(self.name)
        return usual if (getattr(self, "method", None) or self.slug()) == slug else ""

    def given_settings(self) -> dict[str, Any]:
        """Return the settings of the system by their names, as plain data for records."""
        given: Any = getattr(self, "settings", None)
        return dict(given or {})

    def has_system(self) -> bool:
        """Return whether a system does the work, named by the user or not."""
        return getattr(self, "method", None) is not None or type(self).slug is not Verb.slug

    def slug(self) -> str:
        """Return the system that does the work where none is named."""
        raise NotImplementedError

    @classmethod
    def verb_of_systems(cls) -> str:
        """Return the verb whose systems ``method`` or ``methods`` names."""
        return cls.systems_of or cls.kind_of_system().verb or cls.name

    @classmethod
    def kind_of_system(cls) -> type[Method]:
        """Return the base class of the systems of this verb."""
        module, _, name = cls.role.partition(":")
        kind: type[Method] = getattr(import_module(module), name)
        return kind

    def checked(self, given: Iterable[str]) -> Self:
        """Refuse what cannot be done with what was given, before a model is loaded.

        Args:
            given: names of the arguments that the user wrote; the others have their defaults.

        Raises:
            UsageError: a value outside its range, one that the system does not read, or evidence that is missing.
            MissingExtra: the system needs an extra.
        """
        for name, a in self.arguments().items():
            value = getattr(self, name)
            if a.range is not None and value is not None and value not in a.range:
                raise UsageError(f"{{{name}}} must be {a.range.words}, got {value!r}.")
        resolved = keeping.resolved(self, frozenset(given))
        resolved.check()
        resolved.check_given(frozenset(given))
        if resolved.chooses():
            resolved._check_system(frozenset(given))
        return resolved

    def _check_system(self, given: frozenset[str]) -> None:
        system = self.system()
        arguments = self.arguments()
        refuse_unread(system, {n: a.reads for n, a in arguments.items() if a.reads is not None}, given)
        for name, a in arguments.items():
            missing = a.evidence and a.evidence in system.card.needs.evidence and getattr(self, name) is None
            if missing and not self.is_kept():
                what = a.help[0].lower() + a.help[1:].rstrip(".")
                raise MissingEvidence(f"{system.card.slug} needs {what}: give {{{name}}}.")
        self.check_with(system)
        if not self.is_kept():
            system.check_extras(learns=self.learns())

    def is_kept(self) -> bool:
        """Return whether the system was trained before and lies in a folder, so that it needs no extra to be fitted."""
        return keeping.is_there(self)

    def learns(self) -> bool:
        """Return whether there is something to learn from, for systems that also work without."""
        return True

    def is_fitted(self) -> bool:
        """Return whether what does the work was fitted before, so that no system is chosen."""
        return False

    def is_plain(self) -> bool:
        """Return whether the default system answers as it is: nothing of it is checked, and so nothing is imported."""
        return False

    def chooses(self) -> bool:
        """Return whether there is a system that can be checked."""
        return hasattr(self, "method") and not self.is_fitted() and not self.is_plain()

    def check_report(self, path: Path) -> None:
        """Refuse a report that the command cannot write, before any work."""

    def check_with(self, system: Any) -> None:
        """Refuse what the chosen system cannot do with what was given."""

    def saved(self, out: Path | None) -> tuple[str, str]:
        """Return what an interruption leaves in files, and what goes on from it; "" and "" where nothing is left.

        Args:
            out: the folder or file that was to be written.
        """
        return (f"what was fitted is in {keeping.folder_of(self)}", "") if self.is_kept() else ("", "")

    def run(self, context: Context) -> Answer[Any]:
        """Do the work.

        Raises:
            DiptychError: what was given cannot be used.
        """
        raise NotImplementedError


def plain_system(method: Any) -> Any:
    """Return the method of a system; raises UsageError for what is fitted already, or is no system."""
    from diptych.core import Method

    system = getattr(method, "method", method)
    if isinstance(system, type):
        raise UsageError(f"{system.__name__} is a class, not a system: write {system.__name__}().")
    if not isinstance(system, Method):
        raise UsageError(
            f"A method is a slug such as 'zero-shot' or a system, not {type(system).__name__}: what is fitted answers "
            f"by itself, with .predict(photos)."
        )
    return system
