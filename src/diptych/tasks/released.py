"""Files that authors have released, made into folders of ours once: backbones, and systems as fitted by their authors.

What such a file does not state is fixed by a table, see ``backbones.released``; every tensor must have its place.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diptych import catalog
from diptych.backbones.file_kinds import check_weight_file
from diptych.backbones.hub import is_offline
from diptych.backbones.released import Released, row, slugs, table
from diptych.backbones.released_beside import tensor_beside, words_beside
from diptych.backbones.released_checks import UnfitTensors
from diptych.backbones.released_names import spelling, translated, wrapper_of
from diptych.backbones.sources.openclip_files import from_file
from diptych.backbones.sources.proposers import load_proposer
from diptych.backbones.sources.save import save as save_backbone
from diptych.backbones.spec import Stated
from diptych.backbones.weights import read_state, taken_out
from diptych.core import Backbone, Classifier, ClassNames, DataError, Editor, Extender, Kit, Run, Segmenter, UsageError
from diptych.core.settings import with_settings
from diptych.data.modalities import Modality, modality
from diptych.data.words.templates import ENSEMBLE, read_templates
from diptych.features import artefacts
from diptych.features.spaces import StoredSpace
from diptych.tasks.edit_parts import drawn_by, generator_parts, map_parts
from diptych.tasks.extend import keep_space
from diptych.tasks.space_classifier import SpaceClassifier


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
            raise UsageError(f"{name!r} is not a released file of {slug}: give one of {names}.")
        return row(name)[1]
    listed = [one for one in rows if file.name in {n for f in one.files for n in _spellings(Path(f).name)}]
    left = listed or ([one for one in rows if not one.unread] or list(rows))
    if len(left) > 1:
        raise UsageError(f"{file} may be one of several released files: give {{released}}, one of {names}.")
    return row(left[0].name)[1]


def _spellings(name: str) -> set[str]:
    """Return what a file of this name in a table may be called: so, with the end that the table leaves out, and as the
    tensors that a person took out of it.
    """
    return {name, taken_out(name), *({f"{name}.pt", f"{name}.tensors.pt"} if "." not in name else ())}


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
    generator: str | None = None,
    inverter: str | None = None,
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
        generator: that the system was trained for, see ``edit_parts.kit_for``.
        inverter: of that generator, where the system holds one.

    Raises:
        UsageError: something is missing or unknown, or the folder is there.
        DataError: the file is damaged, or tensors are missing, unexpected or of another shape.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists: name another folder, or remove it first.")
    if slug in slugs():
        check_weight_file(file)  # before a row of the table is asked for, and a backbone is loaded
    one, by = chosen(slug, file, released), table(slug)
    if one.architecture:
        stated = Stated(released=one.name)
        save_backbone(from_file(file.absolute(), offline=is_offline(None), stated=stated, allow_pickle=None), folder)
        return Converted(one.name, folder, f"as a backbone, local:{folder}")
    system: Any = catalog.find(slug)
    parts: dict[str, Any] = {}
    if system.card.needs.hooks:
        parts["main"] = _opened(one, backbone)
    method = with_settings(system(), {**one.settings, **words_beside(one, file), **(settings or {})})
    if classes is not None and isinstance(method, Segmenter) and classes.templates == ClassNames(("a",)).templates:
        templates = read_templates(one.template) if one.template else ENSEMBLE
        classes = ClassNames(classes.names, templates, classes.words)
    if issubclass(system, Extender):
        classes = _named(one, classes, modality(system.samples))
    if "MaskProposer" in system.card.needs.parts:
        parts["proposer"] = load_proposer(system.default_proposer)
    parts |= _drawing(one, system, generator, inverter)
    read = read_state(file, allow_pickle=None, opens=by.opens)
    state, origins = translated(read, by, file)
    state |= {name: torch.tensor(value) for name, value in one.adds.items()}
    state |= {name: tensor_beside(one, file, other) for name, other in one.beside.items()}
    origins |= one.beside
    try:
        fitted = method.from_released(state, Kit(parts), classes, run)
    except UnfitTensors as error:
        raise DataError(error.say(spelling(by, origins, file, wrapper_of(read)))) from None
    if isinstance(method, Extender):
        return _converted_space(one, fitted, method, classes, folder)
    named = {"named": fitted.classes} if isinstance(method, Segmenter) else {}
    artefacts.save(fitted, folder, method, **named)
    return Converted(one.name, folder, _use(system, folder, generator, inverter, drawn="generator" in parts))


def _use(system: Any, folder: Path, generator: str | None, inverter: str | None, *, drawn: bool) -> str:
    """Return how a converted system is used, as behind "use it"; ``drawn``: an editor of what a generator draws."""
    card, kept = system.card, f"--fitted {shlex.quote(str(folder))}'"
    if card.verb in ("segment", "detect"):
        return f"with 'diptych {card.verb} PHOTOS {kept}"
    if issubclass(system, Classifier):
        return f"with 'diptych classify PHOTOS --model {shlex.quote(str(folder))}'"
    if issubclass(system, Editor) and system.takes.start == ("nothing",):
        return f"with 'diptych generate TEXT --method {card.slug} {kept}"
    if drawn:
        names = " ".join(f"--{n} {v}" for n, v in (("generator", generator), ("inverter", inverter or "FILE")) if v)
        return f"with 'diptych edit PHOTOS {names} {kept}"
    return f"in Python, diptych.systems.{system.__name__}.load({str(folder)!r})"


def _drawing(one: Released, system: Any, generator: str | None, inverter: str | None) -> dict[str, Any]:
    """Return the parts of an editor that draws: its generator, and an inverter where the editor holds one.

    Raises:
        UsageError: a part is missing, or is given where none is needed.
        MissingPart: the generator has no encoder of the kind that the editor uses.
    """
    needed = system.card.needs.parts
    if "StyleGenerator" not in needed:
        if generator or inverter:
            raise UsageError(f"{one.name} draws by no generator of yours: leave {{generator}} and {{inverter}} out.")
        return {}
    if not (generator or inverter):
        raise UsageError(
            f"{one.name} belongs to one generator, which its file does not hold: give {{generator}}, such as "
            f"stylegan2-ffhq-config-f.pt, or {{inverter}}, such as e4e_ffhq_encode.pt, which holds both."
        )
    if "MapInverter" not in needed:
        return {"generator": generator_parts(drawn_by(generator, inverter, photos=True), None)["generator"]}
    name = drawn_by(generator, inverter, photos=True)
    parts = generator_parts(name, inverter)
    return {"generator": parts["generator"], **map_parts(name, parts.get("inverter"))}


def _opened(one: Released, backbone: Callable[[], Backbone] | None) -> Backbone:
    """Open the backbone of a file that is not a complete CLIP.

    Raises:
        UsageError: none is given, or it has another activation than the file was trained with.
    """
    if backbone is None:
        raise UsageError(f"{one.name} is not a complete CLIP: give {{backbone}}, the one that it was trained on.")
    main = backbone()
    if one.activation and main.spec.activation != one.activation:
        raise UsageError(
            f"{one.name} was trained with {one.activation}, and {main.spec.name} has {main.spec.activation}: give the "
            f"{{backbone}} that has it, such as ViT-B-16-quickgelu/openai."
        )
    return main


def _named(one: Released, classes: ClassNames | None, kind: Modality) -> ClassNames | None:
    """Return the classes that a space of other samples is kept with, in the authors' prompt.

    Raises:
        UsageError: they are missing, and words name the classes of these samples.
    """
    if classes is None and one.classes:
        return ClassNames(one.classes)
    if classes is None:
        if kind.named:
            raise UsageError(f"{one.name} names {kind.title} by words: give {{names}}, the classes to tell apart.")
        return None
    return ClassNames(classes.names, (one.template,)) if one.template else classes


def _converted_space(
    one: Released, space: Any, method: Extender, classes: ClassNames | None, folder: Path
) -> Converted:
    """Write a space of other samples as ``extend`` does, or alone where words name no classes of these samples."""
    kind = modality(method.samples)
    if kind.named and classes is not None:
        frames = int(getattr(space, "frames", 0))  # of a space of clips
        keep_space(SpaceClassifier(space, kind.name, frames, method.card.slug, classes), folder, method)
        return Converted(
            one.name, folder, f"with 'diptych classify {kind.name.upper()} --model {shlex.quote(str(folder))}'"
        )
    artefacts.save(StoredSpace(space), folder, method, **({} if classes is None else {"named": classes}))
    return Converted(one.name, folder, f"in Python, diptych.systems.{type(method).__name__}.load({str(folder)!r})")
