"""Articles before phrases, and sentences that join a written feature to the name of its class."""

from __future__ import annotations

import re

_VERBS = re.compile(r"(has|often|typically|may|can)\b", re.IGNORECASE)
_NOUNS = re.compile(r"(an?|used)\b", re.IGNORECASE)


def article(phrase: str) -> str:
    """Return the phrase with "a" or "an" before it, by its first letter."""
    return f"{'an' if phrase[:1] in 'aeiou' else 'a'} {phrase}"


def joined(description: str) -> str:
    """Return a feature as the relative clause that follows a class name.

    Example:
        >>> [joined(d) for d in ("a small bird", "used for cooking", "has red feet")]
        ['which is a small bird', 'which is used for cooking', 'which has red feet']
        >>> [joined(d) for d in ("may swim", "antennae", "canine teeth")]
        ['which may swim', 'which has antennae', 'which has canine teeth']
    """
    if _NOUNS.match(description):
        return f"which is {description}"
    return f"which {description}" if _VERBS.match(description) else f"which has {description}"


def sentence(name: str, description: str, before: str, after: str) -> str:
    """Return the sentence of one feature of a class; an empty feature leaves the name alone."""
    return f"{before}{name}, {joined(description)}{after}" if description else f"{before}{name}{after}"
