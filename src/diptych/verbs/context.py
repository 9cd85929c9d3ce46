"""What a face gives a verb beside its arguments: keys of files, the model, the run, and what was fitted before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.backbones.engines.cached_backbone import CachedBackbone
    from diptych.core import Backbone, Run, Samples
    from diptych.data.keys import FileKeys
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.encode.cluster import Crew

T = TypeVar("T")


class Context(Protocol):
    """Where a verb runs. A verb opens its data first, then says which files it will write, and then asks for the model,
    so that what cannot be used is refused before anything is loaded.
    """

    @property
    def keys(self) -> FileKeys | None:
        """Remembered content keys of files."""

    @property
    def out(self) -> Path | None:
        """The folder or file that is written; None where a face writes none."""

    @property
    def overwrite(self) -> bool:
        """Whether files of an earlier run may be replaced."""

    @property
    def backbone(self) -> str:
        """Name of the model."""

    @property
    def command(self) -> str:
        """The command line that is running, as a person would type it; "" on other faces."""

    @property
    def options(self) -> Mapping[str, str]:
        """Device, precision and engine as the user of a command wrote them; {} on other faces."""

    @property
    def on_cluster(self) -> bool:
        """Whether workers of a cluster encode."""

    def free(self, *names: str) -> None:
        """Refuse to go on where one of these files is in the folder that is written; "" is what is written itself."""

    def free_file(self, path: Path, argument: str) -> None:
        """Refuse to go on where there is a file at a path that an argument of the verb names."""

    def model(self, other: Any = None, *, spaces: bool = False) -> Backbone:
        """Return the model, loaded on the first call; or another one, by its name.

        Args:
            other: name of another one; in Python also a loaded one.
            spaces: whether it may be a fitted space.
        """

    def expect(self, items: int) -> None:
        """Say, before the model is asked for, how many items this verb encodes at most."""

    def light_run(self) -> Run:
        """Return the run of what needs no model, without loading one."""

    def recalled(self) -> tuple[CachedBackbone, Run] | None:
        """Return the model as it is remembered, where it encodes without torch; None where it must be loaded."""

    def encoders(self, *modalities: str) -> tuple[Backbone | CachedBackbone, Run]:
        """Return what encodes these modalities: the model as it is remembered where that is enough, else the model."""

    def remember(self, backbone: Backbone) -> None:
        """Remember a model for the next process."""

    def recipe(self) -> str:
        """Return the command line as a recipe file, see ``Verb.learns_in_steps``; "" on other faces."""

    def say(self, remark: str) -> None:
        """Tell the user something at once, while the work goes on."""

    def trained(self, *, scratch: bool) -> tuple[Backbone, Run]:
        """Return the model of which a copy is trained, or with ``scratch`` one of random weights in its shape, and the
        run of the training.
        """

    def encode_ahead(self, backbone: Backbone, items: Samples[Any], run: Run) -> None:
        """Let the workers of a cluster, where there is one, encode photos by the image encoder of a model, into the
        store of the run.
        """

    def crew(self) -> Crew | None:
        """Return the workers of a cluster; None where this process encodes."""

    def workers(self, device: str) -> Cluster | None:
        """Return the workers of a cluster, with a GPU each where the device is one; None where this process works."""

    def like(self, facts: Mapping[str, Any], *, wholly: bool = False, engine: str = "") -> Context:
        """Return where the model of an index runs: its backbone, precision and decode.

        Args:
            facts: of the index; {} changes nothing.
            wholly: whether they count also where the user chose others.
            engine: "torch": no exported encoder is used.
        """

    def chosen(self, name: str) -> Backbone:
        """Return the model that the user chose; where none was chosen, the one of this name."""

    def run(self) -> Run:
        """Return device, cache, seed and progress."""

    def fitted(self, key: Hashable, fit: Callable[[], T]) -> T:
        """Return what was fitted: by ``fit``, or, in a process that goes on, by an earlier request of the same key."""

    def named(self, kind: str, name: str) -> Any:
        """Return what a server was started with, by its name; a face without such things refuses."""


class Once:
    """What a face gives that answers once, remembers nothing, and has no cluster."""

    overwrite = False
    on_cluster = False
    command = ""
    options: Mapping[str, str] = MappingProxyType({})

    def free(self, *names: str) -> None:
        """Do nothing: no files are written."""

    def free_file(self, path: Path, argument: str) -> None:
        """Do nothing: no files are written."""

    def expect(self, items: int) -> None:
        """Do nothing: the model may encode more for others."""

    def light_run(self) -> Run:
        """Return a run on the CPU."""
        from diptych.core import Run

        return Run()

    def recalled(self) -> tuple[CachedBackbone, Run] | None:
        """Return None: the model is loaded."""
        return None

    def remember(self, backbone: Backbone) -> None:
        """Do nothing."""

    def recipe(self) -> str:
        """Return "": no command line is running."""
        return ""

    def say(self, remark: str) -> None:
        """Do nothing: what is said at the end is enough."""

    def trained(self, *, scratch: bool) -> tuple[Backbone, Run]:
        """Refuse: this face trains no model."""
        raise UsageError("Models are trained by the command, or in Python.")

    def encode_ahead(self, backbone: Backbone, items: Samples[Any], run: Run) -> None:
        """Do nothing: this process encodes."""

    def crew(self) -> Crew | None:
        """Return None: this process encodes."""
        return None

    def workers(self, device: str) -> Cluster | None:
        """Return None: this process works."""
        return None

    def like(self, facts: Mapping[str, Any], *, wholly: bool = False, engine: str = "") -> Self:
        """Return this: the model is that of the face."""
        return self

    def fitted(self, key: Hashable, fit: Callable[[], T]) -> T:
        """Fit: this answers once."""
        return fit()

    def named(self, kind: str, name: str) -> Any:
        """Refuse: only a server is started with things that have names."""
        raise UsageError(f"There is no {kind} {name!r} here: only a server has some.")


def refuse_cluster(context: Context, others: str) -> None:
    """Refuse a cluster where something else than whole photos is encoded; its workers encode only these.

    Args:
        context: where the verb runs.
        others: what is encoded; "": whole photos.

    Raises:
        UsageError: workers of a cluster would encode others.
    """
    if others and context.on_cluster:
        raise UsageError(f"Workers of a cluster encode photos, not {others}: leave out {{cluster}}.")


def refuse_taken(path: Path, flag: str, again: str) -> None:
    """Refuse a path where a file or folder is, or whose folder would be a file.

    Args:
        path: to be written; it may be an address of object storage.
        flag: how the error names the argument.
        again: how it names the one that lets files be replaced.

    Raises:
        UsageError: there is one.
    """
    from diptych.data.addresses import exists_at
    from diptych.data.files import named

    if exists_at(path):
        raise UsageError(f"{named(path)} exists: give another {flag} or {again}.")
    refuse_file(path.parents, flag)


def refuse_file(folders: Iterable[Path], flag: str) -> None:
    """Refuse a path whose folder would be a file; raises UsageError."""
    if file := next((p for p in folders if p.is_file()), None):
        raise UsageError(f"{file} is a file, and {flag} would be a folder there: give another {flag}.")
