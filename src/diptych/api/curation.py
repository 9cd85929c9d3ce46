"""What ``diptych.curate`` and its steps return: a plan that can be applied, what was kept, and a head."""

from __future__ import annotations

import shutil
import weakref
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import UsageError
from diptych.core.guesses import guesses
from diptych.core.wording import Guided

if TYPE_CHECKING:
    import pandas

    from diptych.api.model import ModelLike
    from diptych.api.results import Results
    from diptych.verbs.answer import Answer
    from diptych.verbs.curate.apply import Applied
    from diptych.verbs.curate.head import Fitted
    from diptych.verbs.curate.plan import Planned as PlanAnswer

KNOWN = (
    "source", "plan", "model", "method", "image", "text", "metadata", "head", "mirror", "phrases", "least_words",
)  # fmt: skip
"""Arguments of a second pass that its plan knows."""


class Written(Guided):
    """A file or folder that a step wrote, with what the command line prints of it.

    Args:
        path: of it; None: nothing was written.
        answer: of the verb.
        results: of the answer; ``data`` is what the command line prints with --json, ``failed`` the first items that
            could not be read, and ``remarks`` what a user should know, one sentence each.
    """

    def __init__(self, path: Path | None, answer: Answer[Any], results: Results[Any]) -> None:
        self.path, self.data, self.failed, self.remarks = path, results.data, results.failed, results.remarks
        self._cells, self._skipped = tuple(answer.cells()), len(results.failed) + answer.unnamed

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self._cells), default=0)
        skipped = [f"{self._skipped:,} skipped: {self.failed[0]}"] if self.failed else []
        head = type(self).__name__ + (f" in {self.path}" if self.path is not None else "")
        return "\n".join([head, *(f"{n:<{width}}  {v}" for n, v in self._cells), *skipped, *self.remarks])

    if not TYPE_CHECKING:  # names stay checked

        def __getitem__(self, key: object) -> Any:
            known = guesses(*(kind.__name__ for kind in type(self).__mro__))
            where = f"data[{key!r}]" if isinstance(key, str) else known["rows"]
            raise TypeError(f"A {type(self).__name__} has neither rows nor keys: use {where}.")

    def as_dict(self) -> dict[str, Any]:
        """Return what was done as plain data."""
        return dict(self.data)


class Planned(Written):
    """A plan over a pool of pairs. One that was made without ``out`` lies in a temporary folder, and is gone with this
    object.
    """

    path: Path

    def __init__(self, answer: PlanAnswer, results: Results[Any], model: ModelLike, *, temporary: bool) -> None:
        super().__init__(answer.path, answer, results)
        self._verb, self._model = answer.verb, model
        if temporary:
            weakref.finalize(self, shutil.rmtree, self.path.parent, ignore_errors=True)

    def second_pass(self) -> dict[str, Any]:
        """Return the arguments of ``curate.apply`` that are known.

        Raises:
            UsageError: the plan is of several pools.
        """
        sources = self._verb.paths()
        if len(sources) > 1:
            raise UsageError(
                f"This plan is of {len(sources)} pools, and one is read at a time: call diptych.curate.apply of each."
            )
        known = {name: getattr(self._verb, name) for name in KNOWN if hasattr(self._verb, name)}
        return {
            **{f.name: known[f.name] for f in fields(self._verb) if f.name in known and known[f.name] != f.default},
            "settings": self._verb.settings, "source": sources[0], "plan": self.path, "model": self._model,
        }  # fmt: skip

    def origin(self) -> dict[str, Any]:
        """Return the arguments of ``curate.looks`` that are known."""
        return {"plan": self.path, "method": self._verb.method}


class CuratedPairs(Written):
    """The pairs that were kept, in a folder of Parquet files.

    Attributes:
        seen, kept, broken: pairs.
    """

    path: Path

    def __init__(self, answer: Applied, results: Results[Any]) -> None:
        super().__init__(answer.path, answer, results)
        self.seen, self.kept, self.broken = (int(self.data[name]) for name in ("seen", "kept", "broken"))

    def __len__(self) -> int:
        return self.kept

    def to_pandas(self) -> pandas.DataFrame:
        """Return the kept pairs: position in the pool, picture, text and score.

        Raises:
            MissingExtra: pandas is not installed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from diptych.core.errors import need_pandas

        pd = need_pandas()
        parts = [pq.read_table(path) for path in sorted(self.path.glob("part-*.parquet"))]
        return pa.concat_tables(parts, promote_options="permissive").to_pandas() if parts else pd.DataFrame()


class FittedHead(Written):
    """A head, which ``diptych.curate(..., method="vector-head", head=...)`` takes once it is written.

    Attributes:
        head: the head itself.
    """

    def __init__(self, path: Path | None, answer: Fitted, results: Results[Any]) -> None:
        super().__init__(path, answer, results)
        self.head = answer.head

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the head.

        Raises:
            UsageError: the file exists and ``overwrite`` is False.
        """
        self.head.save(Path(path), overwrite=overwrite)
        self.path = Path(path)
