"""Change pictures by words: of a generator's own pictures or of photos that its inverter finds again; written side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from diptych.core.backbone import Backbone
from diptych.core.data import Evidence, Samples, Subset
from diptych.core.edit import EditAsk, Edited, Editor, FittedEditor, Inverter, StyleGenerator
from diptych.core.errors import DataError, MissingPart, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.files import write_json, write_whole
from diptych.features import portable
from diptych.tasks.overlay import png
from diptych.tasks.segment import stems

SHOWN_SIDE, GAP = 256, 16
"""Least side of a written picture, to which smaller ones are blown up without smoothing, and the white between two, in
pixels.
"""
MOVED = 1e-6


@dataclass(frozen=True)
class Pair:
    """One picture before and after.

    Args:
        name: what the user calls it.
        before, after: (3, H, W) in [0, 1].
        change: (S,) what was added to its style channels; None where the editor has none.
    """

    name: str
    before: Tensor
    after: Tensor
    change: Tensor | None

    def image(self) -> Image.Image:
        """Return both side by side."""
        halves = [_picture(t) for t in (self.before, self.after)]
        sheet = Image.new("RGB", (2 * halves[0].width + GAP, halves[0].height), "white")
        sheet.paste(halves[0])
        sheet.paste(halves[1], (halves[0].width + GAP, 0))
        return sheet


@dataclass(frozen=True)
class Edits:
    """Edited pictures, and what was asked.

    Args:
        source, target: the words.
        pairs: one a picture that could be read.
        channels: style channels a layer of the generator.
        failed: one error for each other picture.
    """

    source: str
    target: str
    pairs: tuple[Pair, ...]
    channels: tuple[int, ...]
    failed: tuple[UnreadableItem, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: of each picture the channels that moved, as layer, channel and strength, the
        strongest first.
        """
        return {
            "source": self.source,
            "target": self.target,
            "channels": list(self.channels),
            "pictures": [{"name": p.name, "moved": strengths(p.change, self.channels)} for p in self.pairs],
            "skipped": [e.as_dict() for e in self.failed],
        }

    def write(self, out: Path, about: Mapping[str, Any], *, overwrite: bool = False) -> list[Path]:
        """Write NAME.png of each picture, and edit.json; return the pictures' paths."""
        paths = files(out, [p.name for p in self.pairs])
        for path, pair in zip(paths, self.pairs, strict=True):
            write_whole(path, png(pair.image()), overwrite=overwrite)
        write_json(out / "edit.json", {**self.as_dict(), **about}, overwrite=overwrite)
        return paths


def files(out: Path, names: Sequence[str]) -> list[Path]:
    """Return where the pictures of these names go, each its own: a stem that occurs again gets a number."""
    return [out / f"{stem}.png" for stem in stems(names)]


def strengths(change: Tensor | None, channels: Sequence[int]) -> list[dict[str, Any]]:
    """Return {"layer", "channel", "strength"} of each (S,) style channel that moved, the strongest first."""
    if change is None:
        return []
    places = [(layer, channel) for layer, count in enumerate(channels) for channel in range(count)]
    rows = [
        {"layer": place[0], "channel": place[1], "strength": round(float(v), 6)}
        for place, v in zip(places, change, strict=True)
    ]
    return sorted((row for row in rows if abs(row["strength"]) > MOVED), key=lambda row: -abs(row["strength"]))


def fitted_editor(
    generator: StyleGenerator,
    backbone: Backbone,
    run: Run,
    *,
    inverter: Inverter | None = None,
    method: Editor | None = None,
    folder: Path | None = None,
) -> FittedEditor:
    """Fit an editor on a generator, or read one that was fitted on it before.

    Args:
        generator: whose pictures are edited.
        backbone: sees pictures and reads words.
        run: device and seed.
        inverter: finds the styles of photos.
        method: any editor; None is DeltaEdit's variant "small".
        folder: of the fitted editor: read where it is, else written; None keeps nothing.

    Raises:
        UsageError: the folder holds an editor of another method, generator or backbone.
        DataError: the folder holds no fitted editor.
    """
    from diptych.methods.edit.deltaedit import DeltaEdit

    parts: dict[str, Any] = {"main": backbone, "generator": generator}
    if inverter is not None:
        parts["inverter"] = inverter
    kit, chosen = Kit(parts), method or DeltaEdit(**DeltaEdit.card.variants["small"])
    if folder is None or not folder.exists():
        fitted = chosen.fit(kit, Evidence(), run)
        if folder is not None:
            portable.save(fitted, folder)
        return fitted
    known = portable.load(folder, kit)
    if not isinstance(known, FittedEditor) or getattr(known, "method", None) != chosen:
        raise UsageError(
            f"{folder} holds no editor fitted as asked: give the same --method and --variant, or another --fitted."
        )
    if getattr(known, "generator", generator).fingerprint != generator.fingerprint:
        raise UsageError(f"{folder} holds an editor of another generator: give that one, or another --fitted.")
    return known


def edit(
    fitted: FittedEditor,
    generator: StyleGenerator,
    source: str,
    target: str,
    run: Run,
    *,
    images: Samples[Any] | None = None,
    count: int = 4,
    threshold: float | None = None,
) -> Edits:
    """Edit pictures.

    Args:
        fitted: fitted on the generator.
        generator: it.
        source: what the pictures show, as far as the edit touches it.
        target: what they shall show.
        run: device; its seed draws the generator's pictures.
        images: photos; None: ``count`` pictures of the generator's own.
        count: of these.
        threshold: in the place of that of the fitted method.

    Raises:
        UsageError: source or target is empty, or they are the same words; or the editor has no threshold.
        DataError: there is no photo that can be read.
        MissingPart: photos were given, and the editor was fitted without an inverter.
    """
    check_words(source, target)
    if threshold is not None:
        fitted = with_threshold(fitted, threshold)
    if images is None:
        names = [f"seed{run.seed}-{i + 1}" for i in range(count)]
        found = fitted.edit(EditAsk(source, target, styles=generator.sample(count, run.generator("edit"))), run)
        return Edits(source, target, _pairs(names, found), generator.channels)
    kept, failed = [], []
    for i in range(len(images)):
        try:
            images[i]
            kept.append(i)
        except UnreadableItem as error:
            failed.append(error)
    if not kept:
        raise DataError(
            f"No photo can be read{f' ({failed[0]})' if failed else ''}: give files or a folder that hold some."
        )
    found = fitted.edit(EditAsk(source, target, images=Subset(images, tuple(kept))), run)
    return Edits(source, target, _pairs([images.name(i) for i in kept], found), generator.channels, tuple(failed))


def with_threshold(fitted: FittedEditor, threshold: float) -> FittedEditor:
    """Return the same editor with another threshold.

    Raises:
        UsageError: it has none.
    """
    from diptych.methods.edit.deltaedit import FittedDeltaEdit

    if not isinstance(fitted, FittedDeltaEdit):
        raise UsageError(f"{type(fitted).__name__} has no threshold: leave --threshold out.")
    return replace(fitted, method=replace(fitted.method, beta=threshold))


def check_words(source: str, target: str) -> None:
    """Refuse words that name no change.

    Raises:
        UsageError: source or target is empty, or they are the same words.
    """
    if not source.strip() or not target.strip():
        raise UsageError(
            'An edit needs words for what is there and for what shall be: give --source "a red circle" --target "a '
            'blue circle".'
        )
    if source.split() == target.split():
        raise UsageError(f"Source and target are the same words, {source!r}: name what shall change.")


def need_inverter(inverter: Inverter | None, name: str) -> None:
    """Refuse photos where nothing inverts them.

    Raises:
        MissingPart: there is no inverter.
    """
    if inverter is None:
        raise MissingPart(
            f"The generator {name} cannot find photos in its style space, having no inverter: use small, or leave "
            f"--images out."
        )


def _pairs(names: Sequence[str], found: Edited) -> tuple[Pair, ...]:
    changes: Sequence[Tensor | None] = [None] * len(names) if found.change is None else list(found.change)
    return tuple(Pair(*row) for row in zip(names, found.before, found.after, changes, strict=True))


def _picture(t: Tensor) -> Image.Image:
    image = Image.fromarray(np.rint(255 * t.permute(1, 2, 0).numpy()).astype(np.uint8))
    times = max(1, -(-SHOWN_SIDE // image.width))
    return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
