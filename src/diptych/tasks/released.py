"""Files that authors have released, made into folders of ours once: backbones, and systems as fitted by their authors.

What such a file does not state is fixed by a table, see ``backbones.released``; every tensor must have its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diptych import catalog
from diptych.backbones.released import Released, row, slugs, table, translated
from diptych.backbones.sources.load import load
from diptych.backbones.sources.proposers import load_proposer
from diptych.backbones.sources.save import save as save_backbone
from diptych.backbones.spec import Stated
from diptych.backbones.weights import read_state
from diptych.core import Backbone, ClassNames, Kit, Run, Segmenter, UsageError
from diptych.core.settings import with_settings
from diptych.data.words.templates import ENSEMBLE
from diptych.features import artefacts


@dataclass(frozen=True)
class Converted:
    """What became of a released file.

    Args:
        name: of the row in the table.
        folder: that was written.
        how: how it is used from now on, in a few words.
    """

    name: str
    folder: Path
    how: str


def chosen(slug: str, file: Path, name: str = "") -> Released:
    """Return the row of the table that a file belongs to: the named one, the one that lists it, or the only one.

    Raises:
        UsageError: the system has no table, there is no such row or several, or the file is not read here.
    """
    if slug not in slugs():
        why = catalog.card(slug)["released"] or "no released file is read here"
        raise UsageError(f"There is no released file of {slug}: {why}.")
    rows = table(slug).file
    names = ", ".join(one.name for one in rows if not one.unread)
    if name:
        if name not in {one.name for one in rows}:
            raise UsageError(f"{name!r} is no released file of {slug}: give one of {names}.")
        return row(name)[1]
    listed = [one for one in rows if file.name in {Path(f).name for f in one.files}]
    left = listed or ([one for one in rows if not one.unread] or list(rows))
    if len(left) > 1:
        raise UsageError(f"{file} may be one of several released files: give {{released}}, one of {names}.")
    return row(left[0].name)[1]


def convert(
    slug: str,
    file: Path,
    folder: Path,
    run: Run,
    *,
    released: str = "",
    backbone: Callable[[], Backbone] | None = None,
    classes: ClassNames | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Converted:
    """Write a released file as a folder, whole or not at all.

    Args:
        slug: of the system.
        file: .safetensors, or a torch file of nothing but tensors.
        folder: new.
        run: device and cache, for the texts of the classes.
        released: name of the row, where the file's own does not say; see ``chosen``.
        backbone: opens the one that the system was fitted on; None where the file is a whole CLIP.
        classes: those of the file's training, in its order.
        settings: of the system, beside those of the table.

    Raises:
        UsageError: something is missing or unknown, or the folder is there.
        DataError: the file is damaged, or tensors are missing, unexpected or of another shape.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists: name another folder, or remove it first.")
    one, by = chosen(slug, file, released), table(slug)
    if one.architecture:
        save_backbone(load(f"local:{file.absolute()}", stated=Stated(released=one.name)), folder)
        return Converted(one.name, folder, f"as a backbone, local:{folder}")
    if backbone is None:
        raise UsageError(f"{one.name} is no whole CLIP: give {{backbone}}, the one that it was trained on.")
    system: Any = catalog.find(slug)
    method = with_settings(system(), {**one.settings, **(settings or {})})
    if classes is not None and isinstance(method, Segmenter) and classes.templates == ClassNames(("a",)).templates:
        classes = ClassNames(classes.names, ENSEMBLE, classes.words)
    main = backbone()
    parts: dict[str, Any] = {"main": main}
    if "MaskProposer" in system.card.needs.parts:
        parts["proposer"] = load_proposer(system.default_proposer)
    state, _ = translated(read_state(file, opens=by.opens), by, file)
    state |= {name: torch.tensor(value) for name, value in one.adds.items()}
    fitted = method.from_released(state, Kit(parts), classes, run)
    named = {"named": fitted.classes} if isinstance(method, Segmenter) else {}
    artefacts.save(fitted, folder, method, **named)
    if system.card.verb in ("segment", "detect"):
        return Converted(one.name, folder, f"with 'diptych {system.card.verb} PHOTOS --fitted {folder}'")
    return Converted(one.name, folder, f"in Python, diptych.systems.{system.__name__}.load({str(folder)!r})")
