"""What a face gives a verb beside its arguments: keys of files, the model, the run, and what was fitted before."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from diptych.core import Backbone, Run
    from diptych.data.keys import FileKeys

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
        """The folder that is written; None where a face writes no files."""

    def free(self, *names: str) -> None:
        """Refuse to go on where one of these files is in the folder that is written."""

    def model(self, other: Any = None) -> Backbone:
        """Return the model, loaded on the first call; or another one, by its name."""

    def chosen(self, name: str) -> Backbone:
        """Return the model that the user chose; where none was chosen, the one of this name."""

    def recalled(self) -> tuple[Any, Run] | None:
        """Return the model as an earlier process remembered it, with its run, where it answers without torch; else
        None, and a model that is loaded after this call is remembered for the next process.
        """

    def run(self) -> Run:
        """Return device, cache, seed and progress."""

    def fitted(self, key: Hashable, fit: Callable[[], T]) -> T:
        """Return what was fitted: by ``fit``, or, in a process that goes on, by an earlier request of the same key."""

    def named(self, kind: str, name: str) -> Any:
        """Return what a server was started with, by its name; a face without such things refuses."""
