"""Prompts that give each object a style of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diptych.core import UsageError

_CLAUSES = (
    re.compile(r"(?P<object>[^:]+?)\s*:\s*(?P<style>.+)", re.I),
    re.compile(r"(?P<object>.+?)\s+in\s+(?:the\s+)?style\s+of\s+(?P<style>.+)", re.I),
    re.compile(r"(?P<object>.+?)\s+as\s+(?P<style>.+)", re.I),
)
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.I)


def parsed(prompts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the (object, style) pairs of prompts; nothing is guessed.

    Clauses stand between semicolons, or between commas where a prompt has no semicolon. A clause is "OBJECT: STYLE",
    "OBJECT in the style of STYLE" or "OBJECT as STYLE".

    Raises:
        UsageError: a clause has none of these forms, or an object has two styles.

    Example:
        >>> parsed(["the cat in the style of Van Gogh, sofa as a pencil sketch"])
        (('cat', 'Van Gogh'), ('sofa', 'a pencil sketch'))
    """
    objects: dict[str, str] = {}
    for prompt in prompts:
        for clause in filter(None, (c.strip() for c in prompt.split(";" if ";" in prompt else ","))):
            match = next((m for m in (form.fullmatch(clause) for form in _CLAUSES) if m), None)
            if match is None:
                raise UsageError(
                    f'{clause!r} names no object and its style: write "cat: a pencil sketch" or "cat in the style of '
                    f'Van Gogh", with semicolons between them.'
                )
            noun = _ARTICLE.sub("", match["object"].strip())
            if noun in objects:
                raise UsageError(f"{noun!r} has two styles, {objects[noun]!r} and {match['style']!r}: give it one.")
            objects[noun] = match["style"].strip()
    if not objects:
        raise UsageError('There is no object with a style: write "cat: a pencil sketch".')
    return tuple(objects.items())
