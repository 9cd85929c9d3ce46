"""What the two passes of ``curate`` share: the pool, the system, and its settings as arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UnreadableItem, UsageError
from diptych.core.ranges import at_least
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs.answer import Answer
from diptych.verbs.arguments import Argument, argument, method, settings
from diptych.verbs.declare import Verb, plain_system
from diptych.verbs.kinds import PLAIN, Kind
from diptych.verbs.reads import has, looks

if TYPE_CHECKING:
    from diptych.core import Curator, Kit, Run
    from diptych.tasks.cluster import Cluster
    from diptych.tasks.curate.plan import Curation
    from diptych.tasks.curate.stream import Skipped
    from diptych.verbs.context import Context

CURATOR, SCORE_CURATOR, LABEL_CURATOR, SLIDE_CURATOR, DUPLICATE_CURATOR, HEAD_CURATOR, TEXT_CURATOR = (
    DEFAULTS[f"curate{case}"] for case in ("", " scores", " labels", " slides", " duplicates", " head", " texts")
)
"""What scores pairs, clusters, slides, duplicates, vectors and texts, by the defaults."""
SCORED = f"{SCORE_CURATOR} and {HEAD_CURATOR}"
POOL = ".txt with one text per line, .csv, .tsv, tars, Parquet, articles in JATS XML, or slides."
METHODS = ", ".join((CURATOR, SCORE_CURATOR, TEXT_CURATOR, DUPLICATE_CURATOR, HEAD_CURATOR, LABEL_CURATOR))
RUN = ("json", "backbone", "device", "engine", "batch", "workers", "cache", "cluster", "cluster_threads")
"""Options of a run of both passes."""


def source(value: Any) -> str:
    """Return the path or address of a pool.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(
            f"A pool is read from files, in bounded memory, and this is a {type(value).__name__}: give a path, such as "
            f"that of a table (.csv) with the columns filepath and title."
        )
    return os.fspath(value)


def sources(value: Any) -> tuple[str, ...]:
    """Return the paths or addresses of one pool or of several; raises as ``source``."""
    return tuple(map(source, value)) if isinstance(value, (list, tuple)) else (source(value),)


def written(value: Any) -> str:
    """Return the path of a file; in Python also of what a curation wrote. None is no file, "".

    Raises:
        UsageError: it has no path.
    """
    path = getattr(value, "path", value)
    if path is None and value is not None:
        raise UsageError("This was not written to a file yet: give {out} where it is made, or call its save(path).")
    if not isinstance(path, (str, os.PathLike, type(None))):
        raise UsageError(f"A file is named by its path, not by a {type(value).__name__}: give the path.")
    return os.fspath(path or "")


SOURCE, SOURCES = Kind(str, None, source), Kind(list[str], None, sources)
FILE_NAME = Kind(str, None, written)
"""The name of a file as a system takes it; in Python also what a curation wrote to it."""
PLAN = Kind(Path | None, None, lambda value: Path(written(value)))


def setting(name: str, help: str, default: Any, system: str = "", kind: Kind = PLAIN, **more: Any) -> Any:
    """Return the field of an argument that is a setting of some curators.

    Args:
        name: of the setting.
        help: what it does, without a full stop.
        default: that of the curators.
        system: which have it, for the help; "": the help says so.
        kind: how its values are written.
        **more: see ``verbs.arguments.Argument``.
    """
    text = f"{help}; for {system}." if system else help
    return field(default=default, metadata={"argument": Argument(text, kind, reads=has(name), **more), "setting": name})


@dataclass(frozen=True, kw_only=True)
class Pooled(Verb):
    """A pass over a pool of pairs."""

    name: ClassVar[str] = "curate"
    role: ClassVar[str] = "diptych.core.curate:Curator"
    trains: ClassVar[bool] = False

    method: str | Curator = method(CURATOR, f"{METHODS} or {SLIDE_CURATOR}.")
    settings: Mapping[str, Any] | Sequence[str] | None = settings()
    image: str = argument("Column with the picture (default: filepath, path, image).", default="", reads=looks)
    text: str = argument("Column with the text (default: title, caption, text).", default="")
    resume: bool = argument("Resume a pass that was killed.", default=False)
    metadata: str | Path = setting(
        "metadata", "wordnet, a JSON list, or a file with one entry per line", "wordnet", CURATOR, FILE_NAME
    )
    head: Any = setting("head", "Safetensors file of a head", "", HEAD_CURATOR, FILE_NAME)
    mirror: bool = setting("mirror", "Compare with mirror images too", False, DUPLICATE_CURATOR)
    phrases: str | Path = setting("phrases", "File of forbidden phrases, one per line", "", TEXT_CURATOR, FILE_NAME)
    least_words: int = setting("least_words", "Least number of words of a text", 3, TEXT_CURATOR, range=at_least(0))

    def defaults(self) -> Mapping[str, Any]:
        """Return the settings that arguments give, of those that the system has."""
        from diptych import catalog

        chosen: Any = self.method
        named = isinstance(chosen, str)
        kind = catalog.find(chosen, self.kind_of_system()) if named else type(plain_system(chosen))
        given = {
            f.metadata["setting"]: getattr(self, f.name)
            for f in fields(self)
            if "setting" in f.metadata and getattr(self, f.name) != f.default
        }
        return {name: value for name, value in given.items() if has(name)(kind)}

    def saved(self, out: Path | None) -> tuple[str, str]:
        """Return where the finished parts of the pass are."""
        parts = [] if out is None else [out.with_name(f"{out.name}.parts"), *out.glob("curate*.json")]
        begun = next((path for path in parts if path.exists()), None)
        return (f"what was finished is in {begun}", "{resume} goes on from there") if begun else ("", "")

    def curation(self) -> Curation:
        """Return the curator with its settings."""
        from diptych.tasks.curate.plan import Curation

        return Curation(self.system())

    def begin(
        self, curation: Curation, context: Context, parts: Mapping[str, Any] | None = None
    ) -> tuple[Callable[[], Kit], Run, Cluster | None]:
        """Return what loads the kit, the run, and the workers of a cluster; where no model is needed, none is loaded.

        Args:
            curation: of the curator.
            context: where the verb runs.
            parts: of the kit, beside the model.
        """
        from diptych.core import Kit

        if not curation.loads:
            run = context.light_run()
            return Kit, run, context.workers(run.device)
        from diptych.backbones.sources.load import load
        from diptych.tasks.curate.shards import kit_of

        run = context.run()
        workers = context.workers(run.device)
        here = context.model if workers is None else partial(load, context.backbone, device=run.device)
        return partial(kit_of, here, parts), run, workers


class Pass(Answer[Any]):
    """What a pass over a pool did: a few facts, which stand in a table."""

    listed = False

    def __init__(self, skipped: Skipped) -> None:
        super().__init__(iter(()))
        self.failed += [UnreadableItem(item["path"], item["reason"]) for item in skipped.first]
        self.unnamed = skipped.count - len(skipped.first)
