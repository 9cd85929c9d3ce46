"""The Python function of a verb, derived from its declaration; ``tools/verbs_stub.py`` writes its stub."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from diptych.api.argument_names import in_our_names, refuse_model_as_out, refuse_model_first
from diptych.api.elsewhere import refuse_more_by_position
from diptych.api.model import Model, load, model_of
from diptych.api.results import Results
from diptych.api.spelling import spell, spelled, warn
from diptych.api.steps import Steps
from diptych.core import UsageError
from diptych.data.keys import FileKeys
from diptych.tasks.progress import progress_of
from diptych.tasks.runs import KEYS, cache_folder, make_run
from diptych.tasks.sole_writer import sole_writer
from diptych.tasks.space_classifier import NamingSpace
from diptych.verbs.context import Once, refuse_file, refuse_taken
from diptych.verbs.declare import Verb
from diptych.verbs.kinds import SETTINGS

if TYPE_CHECKING:
    from diptych.core import Backbone, Run, Samples
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode.cluster import Crew
    from diptych.verbs.answer import Answer
    from diptych.verbs.group import Group
    from diptych.verbs.train.training import Training

OUT = "str | PathLike[str] | None"
"""Type of the argument ``out``."""


class CallContext(Once):
    """Where a call of a function runs a verb; files are written only where ``out`` names a place."""

    def __init__(
        self, given: Any, verb: Verb, keys: FileKeys | None, out: Path | None = None, *, overwrite: bool = False,
        pool: Cluster | None = None, threads: int = 1,
    ) -> None:  # fmt: skip
        fitted = isinstance(given, str) and given.startswith("space:")
        self._given = load(given) if fitted else given
        self._verb, self.keys, self.out, self.overwrite = verb, keys, out, overwrite
        self._pool, self._threads, self.on_cluster = pool, threads, pool is not None
        self._model: Model | None = None
        self._changes: dict[str, Any] = {}

    @property
    def given(self) -> Any:
        """The model as it was given."""
        return self._given

    @property
    def backbone(self) -> str:
        """Name of the model."""
        if self._given is None:
            return str(self._verb.run_options.get("backbone", "lite"))
        return self._given if isinstance(self._given, str) else str(self._given.spec.name)

    def free(self, *names: str) -> None:
        """Refuse files of an earlier call, unless they may be replaced."""
        if self.out is not None:
            for name in names:
                self._refuse(self.out / name, "{out}")

    def free_file(self, path: Path, argument: str) -> None:
        """Refuse a file that is there, unless it may be replaced."""
        self._refuse(path, f"{{{argument}}}")

    def _refuse(self, path: Path, argument: str) -> None:
        if self.overwrite:
            refuse_file(path.parents, argument)
        else:
            refuse_taken(path, argument, "{overwrite}")

    def model(self, other: Any = None, *, spaces: bool = False) -> Model:
        """Return the model that was given, loaded where it is a name, or another one."""
        if other:
            return model_of(other)
        if self._model is None:
            options = self._verb.run_options
            unnamed = self._given is None and "backbone" in options
            self._model = (
                load(options["backbone"], engine=options.get("engine", "auto")) if unnamed else model_of(self._given)
            )
        space = self._model.loaded
        if isinstance(space, NamingSpace) and not spaces:
            raise UsageError(
                f"{space.spec.name} is a fitted space of {space.modality.title} and no model of photos: it is taken by "
                f"classify, index and search, and its encode_image embeds samples."
            )
        return self._model

    def chosen(self, name: str) -> Model:
        """Return the model that was given, or that of this name."""
        if self._given is None and self._model is None:
            self._model = model_of(name)
        return self.model()

    def light_run(self) -> Run:
        """Return a run on the CPU, with the seed of the verb; no model is loaded."""
        return replace(super().light_run(), seed=getattr(self._verb, "seed", 0))

    def encoders(self, *modalities: str) -> tuple[Model, Run]:
        """Return the model and its run."""
        return self.model(), self.run()

    def say(self, remark: str) -> None:
        """Warn of a remark."""
        warn(remark)

    def trained(self, *, scratch: bool) -> tuple[Backbone, Run]:
        """Return the model that was given, or one of random weights in its shape, and the run of its training; torch
        alone runs what changes.

        Raises:
            UsageError: ``scratch`` is for a name, or a model whose weights are random.
        """
        name, verb = self._given or self.backbone, cast("Training", self._verb)
        changes: dict[str, Any] = {"seed": verb.seed, "workers": verb.workers, "engine": None}
        if scratch and isinstance(name, str):
            from diptych.backbones.sources import load as source

            run = make_run(engine="torch", cache=cache_folder(), progress=progress_of(None))
            random = source.load(name, device=run.device, weights="random", seed=changes["seed"])
            return random, replace(run, **changes)
        model = load(name, engine="torch") if isinstance(name, str) else model_of(name)
        if scratch and not model.spec.weights.startswith("random:"):
            raise UsageError(
                f"{model.spec.name} has weights, and {{scratch}} begins without: give {{model}} by its name."
            )
        return model.loaded, replace(model.run, **changes)

    def crew(self) -> Crew | None:
        """Return the workers of the cluster that the call names; they are given the model as it is loaded here."""
        return None if self._pool is None else self._crew_of(self._pool, self.model(spaces=True))

    def _crew_of(self, pool: Cluster, backbone: Backbone) -> Crew:
        from diptych.tasks.encode.cluster import Crew

        loaded = backbone.loaded if isinstance(backbone, Model) else backbone
        return Crew(pool, partial(_as_it_is, loaded), self._threads)

    def encode_ahead(self, backbone: Backbone, items: Samples[Any], run: Run) -> None:
        """Let the workers of the cluster that the call names encode photos."""
        if self._pool is not None:
            from diptych.tasks.encode.cluster import encode_ahead

            encode_ahead(self._crew_of(self._pool, backbone), backbone.image, items, run)

    def workers(self, device: str) -> Cluster | None:
        """Return the workers of the cluster that the call names."""
        return self._pool

    def like(self, facts: Mapping[str, Any], *, wholly: bool = False, engine: str = "") -> Self:
        """Take the model of an index where none was given, and its decode."""
        from diptych.backbones.names import space_folder
        from diptych.tasks.space_classifier import facts_of
        from diptych.verbs.index import model_options

        if facts:
            name, precision, draft = model_options(facts)
            if (folder := space_folder(name)) is not None:
                name = facts_of(folder).backbone or "lite"
            if self._given is None:
                self._given = name if precision == "fp32" else load(name, precision=precision)  # type: ignore[arg-type]
            self._changes["decode"] = "draft" if draft else "exact"
        if engine:
            self._changes["engine"] = None
        return self

    def run(self) -> Run:
        """Return the run of the model, with the seed of the verb."""
        options = {key: value for key, value in self._verb.run_options.items() if key in ("batch", "workers")}
        changes = {"seed": getattr(self._verb, "seed", 0), "cluster": self._pool, **options, **self._changes}
        return replace(self.model(spaces=True).run, **changes)


def _as_it_is(backbone: Backbone) -> Backbone:
    return backbone


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
