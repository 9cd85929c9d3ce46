"""The Python function of a verb, derived from its declaration; ``tools/verbs_stub.py`` writes its stub."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.api.argument_names import in_our_names, refuse_model_as_out, refuse_model_first
from diptych.api.call_context import CallContext
from diptych.api.elsewhere import refuse_more_by_position
from diptych.api.model import Model
from diptych.api.results import Results
from diptych.api.spelling import spell, spelled
from diptych.api.steps import Steps
from diptych.core import UsageError
from diptych.data.keys import FileKeys
from diptych.tasks.runs import KEYS
from diptych.tasks.sole_writer import sole_writer
from diptych.verbs.declare import Verb
from diptych.verbs.kinds import SETTINGS

if TYPE_CHECKING:
    from diptych.tasks.cluster import Cluster
    from diptych.verbs.answer import Answer
    from diptych.verbs.group import Group

OUT = "str | PathLike[str] | None"
"""Type of the argument ``out``."""


def function(
    verb: type[Verb], result: Callable[[Any, Results[Any], CallContext], Any] | None = None
) -> Callable[..., Any]:
    """Return the function of a verb: its arguments, and the model.

    Args:
        verb: the declaration.
        result: makes what is returned of the answer, its results and the context; None: the results are returned.
    """
    signature = signature_of(verb)

    def run(*args: Any, **kwargs: Any) -> Any:
        refuse_more_by_position(f"diptych.{run.__qualname__}", signature.parameters, args)
        named = in_our_names(verb, signature, kwargs)
        try:
            given = signature.bind(*args, **named).arguments
        except TypeError as error:
            raise TypeError(f"diptych.{run.__qualname__} is {error}.") from None
        refuse_model_first(verb, signature, args)
        refuse_model_as_out(signature, args, given)
        model, out, overwrite = given.pop("model", None), given.pop("out", None), given.pop("overwrite", False)
        address, threads = given.pop("cluster", None), given.pop("cluster_threads", 1)
        with spelled():
            if out is not None and not isinstance(out, (str, os.PathLike)):
                raise UsageError(f"{{out}} is a path, not a {type(out).__name__}: a model is given by {{model}}.")
            verb.check_out(None if out is None else Path(out).expanduser())
            checked = verb.parsed("python", **given).checked(given)
            given_model = model if isinstance(model, Model) else None
            cache = (
                None if given_model is None or given_model.run.cache is None else given_model.run.cache.parent / KEYS
            )
            path = None if out is None else Path(out).expanduser()
            with (
                FileKeys(cache) as keys,
                sole_writer(verb.locked(path)),
                _workers(address, threads, given_model) as pool,
            ):
                context = CallContext(model, checked, keys, path, overwrite=overwrite, pool=pool, threads=threads)
                answer = checked.run(context)
                results = gathered(answer, context.out, overwrite=overwrite)
                return results if result is None else result(answer, results, context)

    run.__signature__ = signature  # type: ignore[attr-defined]
    run.verb = verb  # type: ignore[attr-defined]
    name = verb.name.replace("-", "_")
    run.__name__, run.__qualname__ = name.rpartition(" ")[2], name.replace(" ", ".")
    run.__module__, run.__doc__ = "diptych", documentation(verb)
    return run


def _workers(address: str | None, threads: int, model: Model | None) -> AbstractContextManager[Cluster | None]:
    """Return the workers of a cluster, where a call names one, for as long as the call takes; one a GPU where the model
    is on one.
    """
    if address is None:
        return nullcontext()
    from diptych.tasks.cluster import Cluster

    return Cluster(address, threads, gpus=int(model is not None and model.run.device.startswith("cuda")))


def group(verbs: Group, results: Mapping[str, Callable[[Any, Results[Any], CallContext], Any]]) -> Steps:
    """Return the function of the main verb of a group, which has those of all verbs as attributes.

    Args:
        verbs: the group.
        results: of each step, see ``function``; the others return results.
    """
    functions = {name.replace("-", "_"): function(verb, results.get(name)) for name, verb in verbs.steps.items()}
    main = functions[verbs.main]
    main.__name__ = main.__qualname__ = verbs.name
    return Steps(main, functions)


def method(step: Callable[..., Any], given: Callable[[Any], Mapping[str, Any]], *without: str) -> Callable[..., Any]:
    """Return a function as a method of what another one returned, which knows some of the arguments.

    Args:
        step: the function.
        given: returns these arguments of an object. Settings are laid over its settings.
        without: names of these arguments, and of others that the method does not take.
    """
    verb: type[Verb] = step.verb  # type: ignore[attr-defined]
    signature = signature_of(verb, without)

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        known, more = dict(given(self)), signature.bind(*args, **kwargs).arguments
        if known.get("settings") and more.get("settings"):
            more["settings"] = {**known["settings"], **SETTINGS.read(more["settings"])}
        return step(**{**known, **more})

    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [first, *signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.verb, run.without = verb, without  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = step.__name__, documentation(verb, without)
    return run


def signature_of(verb: type[Verb], without: Collection[str] = ()) -> inspect.Signature:
    """Return the signature: arguments by position, the model, and the others by name, but for those of ``without``."""
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
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    ends = [inspect.Parameter("model", either, default=None, annotation="ModelLike")] if verb.takes_model else []
    if verb.python_out:
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OUT)
        if verb.on_model:
            ends = [inspect.Parameter("model", either, annotation="ModelLike")]
            ends.append(inspect.Parameter("out", either, annotation=OUT.removesuffix(" | None")))
        elif verb.python_out == "position":
            ends.insert(0, out.replace(kind=either))
        elif verb.python_out == "must":
            ends.insert(0, inspect.Parameter("out", either, annotation=OUT.removesuffix(" | None")))
        else:
            by_name.append(out)
    if verb.python_out and "overwrite" in verb.offers:
        by_name.append(inspect.Parameter("overwrite", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool"))
    if "cluster" in verb.offers:
        named = inspect.Parameter.KEYWORD_ONLY
        by_name.append(inspect.Parameter("cluster", named, default=None, annotation="str | None"))
        by_name.append(inspect.Parameter("cluster_threads", named, default=1, annotation="int"))
    parameters = [p for p in (*by_position, *ends, *by_name) if p.name not in without]
    return inspect.Signature(parameters, return_annotation=result_of(verb))


def result_of(verb: type[Verb]) -> str:
    """Return the type of what the function returns."""
    return verb.result or f"Results[{verb.item}]"


def _without_model(verb: type[Verb]) -> str:
    """Return the model where none is given: a folder that was fitted or indexed has its own."""
    usual = f"``{verb.run_options.get('backbone', 'lite')}``"
    if verb.without_model:
        return verb.without_model
    return f"that of ``fitted``, else {usual}" if "fitted" in verb.arguments("python") else usual


def documentation(verb: type[Verb], without: Collection[str] = ()) -> str:
    """Return the docstring: what the verb does, its arguments with their ranges, and what it raises."""
    arguments = verb.arguments("python")
    helps = {n: a.help if a.range is None else f"{a.help} Must be {a.range.words}." for n, a in arguments.items()}
    helps |= {
        "model": f"A name, a loaded model, or None for {_without_model(verb)}.",
        "out": verb.out_help if verb.on_model or verb.python_out == "must" else f"{verb.out_help} {verb.without_out}",
        "overwrite": "Replace files of an earlier call.",
        "cluster": "Let workers of a Ray cluster do it: local:2, auto, or HOST:PORT; None: this process does.",
        "cluster_threads": "CPUs of each worker.",
    }
    lines = [inspect.cleandoc(verb.__doc__ or ""), "", "Args:"]
    for name in signature_of(verb, without).parameters:
        text = helps[name]
        begin = text[0] if text[1:2].isupper() else text[0].lower()  # "CSV to write" stays as it is
        lines.append(f"    {name}: {begin}{text[1:]}")
    lines += [
        "",
        "Raises:",
        "    UsageError, DataError, MissingEvidence: what was given cannot be used; the message says why.",
        *([f"    {verb.raises}"] if verb.raises else []),
    ]
    return "\n".join(lines)


def gathered(answer: Answer[Any], out: Path | None = None, *, overwrite: bool = False) -> Results[Any]:
    """Return all items of an answer, and write their files where there is a place for them; its remarks are warnings
    too.
    """
    every, rows = [], []
    with answer:
        for item in answer:
            every.append(item)
            rows.append({**answer.row(item), **({} if out is None else answer.write(item, out, overwrite=overwrite))})
    items = tuple(every)
    remarks = tuple(UsageError(line).spelled(spell) for line in answer.remarks(items))
    for line in remarks:
        warnings.warn(line, UserWarning, stacklevel=4)
    data = answer.data(rows, remarks)
    if out is not None:
        answer.close(out, data, overwrite=overwrite)
    if (verdict := answer.verdict()) is not None:
        raise verdict
    return Results(
        answer.title(items), items, tuple(map(answer.name, items)), tuple(map(answer.label, items)),
        tuple(map(answer.line, items)), answer.columns(items), data,
        tuple(answer.failed), lambda i: answer.picture(items[i]), remarks=remarks,
        named=answer.item_kind, classes=answer.classes(), table=answer.probabilities(),
        truth=answer.truth(items),
    )  # fmt: skip
