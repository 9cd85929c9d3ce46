"""Clips as records for an index, without text, and with class folder and split as facts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from diptych.data.format import Format
from diptych.data.formats.item_folders import CLIPS, ClipFiles, read_clips
from diptych.data.keys import FileKeys
from diptych.data.records.records import Fact, Records


def clip_records(path: Path, frames: int, keys: FileKeys | None = None) -> Records:
    """Read a video, a folder with the frames of a clip, or a folder of either.

    Returns:
        Records whose pictures are clips, named by absolute path; facts are "split", and "label" where there are class
        folders.

    Raises:
        DataError, MissingExtra: as for ``read_clips``.
    """
    data = read_clips(Path(os.path.abspath(path)), frames, keys)
    names: list[str] = []
    facts: list[dict[str, Fact]] = []
    for split, table in data.splits.items():
        names += [table.items.name(i) for i in range(len(table))]
        labels: list[Any] = table.labels().tolist() if "label" in table.columns else [None] * len(table)
        facts += [{"split": split} if k is None else {"split": split, "label": data.classes[k]} for k in labels]
    clips: Any = ClipFiles(names, frames, keys)
    return Records(tuple(names), clips, tuple(range(len(names))), (None,) * len(names), tuple(facts))


CLIP_RECORDS = Format(
    CLIPS.name, CLIPS.matches, lambda path, request: clip_records(path, request.frames, request.keys), CLIPS.gives
)
