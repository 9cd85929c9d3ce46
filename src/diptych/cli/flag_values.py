"""What the texts of flags become: numbers, words, class names, templates and descriptions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core import ClassNames
    from diptych.data.words.pools import Pool


def integers(text: str, what: str) -> tuple[int, ...]:
    """Return the whole numbers of "1,4,16".

    Raises:
        UsageError: it holds something else.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"--{what} takes whole numbers such as 1,4,16, not {text!r}.") from None


def with_flags(sentence: str) -> str:
    """Return a sentence from below the faces, whose arguments stand in braces, with flags in their place."""
    return UsageError(sentence).spelled(lambda name: f"--{name.replace('_', '-')}")


def words(text: str) -> tuple[str, ...]:
    """Return the parts of "a, b, c", trimmed."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def class_names(given: str | None, classes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return class names from a file, a list with commas, or the tidied folder names.

    Raises:
        UsageError: there are none, or another number than classes.
    """
    from diptych.cli.console import say
    from diptych.data.words.classnames import numbers_for_names, read_names, tidy

    if given is not None and not given.strip():
        raise UsageError('--names is empty: give "cat, dog, ...", a file with one name per line, or leave it out.')
    if given is None:
        if not classes:
            raise UsageError('No class names: give --names "cat, dog, ..." or a file with one name per line.')
        if sentence := numbers_for_names(classes):
            say(with_flags(sentence))
        return tuple(tidy(c) for c in classes)
    if names_file(given):
        return read_names(Path(given), classes)
    return read_names(words(given), classes)


def named_classes(given: str | None, classes: tuple[str, ...], templates: list[str] | None) -> ClassNames:
    """Return class names with their templates; see ``class_names`` and ``template_set``."""
    from diptych.core import ClassNames

    return ClassNames(class_names(given, classes), template_set(templates))


def names_file(given: str) -> bool:
    """Return whether --names is a file: one that exists, or a word with a suffix and without commas."""
    return os.path.exists(given) or ("," not in given and bool(Path(given).suffix))


def text_pool(given: str | None) -> Pool | None:
    """Return the pool of descriptions, if one was given."""
    from diptych.data.words.pools import read_pool

    return read_pool(given) if given else None


def template_set(given: list[str] | None) -> tuple[str, ...]:
    """Return the templates: prompts as given, the lines of a file, or the ensemble of seven."""
    from diptych.data.words.templates import ENSEMBLE, read_templates

    if not given:
        return ENSEMBLE
    if len(given) == 1 and "{" not in given[0]:
        return read_templates(Path(given[0]))
    return read_templates(given)
