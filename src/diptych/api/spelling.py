"""How Python spells arguments in errors and remarks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from diptych.core import DiptychError, UsageError


def spell(name: str) -> str:
    """Return how Python spells an argument."""
    return f"{name}="


@contextmanager
def spelled() -> Iterator[None]:
    """Spell the arguments in errors of the block, or of a function that this decorates, as Python does; so too in an
    interruption, which may name what goes on.

    Example:
        >>> with spelled():
        ...     raise UsageError("Give {normal} some photos.")
        Traceback (most recent call last):
        diptych.core.errors.UsageError: Give normal= some photos.
    """
    try:
        yield
    except DiptychError as error:
        error.args = (error.spelled(spell), *error.args[1:])
        raise
    except KeyboardInterrupt as interruption:
        interruption.args = tuple(UsageError(text).spelled(spell) for text in interruption.args)
        raise


def warn(remark: str) -> None:
    """Warn of a remark, its arguments spelled as Python does."""
    warnings.warn(UsageError(remark).spelled(spell), UserWarning, stacklevel=5)
