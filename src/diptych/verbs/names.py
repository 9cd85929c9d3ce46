"""Class names, templates and texts as every face gives them: a list, "cat, dog", a file, or in Python a dictionary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import ClassNames, Evidence, Text, TextPool, UsageError
from diptych.data.captions import read_sentences
from diptych.data.words.classnames import read_names, tidy, with_words
from diptych.data.words.pools import read_pool
from diptych.data.words.templates import ENSEMBLE, SETS, read_templates
from diptych.tasks import evidence

if TYPE_CHECKING:
    from diptych.data.keys import FileKeys

NamesLike = ClassNames | Iterable[str] | Mapping[Any, Any] | Path | None
"""Class names: a list, "cat, dog", a file, {0: "cat", 1: "dog"}, {"cat": ["cat", "kitten"], "dog": ["dog"]} with the
words of prompts, which "cat|kitten, dog" gives too, or None for those of the data.
"""
TemplatesLike = str | Sequence[str | Callable[[str], str]] | Path | None
"""Prompts with "{}": one, several, a file of them, "vild" (ViLD's 14), or functions of a name as open_clip has; None:
the ensemble of seven.
"""
TextsLike = TextPool | Mapping[str, Sequence[str]] | Sequence[str] | Path | None
"""Texts: descriptions by class name, sentences, a file, or the name of a pool that ships."""


def names_of(names: NamesLike, classes: Sequence[str] = (), templates: TemplatesLike = None) -> ClassNames:
    """Return class names with their templates.

    Args:
        names: given, where "sofa|couch" lists words of one class; None takes the classes of the data.
        classes: of the data, in their order; () where they have none.
        templates: prompts with "{}", a file of them, or functions of a name as open_clip has; None: the ensemble of
            seven.

    Raises:
        UsageError: there are no names, or another number than classes, or they are none.
    """
    if isinstance(names, ClassNames):
        return names
    if names is None and not classes:
        raise UsageError('No class names: give {names}, such as "cat, dog", or photos in class folders.')
    if names is None:
        return ClassNames(read_names([tidy(c) for c in classes], classes), templates_of(templates))
    if isinstance(names, str) and "," not in names and (os.path.exists(names) or Path(names).suffix):
        names = Path(names)
    elif isinstance(names, str):
        names = ClassNames.of(names).names
    words: tuple[tuple[str, ...], ...] = ()
    if not isinstance(names, Path):
        names, words = _plain_names(names)
    named = ClassNames(read_names(names, classes), templates_of(templates), words)
    return named if words else with_words(named)


def templates_of(templates: TemplatesLike, default: tuple[str, ...] = ENSEMBLE) -> tuple[str, ...]:
    """Return prompts with "{}" as texts.

    Args:
        templates: prompts, a file of them, or functions of a name as open_clip has.
        default: what None stands for.

    Raises:
        UsageError, DataError: there is no such file, or a prompt has no place for the name.

    Example:
        >>> templates_of([lambda c: f"a photo of a {c}."])
        ('a photo of a {}.',)
    """
    if templates is None:
        return default
    if isinstance(templates, str) and templates in SETS and not os.path.exists(templates):
        return SETS[templates]
    if isinstance(templates, str) and ("{" in templates or not (os.path.exists(templates) or Path(templates).suffix)):
        templates = [templates]
    if isinstance(templates, (str, os.PathLike)):
        return read_templates(templates)
    given: Any = [templates] if callable(templates) else templates
    return read_templates([str(t("{}")) if callable(t) else t for t in given])


def _plain_names(names: Any) -> tuple[list[str], tuple[tuple[str, ...], ...]]:
    """Return names as a list, and the words of each class where they are given; raises UsageError for other things."""
    words: tuple[tuple[str, ...], ...] = ()
    if isinstance(names, Mapping):
        if all(isinstance(k, Integral) for k in names):
            names = [names[k] for k in sorted(names)]
        elif all(isinstance(v, Integral) for v in names.values()):
            names = sorted(names, key=names.__getitem__)
        else:
            words = tuple((v,) if isinstance(v, str) else tuple(v) for v in names.values())
            names = list(names)
    if isinstance(names, (set, frozenset)):
        raise UsageError("Class names have an order, and a set has none: give sorted(...) of it.")
    listed = list(names)
    if wrong := [n for n in (*listed, *(w for group in words for w in group)) if not isinstance(n, str)]:
        raise UsageError(
            f"A class name is a text, not {wrong[0]!r}: give a list of names, or several words of a class as "
            '{"cat": ["cat", "kitten"]}.'
        )
    return [str(n) for n in listed], words


def texts_of(texts: TextsLike, *, sentences: bool = False) -> TextPool | None:
    """Return texts as a pool; ``sentences`` reads a file as a captioner does, not as descriptions of classes.

    Raises:
        UsageError, DataError: a file is missing, or is none.
    """
    if texts is None or isinstance(texts, TextPool):
        return texts
    if sentences and isinstance(texts, (str, os.PathLike)) and not os.path.exists(texts):
        raise UsageError(
            f"There is no file {os.fspath(texts)!r} of sentences: write one per line into a text file. In Python a "
            "list of sentences is taken too."
        )
    if isinstance(texts, (str, os.PathLike)):
        return read_sentences(Path(texts)) if sentences else read_pool(texts).texts
    listed = texts if isinstance(texts, Mapping) else {"": texts}
    return TextPool({name: tuple(Text(t) for t in values) for name, values in listed.items()})


def captions_of(texts: TextsLike, like: object = None, keys: FileKeys | None = None) -> Evidence[Any]:
    """Return what a captioner learns from; the captions of photos are its sentences too, unless there are others.

    Args:
        texts: see ``texts_of``.
        like: photos with captions: a table with a column "captions", or the path of one.
        keys: cache of content keys.

    Raises:
        UsageError, DataError: a file is missing, or is none.
    """
    pool, table = texts_of(texts, sentences=True), None
    if like is not None:
        table = evidence.table_of(like, "captions", keys)
        pool = evidence.captions_of(table) if pool is None else pool
    return Evidence(train=table, texts=pool)
