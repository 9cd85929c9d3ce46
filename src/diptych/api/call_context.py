"""Where a call of a Python function runs a verb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from diptych.api.loading import load, model_of
from diptych.api.model import Model
from diptych.api.spelling import warn
from diptych.core import UsageError
from diptych.data.keys import FileKeys
from diptych.tasks.progress import progress_of
from diptych.tasks.runs import cache_folder, make_run
from diptych.tasks.space_classifier import NamingSpace
from diptych.verbs.context import Once, refuse_file, refuse_taken
from diptych.verbs.declare import Verb

if TYPE_CHECKING:
    from diptych.core import Backbone, Run, Samples
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode.cluster import Crew
    from diptych.verbs.train.training import Training


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
                f"{space.spec.name} is a fitted space of {space.modality.title} and not a model of photos: it is "
                f"taken by classify, index and search, and its encode_image embeds samples."
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
