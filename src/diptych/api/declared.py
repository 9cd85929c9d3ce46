"""The Python function of a verb, derived from its declaration; ``tools/verbs_stub.py`` writes its stub."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Hashable
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from diptych.api.model import Model, load, model_of
from diptych.api.results import Results
from diptych.core import DiptychError, UsageError
from diptych.data.keys import FileKeys
from diptych.tasks.runs import KEYS
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    from diptych.core import Run
    from diptych.verbs.answer import Answer

T = TypeVar("T")


class CallContext:
    """Where a call of a function runs a verb; nothing is written but to the folder that it names."""

    def __init__(
        self, given: Any, verb: Verb, keys: FileKeys | None, out: Path | None = None, overwrite: bool = False
    ) -> None:
        self._given, self._verb, self.keys, self.out, self._overwrite = given, verb, keys, out, overwrite
        self._model: Model | None = None

    def free(self, *names: str) -> None:
        """Refuse files of an earlier call, unless they may be replaced."""
        for path in () if self.out is None else [self.out / name for name in names]:
            if path.exists() and not self._overwrite:
                raise UsageError(f"{path} exists: give another {{out}}, or overwrite=True.")

    def model(self, other: Any = None) -> Model:
        """Return the model that was given, loaded where it is a name, or another one."""
        if other is not None:
            return model_of(other)
        if self._model is None:
            options = self._verb.run_options
            unnamed = self._given is None and "backbone" in options
            self._model = (
                load(options["backbone"], engine=options.get("engine", "auto")) if unnamed else model_of(self._given)
            )
        return self._model

    def chosen(self, name: str) -> Model:
        """Return the model that was given, or that of this name."""
        if self._given is None and self._model is None:
            self._model = model_of(name)
        return self.model()

    def recalled(self) -> None:
        """Return None: a process of Python has loaded torch."""

    def run(self) -> Run:
        """Return the run of the model, with the seed of the verb."""
        options = {name: value for name, value in self._verb.run_options.items() if name in ("batch", "workers")}
        return replace(self.model().run, seed=getattr(self._verb, "seed", 0), **options)

    def fitted(self, key: Hashable, fit: Callable[[], T]) -> T:
        """Fit: a call answers once."""
        return fit()

    def named(self, kind: str, name: str) -> Any:
        """Refuse: only a server is started with things that have names."""
        raise UsageError(f"There is no {kind} {name!r} here: only a server has some.")


def spell(name: str) -> str:
    """Return how Python spells an argument."""
    return f"{name}="


def function(verb: type[Verb]) -> Callable[..., Results[Any]]:
    """Return the function of a verb: its arguments, and the model."""
    signature = signature_of(verb)

    def run(*args: Any, **kwargs: Any) -> Results[Any]:
        given = signature.bind(*args, **kwargs).arguments
        model, out, overwrite = (given.pop(name, None) for name in ("model", "out", "overwrite"))
        try:
            asked = verb.made("python", **given).checked(given)
            own = model if isinstance(model, Model) else None
            cache = None if own is None or own.run.cache is None else own.run.cache.parent / KEYS
            with FileKeys(cache) as keys:
                folder = None if out is None else Path(out)
                context = CallContext(model, asked, keys, folder, bool(overwrite))
                return gathered(asked.run(context), folder, overwrite=bool(overwrite))
        except DiptychError as error:
            error.args = (error.spelled(spell), *error.args[1:])
            raise

    run.__signature__ = signature  # type: ignore[attr-defined]
    run.verb = verb  # type: ignore[attr-defined]
    run.__name__ = run.__qualname__ = verb.name
    run.__module__, run.__doc__ = "diptych", documentation(verb)
    return run


def signature_of(verb: type[Verb]) -> inspect.Signature:
    """Return the signature: arguments by position, the model, and the others by name."""
    defaults = {f.name: f.default for f in fields(verb)}
    texts = {name: text for base in reversed(verb.__mro__) for name, text in inspect.get_annotations(base).items()}
    by_position: list[inspect.Parameter] = []
    by_name: list[inspect.Parameter] = []
    for name, a in verb.arguments("python").items():
        default = inspect.Parameter.empty if defaults[name] is MISSING else defaults[name]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if a.positional else inspect.Parameter.KEYWORD_ONLY
        (by_position if a.positional else by_name).append(
            inspect.Parameter(name, kind, default=default, annotation=texts[name])
        )
    model = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation="ModelLike")
    by_name += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in written(verb)
    ]
    return inspect.Signature([*by_position, model, *by_name], return_annotation=f"Results[{verb.item}]")


def written(verb: type[Verb]) -> tuple[tuple[str, Any, str], ...]:
    """Return name, default and annotation of the arguments that let a function write files; () where it writes none."""
    return (("out", None, "str | Path | None"), ("overwrite", False, "bool")) if "python" in verb.out_faces else ()


def documentation(verb: type[Verb]) -> str:
    """Return the docstring: what the verb does, its arguments with their ranges, and what it raises."""
    lines = [(verb.__doc__ or "").strip(), "", "Args:"]
    for name, a in verb.arguments("python").items():
        allowed = "" if a.range is None else f" Must be {a.range.words}."
        lines.append(f"    {name}: {a.help[0].lower()}{a.help[1:]}{allowed}")
        if name == [n for n, b in verb.arguments("python").items() if b.positional][-1]:
            unnamed = verb.run_options.get("backbone", "lite")
            lines.append(f"    model: a name, a loaded model, or None for ``{unnamed}``.")
    if written(verb):
        lines.append(f"    out: {verb.out_help[0].lower()}{verb.out_help[1:].rstrip('.')}; None writes nothing.")
        lines.append("    overwrite: replace files of an earlier call.")
    lines += [
        "",
        "Raises:",
        "    UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.",
    ]
    return "\n".join(lines)


def gathered(answer: Answer[Any], out: Path | None = None, *, overwrite: bool = False) -> Results[Any]:
    """Return all items of an answer, and write its files where a folder is named; its remarks are warnings too."""
    items = tuple(answer)
    files: list[dict[str, Any]] = [
        {} if out is None else answer.write(item, out, overwrite=overwrite) for item in items
    ]
    remarks = tuple(UsageError(line).spelled(spell) for line in answer.remarks(items))
    for line in remarks:
        warnings.warn(line, UserWarning, stacklevel=4)
    data = answer.data([{**answer.row(i), **more} for i, more in zip(items, files, strict=True)], remarks)
    if out is not None:
        answer.close(out, data, overwrite=overwrite)
    return Results(
        answer.title(items), items, tuple(map(answer.name, items)), tuple(map(answer.label, items)),
        tuple(map(answer.line, items)), answer.columns(items), data,
        tuple(answer.failed), lambda i: answer.picture(items[i]), remarks=remarks,
        classes=answer.classes(), table=answer.probabilities(),
    )  # fmt: skip
