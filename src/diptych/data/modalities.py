"""Modalities besides photos and texts: how a path with samples of one is recognised and opened.

``extend``, ``classify``, ``index`` and boards open samples through this one table. Packages outside add a modality by
an entry point in the group ``diptych.modalities``, whose value is ``package.module:NAME`` of a ``Modality``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TypeAlias

from diptych.core import Table, UsageError
from diptych.data.format import Request
from diptych.data.labelled import LabelledData

GROUP = "diptych.modalities"
Opener: TypeAlias = Callable[[Sequence[str], Request], LabelledData]
"""From paths that a user names, and how they are to be read, to labelled samples."""


@dataclass(frozen=True)
class Modality:
    """One modality.

    Args:
        name: what ``Extender.samples`` says, a plural such as "clips".
        one: a single sample, such as "clip".
        title: the samples in a sentence, such as "point clouds".
        encoder: of a space: the key of the encoder that takes the samples, or the modality of that encoder.
        holds: whether a path holds such samples and nothing else; it must be quick.
        opened: see ``Opener``.
        rows: whether a path is a table of many samples; their names are then no paths, and it is opened alone.
        named: whether classes can be named by words; False where they are those of the data alone.
        layout: of labelled data, for the remedy of an error.
    """

    name: str
    one: str
    title: str
    encoder: str
    holds: Callable[[str], bool]
    opened: Opener
    rows: bool = False
    named: bool = True
    layout: str = "give folders train/CLASS and test/CLASS"

    def open(self, paths: Sequence[str], request: Request | None = None) -> LabelledData:
        """Open labelled samples.

        Args:
            paths: one or several files, or a folder.
            request: cache of content keys, pictures a clip, and the name of the label's column; None: the defaults.

        Raises:
            UsageError: several tables, or a path that is not there.
            DataError: the samples cannot be used.
        """
        if self.rows and len(paths) > 1:
            raise UsageError(f"Give one table of {self.title}, or one folder: join your tables first.")
        return self.opened(paths, request or Request())


def modalities() -> Mapping[str, Modality]:
    """Return name -> modality, ours first. An entry point that cannot be loaded is left out, with a warning."""
    every = {modality.name: modality for modality in (CLOUDS, STARS, CLIPS)}
    for point in entry_points(group=GROUP):
        try:
            loaded = point.load()
        except Exception as error:  # whatever a foreign module raises
            warnings.warn(f"The modality {point.name!r} ({point.value}) cannot be loaded: {error}", stacklevel=2)
            continue
        if not isinstance(loaded, Modality) or loaded.name in every:
            warnings.warn(f"{point.value} is no new Modality, and is left out: {loaded!r}.", stacklevel=2)
            continue
        every[loaded.name] = loaded
    return every


def modality(name: str) -> Modality:
    """Return a modality by its name.

    Raises:
        UsageError: there is none of that name.
    """
    every = modalities()
    if name not in every:
        raise UsageError(f"There is no modality {name!r}, only {', '.join(every)}: install the package that brings it.")
    return every[name]


def modality_of(path: str | os.PathLike[str]) -> Modality | None:
    """Return the modality whose samples a path holds; None for photos, and for folders of pictures that may be frames.

    Raises:
        UnicodeError, OSError: the path cannot be looked at.
    """
    text = os.fspath(path)
    if text.startswith("demo:"):
        return None
    return next((each for each in modalities().values() if each.holds(text)), None)


def _holds_clouds(path: str) -> bool:
    from diptych.data.formats import cloud_folder

    return cloud_folder.holds_clouds(path)


def _holds_curves(path: str) -> bool:
    from diptych.data.formats import star_table

    return star_table.holds_curves(path)


def _holds_clips(path: str) -> bool:
    from diptych.data.formats import clip_folder

    return clip_folder.holds_clips(path)


def _clouds(paths: Sequence[str], request: Request) -> LabelledData:
    from diptych.data.load import open_data

    return open_data(paths, request.keys, need="clouds")


def _clips(paths: Sequence[str], request: Request) -> LabelledData:
    from diptych.data.load import open_data

    return open_data(paths, request.keys, need="clips", frames=request.frames)


def _stars(paths: Sequence[str], request: Request) -> LabelledData:
    from diptych.data.curve_halves import CurveStars
    from diptych.data.load import open_data

    data = open_data(paths, request.keys, need="curves", label=request.label)
    tables = {name: Table(CurveStars(table.items), table.columns) for name, table in data.splits.items()}
    return replace(data, splits=tables)


CLIPS = Modality(
    "clips", "clip", "clips", "clip", _holds_clips, _clips,
    layout="give a folder train/CLASS/CLIP and test/CLASS/CLIP, each clip a video or a folder of its frames, or light "
    "curves",
)  # fmt: skip
CLOUDS = Modality(
    "clouds", "cloud", "point clouds", "cloud", _holds_clouds, _clouds, layout="give train/CLASS/CLOUD"
)  # fmt: skip
STARS = Modality(
    "stars", "star", "light curves", "photometry", _holds_curves, _stars, rows=True, named=False,
    layout="give light_curves.csv, and stars.csv with the classes",
)  # fmt: skip
