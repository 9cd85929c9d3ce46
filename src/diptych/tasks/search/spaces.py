"""Fitted spaces in a search index: samples of any modality that are alike, by a space that was fitted for them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diptych.backbones.names import space_folder
from diptych.core import Backbone, DataError, Run, Samples, Subset, UnreadableItem, UsageError
from diptych.data.format import FRAMES, Request
from diptych.data.joined import Joined
from diptych.data.keys import FileKeys
from diptych.data.modalities import CLIPS, Modality, modality, modality_of
from diptych.data.records.records import Fact, Records
from diptych.tasks.search.term import Term

# What loads torch is imported where it is used: words are answered without.
_UNTRAINED = re.compile(r"(.+)\+(frames|clouds)(\d+)", re.DOTALL)
_ROW = re.compile(r"(.+)\[(.+)\]", re.DOTALL)


def untrained_name(name: str) -> tuple[str, str, int]:
    """Return the backbone, the modality ("" for photos) and the frames (0 without) that an index's backbone names.

    Example:
        >>> untrained_name("lite+frames8"), untrained_name("tiny+clouds6"), untrained_name("lite")
        (('lite', 'clips', 8), ('tiny', 'clouds', 0), ('lite', '', 0))
    """
    match = _UNTRAINED.fullmatch(name)
    if match is None:
        return name, "", 0
    samples = {"frames": "clips", "clouds": "clouds"}[match[2]]
    return match[1], samples, int(match[3]) if samples == "clips" else 0


def space_named(name: str, load: Callable[[str], Backbone], run: Run) -> Backbone:
    """Open the space that an index says it was made with: a backbone, an untrained space round one, or a fitted one.

    Raises:
        UsageError, DataError: see ``open_space``.
    """
    from diptych.tasks.extenders import untrained_space
    from diptych.tasks.space_classifier import open_space

    folder = space_folder(name)
    if folder is not None:
        return open_space(folder, load)
    base, samples, frames = untrained_name(name)
    return untrained_space(samples, load(base), run, frames=frames or None) if samples else load(base)


def modality_named(name: str) -> tuple[Modality, int] | None:
    """Return the modality of the space that an index says it was made with, and its frames; None for photos."""
    folder = space_folder(name)
    if folder is not None:
        from diptych.tasks.space_classifier import facts_of

        facts = facts_of(folder)
        return modality(facts.samples), facts.frames
    _, samples, frames = untrained_name(name)
    return (modality(samples), frames) if samples else None


def has_words(backbone: Backbone) -> bool:
    """Return whether words can be compared with the samples of a space."""
    from diptych.features.modality_space import NoTexts

    return not isinstance(backbone.text, NoTexts)


@dataclass(frozen=True)
class Source:
    """What an index takes in, where it is no photos.

    Args:
        modality: of the samples; None: photos.
        frames: pictures of a clip.
        fitted: whether the backbone is a fitted space, which takes the samples as it is.
    """

    modality: Modality | None
    frames: int
    fitted: bool

    @classmethod
    def of(cls, paths: Sequence[str], backbone: str, clips: int | None) -> Source:
        """Say what paths hold, and whether a backbone takes it.

        Args:
            paths: that a user names, at least one.
            backbone: its name.
            clips: pictures of a clip, where these are clips; None: they are not.

        Raises:
            UsageError: the backbone is a space of other samples, or no backbone knows these.
        """
        folder, kind = space_folder(backbone), CLIPS if clips else modality_of(paths[0])
        if folder is not None:
            from diptych.tasks.space_classifier import facts_of

            facts = facts_of(folder)
            if kind is not None and kind.name != facts.samples:
                raise UsageError(
                    f"{backbone} takes {modality(facts.samples).title}, and {paths[0]} holds {kind.title}."
                )
            return cls(modality(facts.samples), facts.frames or FRAMES, True)
        if kind is not None and not kind.named:
            raise UsageError(
                f"{kind.title.capitalize()} share no space with words or photos, and {backbone} is no space of them: "
                f"run 'diptych extend' on some with classes, and give its folder as the backbone."
            )
        return cls(kind, clips or FRAMES, False)

    def records(self, path: str, keys: FileKeys | None = None) -> Records:
        """Read samples as records, see ``sample_records``."""
        assert self.modality is not None
        return sample_records(path, self.modality, keys, self.frames)

    def space(self, backbone: Backbone, run: Run) -> Backbone:
        """Return the space that takes the samples."""
        from diptych.tasks.extenders import untrained_space

        assert self.modality is not None
        if self.fitted:
            return backbone
        frames = self.frames if self.modality is CLIPS else None
        return untrained_space(self.modality.name, backbone, run, frames=frames)


def sample_records(path: str, kind: Modality, keys: FileKeys | None = None, frames: int = FRAMES) -> Records:
    """Read samples of a modality as records in the place of pictures; facts are "split", and "label" where known.

    Files are named by their absolute path, rows of a table as TABLE[ROW]. Rows that cannot be used are among
    ``failed``.

    Raises:
        DataError: the path is damaged, or holds no such samples.
    """
    data, base = kind.open([path], Request(keys=keys, frames=frames)), os.path.abspath(path)
    items = Joined(tuple(table.items for table in data.splits.values()))
    names, facts, places, failed = list[str](), list[dict[str, Fact]](), list[int](), list[UnreadableItem]()
    position = 0
    for split, table in data.splits.items():
        labels: list[Any] = table.labels().tolist() if "label" in table.columns else [None] * len(table)
        for i, label in enumerate(labels):
            item = table.items.name(i)
            name = f"{base}[{item}]" if kind.rows else os.path.abspath(item)
            broken = _broken(table.items, i, name) if kind.rows else None  # a file is read when it is embedded
            if broken is not None:
                failed.append(broken)
            else:
                names.append(name)
                places.append(position + i)
                facts.append({"split": split} | ({} if label is None else {"label": data.classes[label]}))
        position += len(table)
    pictures: Any = items
    return Records(tuple(names), pictures, tuple(places), (None,) * len(names), tuple(facts), tuple(failed))


def sample_term(term: Term, kind: Modality, keys: FileKeys | None = None, frames: int = FRAMES) -> Term:
    """Return a term of a query with its sample: a file, "TABLE[ROW]", or a table of one row; words stay as they are.

    Raises:
        DataError: the table has no such row, or several and none is named.
        UnreadableItem: the sample cannot be used.
    """
    match = _ROW.fullmatch(term.value) if kind.rows else None
    path, name = (match[1], match[2]) if match else (term.value, "")
    if (
        not os.path.exists(path) or term.is_picture or not (kind.holds(path) or os.path.isdir(path))
    ):  # words may be long
        return term
    items = kind.open([path], Request(keys=keys, frames=frames)).whole().items
    rows = [i for i in range(len(items)) if not name or items.name(i) == name]
    if len(rows) != 1:
        raise DataError(f"{path} holds {len(rows)} {kind.name} {name}: name one of them, as {path}[NAME].")
    return replace(term, sample=Subset(items, tuple(rows)))


def _broken(items: Samples[Any], index: int, name: str) -> UnreadableItem | None:
    try:
        items[index]
    except UnreadableItem as error:
        return UnreadableItem(name, error.reason)
    return None
