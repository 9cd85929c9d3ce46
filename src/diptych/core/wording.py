"""Words that sentences for people are made of."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a number with what is counted, in the singular where it is one.

    Args:
        count: >= 0.
        one: what one of them is called, perhaps with its verb: "picture has".
        many: what several are called; "": ``one`` with an s.

    Example:
        >>> number_of(1, "heat map"), number_of(1200, "heat map"), number_of(2, "entry", "entries")
        ('1 heat map', '1,200 heat maps', '2 entries')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def three_digits(value: float) -> str:
    """Return a number by three digits, or by all that stand before the point.

    Example:
        >>> three_digits(0.01234), three_digits(2.0), three_digits(999.7), three_digits(-12345.6)
        ('0.0123', '2', '1,000', '-12,346')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def none_readable(count: int, plural: str, failed: Sequence[object], where: str = "") -> str:
    """Return the sentence where none of several things can be read.

    Args:
        count: how many there are.
        plural: their name, which ends in s.
        failed: why, the first first.
        where: what is said behind their name, such as " of pets/".

    Example:
        >>> none_readable(2, "photos", ["a.jpg: empty file", "b.jpg: empty file"])
        'None of the 2 photos can be read; the first: a.jpg: empty file.'
        >>> none_readable(1, "photos", ["a.jpg: empty file"], " of pets/")
        'The only photo of pets/ cannot be read: a.jpg: empty file.'
    """
    if not failed:
        return f"There are no {plural}{where}: give some."
    if count == 1:
        return f"The only {plural.removesuffix('s')}{where} cannot be read: {failed[0]}."
    return f"None of the {count:,} {plural}{where} can be read; the first: {failed[0]}."


def no_plan(path: object, system: str, error: Exception) -> str:
    """Return the sentence where a file cannot be read as the plan of a curator.

    Args:
        path: of the file.
        system: slug of the curator.
        error: of its reader.

    Example:
        >>> no_plan("p.json", "mine", KeyError("counts"))
        'p.json is no plan of mine, or is damaged: write one by the step plan, with {method} mine.'
        >>> no_plan("p", "mine", PermissionError(13, "Permission denied"))
        'p cannot be read (Permission denied): give the file of a plan of mine.'
    """
    if isinstance(error, FileNotFoundError):
        return f"There is no plan of {system} at {path}: write one by the step plan, with {{method}} {system}."
    if isinstance(error, OSError) and error.strerror:
        return f"{path} cannot be read ({error.strerror}): give the file of a plan of {system}."
    return f"{path} is no plan of {system}, or is damaged: write one by the step plan, with {{method}} {system}."


def first_of(names: Iterable[str], count: int = 3) -> str:
    """Return the first few of many names, and how many more there are.

    Args:
        names: any number of them.
        count: how many are named, >= 1.

    Example:
        >>> first_of(["a", "b"]), first_of("abcdefg")
        ('a, b', 'a, b, c and 4 more')
    """
    every = list(names)
    more = f" and {len(every) - count} more" if len(every) > count else ""
    return ", ".join(every[:count]) + more


def columns_there(names: Iterable[str]) -> str:
    """Return the first ten columns of a table, for a sentence that says which one it lacks.

    Example:
        >>> columns_there(["path", "breed"]), columns_there([]), columns_there("abcdefghijkl")[-12:]
        ('path, breed', 'none', 'j and 2 more')
    """
    return first_of(names, 10) or "none"


def several_words(texts: Sequence[str], done: str) -> str:
    """Return a remark where each of several texts is one word, as those of a text without quotes are; "" else.

    Args:
        texts: any number of them.
        done: what is done with them, each by itself, such as "drawn apart".

    Example:
        >>> several_words(["a", "red", "car"], "drawn apart"), several_words(["a red car", "snow"], "drawn apart")
        ("3 texts are drawn apart: write several words of one text as one, as in 'a red car'.", '')
    """
    if len(texts) < 2 or any(len(text.split()) != 1 for text in texts):
        return ""
    one = shlex.quote(" ".join(texts))
    return f"{len(texts)} texts are {done}: write several words of one text as one, as in {one}."


def renamed(old: str, new: str) -> None:
    """Warn the caller of the function that calls this: it used a name of the last version, which works in this one.

    Args:
        old: what was written, such as "Results.names".
        new: what to write instead.
    """
    message = f"{old} is now {new}: the old name works in this version alone."
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def one_line(text: str) -> str:
    r"""Return a text whose line breaks and other signs that steer a terminal are escaped.

    Example:
        >>> print(one_line("two\nlines"))
        two\nlines
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def from_here(path: str) -> str:
    """Return an absolute path as one opens it from the working directory: relative where that is shorter.

    Example:
        >>> import os
        >>> from_here(os.path.join(os.getcwd(), "photos", "a cat.jpg")) == os.path.join("photos", "a cat.jpg")
        True
        >>> from_here("/a.jpg"), from_here("a.jpg")
        ('/a.jpg', 'a.jpg')
    """
    if not os.path.isabs(path):
        return path
    try:
        rest = os.path.relpath(path)
    except (OSError, ValueError):  # the working directory was removed, or is on another drive
        return path
    if len(rest) >= len(path):
        return path
    return os.path.join(".", rest) if rest.startswith("-") else rest  # no flag, where it is pasted


def short_names(names: Sequence[str]) -> list[str]:
    """Return each path without the folders that all of them share, on one line.

    Example:
        >>> short_names(["a/cat/1.jpg", "a/dog/1.jpg", "a/dog/2.jpg"])
        ['cat/1.jpg', 'dog/1.jpg', 'dog/2.jpg']
    """
    parts = [name.replace(os.sep, "/").split("/") for name in names]
    levels = zip(*(path_parts[:-1] for path_parts in parts), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    start = 0 if shared == [""] else len(shared)  # the root alone: absolute paths stay absolute
    return [one_line("/".join(path_parts[start:])) for path_parts in parts]


def aligned(names: Sequence[str], widest: int) -> list[str]:
    """Return names filled up with blanks to the same number of a terminal's columns; unchanged where one is wider.

    Example:
        >>> aligned(["cat.jpg", "旅行.jpg"], 60), aligned(["cat.jpg", "a"], 3)
        (['cat.jpg ', '旅行.jpg'], ['cat.jpg', 'a'])
    """
    widths = [sum(1 + (east_asian_width(c) in "WF") for c in name if not combining(c)) for name in names]
    width = max(widths, default=0)
    return [n + " " * (width - w) if width <= widest else n for n, w in zip(names, widths, strict=True)]


class Guided:
    """A class whose missing attributes are refused as ``lacks`` says. Type checkers still check names: to them there is
    no ``__getattr__``.
    """

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise lacks(self, name)


def lacks(
    thing: object, name: str, instead: Mapping[str, str] = MappingProxyType({}), *, called: str = "",
    names: Iterable[str] | None = None,
) -> AttributeError:  # fmt: skip
    """Return the error of an attribute that is not there: what to use, or else the public names that are there. Where a
    property is there, and an AttributeError inside it led here, that error is raised again.

    Args:
        thing: asked for the attribute.
        name: of the attribute.
        instead: name that other libraries have -> what to use here, before those of ``core.guesses`` for its class.
        called: what the sentence calls it; "": by its class, with an article.
        names: that are there; None: the public ones of its class.

    Example:
        >>> from fractions import Fraction
        >>> print(lacks(Fraction(1, 2), "top", {"top": "numerator"}))
        A Fraction has no 'top': use numerator.
    """
    if isinstance(getattr(type(thing), name, None), (property, cached_property)):
        object.__getattribute__(thing, name)
    from diptych.core.guesses import guesses  # only where a name is not there

    instead = {**guesses(*(kind.__name__ for kind in type(thing).__mro__)), **instead}
    every = {*dir(type(thing)), *getattr(type(thing), "__dataclass_fields__", ())} if names is None else names
    names = sorted(n for n in every if not n.startswith("_"))
    near = get_close_matches(name, names, n=1, cutoff=0.8)
    remedy = f": did you mean {near[0]}?" if near else f": it has {', '.join(names)}." if names else "."
    remedy = f": use {instead[name]}." if name in instead else remedy
    kind = type(thing).__name__
    called = called or f"{'An' if kind.startswith(('A', 'E', 'I', 'O')) else 'A'} {kind}"
    sentence = f"{called} has no {name!r}{'.' if name.startswith('_') else remedy}"
    return AttributeError(sentence, name=name, obj=thing)
