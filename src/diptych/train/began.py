"""What a training began with beside its settings: its rows, and what a caller names, such as the backbone.

A training that goes on with something else would end as a mixture of both, of which no checkpoint could tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Run, Table
from diptych.core.wording import one_line
from diptych.data.files import read_json, write_json
from diptych.train import distributed
from diptych.train.checkpoint import newest
from diptych.train.resume import OtherTraining

BEGAN = "began.json"
"""File of a training's folder."""
LONGEST = 60
"""Characters of a value that an error shows; of a longer one its name alone."""

_of: ContextVar[Mapping[str, str]] = ContextVar("of", default={})  # noqa: B039 - nobody changes it


@contextmanager
def beginning_with(of: Mapping[str, str] | None) -> Iterator[None]:
    """Let the trainings inside the block go on only where they began with the same.

    Args:
        of: name -> value, such as the fingerprint of the backbone; None: whatever a block around this one says.

    Example:
        >>> with beginning_with({"backbone": "lite"}):
        ...     pass
    """
    token = _of.set(_of.get() if of is None else dict(of))
    try:
        yield
    finally:
        _of.reset(token)


def check_beginning(run: Run, data: object, resume: bool) -> None:
    """Refuse to go on with a training that began with something else; of a new one it is written what it begins with.

    Args:
        run: its folder and processes; all of them must call this, inside ``train.lock.sole``.
        data: a table, whose rows must be the same; the rows of a stream are not looked at.
        resume: whether the training is to go on; where not, one that is there is refused elsewhere.

    Raises:
        OtherTraining: it began with something else.
    """
    if run.out is None:
        return
    says = ""
    if run.world.rank == 0:
        now = {**_of.get(), **({"rows": rows_digest(data)} if isinstance(data, Table) else {})}
        path, goes_on = run.out / BEGAN, newest(run.out / "checkpoints") is not None
        if not goes_on:
            write_json(path, now, overwrite=True)
        elif resume and path.exists():  # else an earlier version began it
            says = changes(read_json(path), now)
    if distributed.most([bool(says)], run.world)[0]:
        raise OtherTraining(run.out, says or "see the first process")


def changes(before: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """Return how two beginnings differ, each with both values; "": in nothing.

    Example:
        >>> changes({"backbone": "tiny", "rows": "a"}, {"backbone": "lite", "rows": "b"})
        'backbone tiny, now lite; other rows to learn from'
        >>> changes({"method": "fc-clip", "alpha": "0.4"}, {"method": "maft-plus"})
        'method fc-clip, now maft-plus'
    """
    words = []
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    for name in ["method"] if "method" in names else names:  # another one has other settings
        was, is_now = (one_line(str(side.get(name, "none"))) for side in (before, now))
        short = max(len(was), len(is_now)) <= LONGEST
        other = "other rows to learn from" if name == "rows" else f"other {name}"
        words.append(f"{name} {was}, now {is_now}" if short and name != "rows" else other)
    return "; ".join(words)


def rows_digest(data: Table[Any]) -> str:
    """Return a hash of the keys of a table's items, and of its columns of numbers and captions, in their order.

    Example:
        >>> from diptych.core import Texts
        >>> rows_digest(Table(Texts(("a", "b")))) == rows_digest(Table(Texts(("b", "a"))))
        False
    """
    digest = hashlib.sha256()
    for i in range(len(data)):
        digest.update(f"{data.items.key(i)}\n".encode("utf-8", "surrogateescape"))
    for name, column in sorted(data.columns.items()):
        digest.update(name.encode())
        if isinstance(column.values, np.ndarray):
            digest.update(np.ascontiguousarray(column.values).tobytes())
        elif column.kind == "captions":
            digest.update(repr(list(column.values)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def began_with(folder: Path, of: Mapping[str, str]) -> str:
    """Return how what a training in a folder began with differs from ``of``, see ``changes``; "": in nothing, or the
    folder does not say, or has no checkpoint.
    """
    if not (folder / BEGAN).exists() or newest(folder / "checkpoints") is None:
        return ""
    before = read_json(folder / BEGAN)
    both = before.keys() & of.keys()
    return changes({name: before[name] for name in sorted(both)}, {name: of[name] for name in both})
