"""Entry points of other packages: systems, modalities and commands, of which any may be broken.

A broken entry point is reported once in a process, with the name of its distribution and the error, and is left out.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distributions, entry_points, version
from types import MappingProxyType
from typing import TypeAlias

from diptych.core.errors import UsageError

SYSTEMS, MODALITIES, COMMANDS = "diptych.methods", "diptych.modalities", "diptych.commands"
_THINGS: Mapping[str, str] = MappingProxyType({SYSTEMS: "system", MODALITIES: "modality", COMMANDS: "command"})
_LONGEST = 300  # characters of an error that a report repeats
_warned: set[tuple[str, str]] = set()
Report: TypeAlias = Callable[[EntryPoint, "str | BaseException"], None]
"""From an entry point that is left out, and why, to whoever reads it."""


@cache
def installed_version(package: str) -> str:
    """Return the version of a distribution, without importing it; "" where it is not installed.

    It is looked up once: a cold answer asks ten times, and each look goes through all that is installed.

    Example:
        >>> installed_version("no-such-package")
        ''
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class PluginWarning(UserWarning):
    """A system, a modality or a command of another package is left out."""


def warn_once(point: EntryPoint, reason: str | BaseException) -> None:
    """Warn that an entry point is left out, once in a process.

    Args:
        point: the entry point.
        reason: a few words, or the error of its import; a UsageError is a sentence already.
    """
    text = str(reason) if isinstance(reason, UsageError) else sentence(point, reason)
    key = (point.name, text)
    if key not in _warned:
        _warned.add(key)
        warnings.warn(text, PluginWarning, stacklevel=3)


def declared(group: str, report: Report = warn_once) -> Iterator[EntryPoint]:
    """Yield the entry points of a group; a distribution whose list cannot be read is reported and left out.

    Example:
        >>> all(point.group == SYSTEMS for point in declared(SYSTEMS))
        True
    """
    try:
        yield from _scan(entry_points, group, tuple(_dated(folder) for folder in sys.path))
    except Exception:  # one unreadable list ends the reading of all
        for distribution in distributions():
            try:
                some = list(distribution.entry_points.select(group=group))
            except Exception as error:
                report(EntryPoint("entry_points.txt", str(distribution.metadata["Name"]), group), error)
                continue
            yield from some


def sentence(point: EntryPoint, reason: str | BaseException, owner: str = "") -> str:
    """Return why an entry point cannot be used, and the remedy, in one line.

    Args:
        point: the entry point.
        reason: a few words, or an error.
        owner: the package that declares it; "" for the point's distribution.
    """
    return (
        f"The {_THINGS[point.group]} {point.name!r} of {owner or package(point)} cannot be used: {_words(reason)}; "
        f"mend or uninstall that package ({point.value})."
    )


def package(point: EntryPoint) -> str:
    """Return name and version of the distribution of an entry point, as far as it states them."""
    try:
        name, version = (point.dist.metadata[key] for key in ("Name", "Version"))  # type: ignore[union-attr]
    except Exception:  # a distribution whose metadata is gone
        name, version = None, None
    return " ".join(str(part) for part in (name, version) if part) or "a package without a name"


@cache
def _scan(
    scan: Callable[..., Iterable[EntryPoint]], group: str, path: tuple[tuple[str, int], ...]
) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group; reading them takes 10 ms, and a board would do it for each row."""
    return tuple(scan(group=group))


def _dated(folder: str) -> tuple[str, int]:
    """Return a folder of the path with the time when something was installed there; 0 where it is absent."""
    try:
        return folder, os.stat(folder or ".").st_mtime_ns
    except OSError:
        return folder, 0


def _words(error: str | BaseException) -> str:
    """Return an error in one line, without the stop of its sentence, since another clause follows."""
    if isinstance(error, str):
        return error
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(".")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
