"""Spaces that an extender fitted before: read from a folder for the classes of a data set, and measured as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diptych.core import Backbone, ClassNames, DataError, FittedClassifier, Kit, Run, UsageError
from diptych.core.wording import first_of
from diptych.data.labelled import LabelledData
from diptych.data.modalities import Modality, modality
from diptych.features import artefacts, portable, spaces
from diptych.features.artefacts import About
from diptych.features.classes_in_order import InOrder, differences, order_of
from diptych.features.derived_space import LabelledSpace
from diptych.features.spaces import StoredSpace
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.extend import ZERO_SHOT, Extended, right_answers
from diptych.tasks.extenders import readable, untrained_space
from diptych.tasks.space_classifier import SpaceClassifier


def stated(folder: Path) -> About:
    """Return what the folder of a fitted space says of its content, without loading it.

    Folders of ``extend`` that versions before this one wrote name their system and classes, but not its settings.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds nothing fitted.
    """
    about = artefacts.stated(folder)
    if about.slug:
        return about
    try:
        fields = spaces.stated(folder)["fitted"]["fields"]
        names = fields["classes"]["fields"]["names"]["tuple"]
        return replace(about, slug=str(fields["method"]), classes=tuple(map(str, names)))
    except (KeyError, TypeError):
        return about


def read(folder: Path, backbone: Backbone | None) -> SpaceClassifier:
    """Return the space of a folder with its classes, which are () where words do not name any.

    Args:
        folder: of ``extend``, or of a released file that was converted; it is untrusted, and nothing in it is run.
        backbone: round which it was fitted; None: it needs none.

    Raises:
        UsageError: it was fitted round another backbone.
        DataError: it holds no fitted space, or is damaged.
    """
    about, fitted = stated(folder), artefacts.load(folder, Kit() if backbone is None else Kit.of(backbone))
    if isinstance(fitted, SpaceClassifier):
        return fitted
    if not isinstance(fitted, StoredSpace) or about.system is None:
        raise DataError(f"{folder} holds a {type(fitted).__name__} and no fitted space: give another {{fitted}}.")
    space, kind = fitted.space, modality(about.system.samples)
    named = about.facts.get("named")
    if isinstance(space, LabelledSpace) and isinstance(named, ClassNames):  # a released classifier
        return SpaceClassifier(space, kind.name, 0, about.slug, named)
    if "text" not in space.encoders:
        raise UsageError(
            f"{folder} holds towers of {kind.title} that no labels taught, so it names no classes: fit them on "
            f"labelled {kind.title}, and give that {{fitted}}."
        )
    frames = int(getattr(space, "frames", 0))
    return SpaceClassifier(space, kind.name, frames, about.slug, ClassNames(about.classes or ("anything",)))


def for_classes(
    fitted: SpaceClassifier, folder: Path, kind: Modality, classes: ClassNames, data: str
) -> FittedClassifier:
    """Return a fitted space that names the classes of a data set, in their order.

    A space with texts takes any names. One that learnt classes from labels knows those alone.

    Args:
        fitted: of ``read``.
        folder: from which it was read, for errors.
        kind: of the samples.
        classes: of the data, in the order of its labels.
        data: name of the data set.

    Raises:
        UsageError: it takes other samples, or knows other classes.
    """
    if fitted.samples != kind.name:
        raise UsageError(
            f"{folder} takes {fitted.modality.title}, and {data} holds {kind.title}: give another {{fitted}}."
        )
    if not isinstance(fitted.space, LabelledSpace):
        return fitted.named(classes)
    order = order_of(fitted.classes.names, classes.names)
    if order is None:
        why = differences(fitted.classes.names, classes.names)
        raise UsageError(
            f"{folder} learnt other classes than those of {data}, {first_of(classes.names)}: {why}; give another "
            f"{{fitted}}."
        )
    return fitted if order == tuple(range(len(order))) else InOrder(fitted, order, classes)


def measure_fitted(
    data: LabelledData, classes: ClassNames, backbone: Backbone | None, folder: Path, run: Run, *, prompts: bool = False
) -> Extended:
    """Measure a space that was fitted before on test or else val, beside the one that needs no training.

    Args:
        data: labelled samples of its modality.
        classes: K names, in the order of the data's classes.
        backbone: round which it was fitted; None: it needs none.
        folder: of the space, see ``tasks.fitted_space``.
        run: device and cache.
        prompts: whether the classes stand in the folder's prompt instead of their own.

    Raises:
        UsageError: it was fitted round another backbone, takes other samples, or knows other classes.
        DataError: there is no test and no val split, or the folder is damaged.
    """
    fitted = read(folder, backbone)
    kind = modality(fitted.samples)
    classes = replace(classes, templates=fitted.classes.templates) if prompts else classes
    named = for_classes(fitted, folder, kind, classes, data.name)
    split = next((name for name in ("test", "val") if name in data.splits), "")
    if not split:
        raise DataError(f"{data.name} has no test and no val split, so nothing of {folder} can be measured.")
    about = stated(folder)
    loaded = about.source(str(folder), portable.checksum(folder))
    right: dict[str, int] = {}
    with with_store(run) as stored:
        test, broken = readable(data.split(split), kind)
        plain = DEFAULTS.get(f"untrained {kind.name}", "")
        learns = about.system is None or about.system.card.trains != "nothing"
        if plain and backbone is not None and learns:
            space = untrained_space(kind.name, backbone, stored, frames=fitted.frames or None)
            other = SpaceClassifier(space, kind.name, fitted.frames, plain, classes)
            right[ZERO_SHOT if plain == about.slug else plain] = right_answers(other, test, stored)
        right[about.slug] = right_answers(named, test, stored)
    shown = fitted if isinstance(fitted.space, LabelledSpace) else fitted.named(classes)
    return Extended(shown, {}, split, right, len(test), tuple(broken), 0.0, loaded=loaded)
