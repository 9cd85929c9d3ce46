"""A segmenter that was read from a folder: the names that it was kept with, and its answer for other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from diptych.core import ClassNames, FittedSegmenter, Run, UsageError
from diptych.core.wording import first_of
from diptych.features.artefacts import About


def names_of_folder(about: About, background: Sequence[str] = ()) -> tuple[ClassNames, tuple[str, ...]]:
    """Return the class names that a segmenter was kept with, and the words for background.

    Args:
        about: what its folder says.
        background: words that take the place of those of the folder.

    Raises:
        UsageError: the folder names no classes.
    """
    named = about.facts.get("named")
    if not isinstance(named, ClassNames):
        if not about.classes:
            raise UsageError("The folder of {fitted} names no classes: give {names}.")
        return ClassNames.of(about.classes), tuple(background)
    return named, tuple(background) or tuple(about.facts.get("background", ()))


def templates_of_folder(about: About | None) -> tuple[str, ...] | None:
    """Return the prompts that a segmenter was kept with, which other names get too.

    Args:
        about: what its folder says; None: there is none.

    Returns:
        The prompts, or None where the folder says none.
    """
    named = None if about is None else about.facts.get("named")
    return named.templates if isinstance(named, ClassNames) else None


def parts_of_folder(about: About | None, given: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the names of a segmenter's parts: those of the folder, where the user named no others.

    Args:
        about: what the folder says; None: there is none.
        given: name of a part -> what the user gave, or the default.
        defaults: the same, of a user who gives nothing.
    """
    facts = {} if about is None else about.facts
    return {part: str(facts.get(part, name)) if name == defaults[part] else name for part, name in given.items()}


def of_classes(fitted: FittedSegmenter, classes: ClassNames, run: Run, slug: str) -> FittedSegmenter:
    """Return a fitted segmenter for the classes that are asked for.

    Args:
        fitted: that was fitted on perhaps other names.
        classes: what it is asked for.
        run: device, on which names are embedded.
        slug: of its system.

    Raises:
        UsageError: it answers for its own names alone.
    """
    if fitted.classes == classes:
        return fitted
    if (renamed := getattr(fitted, "for_classes", None)) is not None:
        other: FittedSegmenter = renamed(classes, run)
        return other
    if replace(classes, things=()) == replace(fitted.classes, things=()):
        same: FittedSegmenter = replace(fitted, classes=classes)  # type: ignore[type-var]
        return same
    raise UsageError(
        f"{slug} was fitted on the names {first_of(fitted.classes.names)}, and answers for them alone: leave "
        f"{{names}}, {{templates}} and {{background}} out, or {{fitted}}."
    )
