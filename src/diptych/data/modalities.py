"""Modalities besides photos and texts: how a path with samples of one is recognised and opened.

``extend``, ``classify``, ``index`` and boards open samples through this one table. Packages outside add a modality by
an entry point in the group ``diptych.modalities``, whose value is ``package.module:NAME`` of a ``Modality``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from diptych.core import DiptychError, Table, UnreadableItem, UsageError
from diptych.core.entry_points import MODALITIES, declared, warn_once
from diptych.data.format import Request
from diptych.data.labelled import LabelledData

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
        suffix: from the bytes of a file that is sent to a server to the suffix of such a file, such as ".ply"; "" where
            they hold no such sample. None: samples are not sent.
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
    suffix: Callable[[bytes], str] | None = None

    def open(self, paths: Sequence[str], request: Request | None = None) -> LabelledData:
        """Open labelled samples.

        Args:
            paths: one or several files, or a folder.
            request: cache of content keys, pictures per clip, and the name of the label's column; None: the defaults.

        Raises:
            UsageError: several tables, or a path that is not there.
            DataError: the samples cannot be used.
        """
        if self.rows and len(paths) > 1:
            raise UsageError(f"Give one table of {self.title}, or one folder: join your tables first.")
        return self.opened(paths, request or Request())

    def of_bytes(self, data: bytes) -> Any:
        """Return the one sample of a file's bytes, which may come from anybody.

        Raises:
            UnreadableItem: they hold none, or several, or are damaged.
        """
        suffix = self.suffix(data) if self.suffix is not None else ""
        if not suffix:
            raise UnreadableItem(f"the {self.one}", f"is no file of {self.title} that is taken here")
        with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
            path = Path(folder, f"sample{suffix}")
            path.write_bytes(data)
            try:
                items = self.open([str(path)]).whole().items
                if len(items) != 1:
                    raise UnreadableItem(f"the {self.one}", f"holds {len(items)} {self.name}, and one is taken")
                return items[0]
            except (DiptychError, OSError) as error:  # whose words name a path of this machine
                reason = error.reason if isinstance(error, UnreadableItem) else f"cannot be read as a {self.one}"
                raise UnreadableItem(f"the {self.one}", reason) from error


def modalities() -> Mapping[str, Modality]:
    """Return name -> modality, ours first. An entry point that cannot be loaded is left out, with a warning."""
    every = {modality.name: modality for modality in (CLOUDS, STARS, CLIPS)}
    for point in declared(MODALITIES):
        try:
            loaded = point.load()
        except Exception as error:  # whatever a foreign module raises
            warn_once(point, error)
            continue
        if not isinstance(loaded, Modality):
            warn_once(point, f"it is a {type(loaded).__name__} and no Modality")
        elif loaded.name in every:
            warn_once(point, f"there is a modality {loaded.name!r} already")
        else:
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
    from diptych.data.formats.item_folders import holds_clouds

    return holds_clouds(path)


def _holds_curves(path: str) -> bool:
    from diptych.data.formats import star_table

    return star_table.holds_curves(path)


def _holds_clips(path: str) -> bool:
    from diptych.data.formats.item_folders import holds_clips

    return holds_clips(path)


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


def _cloud_suffix(data: bytes) -> str:
    return ".ply" if data.startswith(b"ply") else ".npy" if data.startswith(b"\x93NUMPY") else ".xyz"


def _clip_suffix(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return ".mp4"
    if data.startswith(b"\x1aE\xdf\xa3"):
        return ".webm"
    return ".avi" if data.startswith(b"RIFF") and data[8:11] == b"AVI" else ""


CLIPS = Modality(
    "clips", "clip", "clips", "clip", _holds_clips, _clips,
    layout="give a folder train/CLASS/CLIP and test/CLASS/CLIP, each clip a video or a folder of its frames, or light "
    "curves", suffix=_clip_suffix,
)  # fmt: skip
CLOUDS = Modality(
    "clouds", "cloud", "point clouds", "cloud", _holds_clouds, _clouds, layout="give train/CLASS/CLOUD",
    suffix=_cloud_suffix,
)  # fmt: skip
STARS = Modality(
    "stars", "star", "light curves", "photometry", _holds_curves, _stars, rows=True, named=False,
    layout="give light_curves.csv, and stars.csv with the classes", suffix=lambda data: ".csv",
)  # fmt: skip
