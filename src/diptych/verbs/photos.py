"""Photos, captions and label maps as every face gives them: paths, or in Python whatever holds pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diptych.core import DiptychError, UsageError
from diptych.verbs.kinds import numbers

if TYPE_CHECKING:
    from diptych.core import Samples, Table
    from diptych.data.format import Need
    from diptych.data.keys import FileKeys
    from diptych.data.labelled import LabelledData

DEMO = "demo:photos"


def paths_of(value: object) -> list[str] | None:
    """Return paths where a face gave one, or several on the command line; None for everything else."""
    if isinstance(value, (str, os.PathLike)):
        return [os.fspath(value)]
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return list(value)
    return None


def with_remedy(error: DiptychError, remedy: str) -> DiptychError:
    """Return an error with a further remedy at the end of its sentence."""
    return type(error)(f"{error.args[0].rstrip('.')}; {remedy}.")


@contextmanager
def naming(**arguments: str) -> Iterator[None]:
    """Name arguments in errors of the block as a verb does that has other names for them.

    Args:
        **arguments: name in the error -> name of the argument of the verb.

    Example:
        >>> with naming(text="references"):
        ...     raise UsageError("Name the column with the captions by {text}.")
        Traceback (most recent call last):
        diptych.core.errors.UsageError: Name the column with the captions by references.
    """
    try:
        yield
    except DiptychError as error:
        error.args = (error.spelled(lambda name: f"{{{arguments.get(name, name)}}}"), *error.args[1:])
        raise


def clip_frames(photos: object, frames: int | None) -> int | None:
    """Return how many frames of each clip are looked at: as asked, 8 for the paths of videos, None for photos."""
    paths = paths_of(photos)
    if frames is not None or paths is None or paths[0].startswith("demo:"):
        return frames
    from diptych.data.format import FRAMES
    from diptych.data.formats.item_folders import holds_clips

    return FRAMES if holds_clips(paths[0]) else None


def open_photos(
    value: object, keys: FileKeys | None, *, frames: int | None = None, void: str | Sequence[int] = ()
) -> tuple[Table[Any], tuple[str, ...]]:
    """Return photos, or clips of so many frames, with the class names that they bring: those of two folders or more, of
    a table, or of the photos that ship.

    Args:
        value: paths; or see ``data.samples.as_samples``.
        keys: remembers content keys of files.
        frames: of each clip; None: these are photos.
        void: values of classes.csv of a folder with label maps that are no classes, besides those that it or the
            record of a known data set marks.

    Raises:
        UsageError, DataError: there is nothing, or nothing that can be used.
    """
    from diptych.core import Table
    from diptych.data.format import FRAMES
    from diptych.data.load import open_data
    from diptych.data.named_sets import demo_folder
    from diptych.data.samples import as_samples, classes_of

    paths = paths_of(value)
    if paths is None:
        return value if isinstance(value, Table) else Table(as_samples(value, keys)), classes_of(value)
    marked = numbers(void)
    if len(paths) == 1 and not os.path.isfile(paths[0]):  # a known data set is a folder
        from diptych.evaluation.datasets import known_set

        known = known_set(paths[0])
        marked = (*marked, *(() if known is None else known.void))
    need: Need = "photos" if frames is None else "clips"
    data = open_data(paths, keys, need=need, frames=frames or FRAMES, void=marked)
    if paths == [DEMO]:
        return data.whole(), tuple((demo_folder("photos") / "names.txt").read_text(encoding="utf-8").split("\n")[:-1])
    return data.whole(), data.classes if len(data.classes) > 1 else ()


def open_samples(value: object, keys: FileKeys | None) -> Samples[Any]:
    """Return photos without labels, see ``open_photos``."""
    return open_photos(value, keys)[0].items


def open_labelled(
    value: object,
    need: Need,
    keys: FileKeys | None,
    *,
    image: str = "",
    text: str = "",
    label: str = "",
    group: str = "",
) -> LabelledData:
    """Return an open data set with all its splits, see ``open_table``.

    Args:
        value: the path of a data set, an open one, or a table.
        need: what its columns must hold.
        keys: remembers content keys of files.
        image: column of a file with the picture; here and below "" uses the names in ``data.rows``.
        text: column of a file with a caption, or a pattern such as "caption_*".
        label: column of a file with the class.
        group: column of a file with the group.

    Raises:
        UsageError, DataError: there is no such data set, it lacks what is needed, or a column of an open one is named.
    """
    from diptych.data.load import open_data
    from diptych.data.samples import as_data

    if isinstance(value, (str, os.PathLike)):
        return open_data(os.fspath(value), keys, need=need, image=image, text=text, label=label, group=group)
    if named := "label" if label else "group" if group else "":
        raise UsageError(
            f"{{{named}}} names a column of a file, and this is a {type(value).__name__}: give a path, or name it to "
            f"diptych.open_data."
        )
    return as_data(value)


def open_table(
    value: object, need: Need, keys: FileKeys | None, *, split: str = "", void: str | Sequence[int] = ()
) -> Table[Any]:
    """Return photos with what is needed beside them: "captions", "masks" or "anomalies".

    Args:
        value: the path of a data set, or a table.
        need: what its columns must hold.
        keys: remembers content keys of files.
        split: of a data set that has several; "": train, or the only one, and of captions all of them.
        void: see ``open_photos``.

    Raises:
        UsageError, DataError: there is no such data set, it lacks what is needed, or it has other splits.
    """
    from diptych.data.load import open_data
    from diptych.data.samples import as_table
    from diptych.evaluation.datasets import open_set

    if not isinstance(value, (str, os.PathLike)):
        return as_table(value)
    if need == "captions":
        return open_data(os.fspath(value), keys, need=need).whole()
    data = open_set(os.fspath(value), need, keys, void=numbers(void))
    if split:
        return data.split(split)
    return data["train" if "train" in data.splits or len(data.splits) > 1 else next(iter(data.splits))]
