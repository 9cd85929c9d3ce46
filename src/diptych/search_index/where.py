"""Conditions on metadata, such as ``year>=1990``: parsed here and handed to SQLite as bound values, never as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.core.errors import UsageError

_FORM = re.compile(r"\s*([^<>=!~]+?)\s*(>=|<=|!=|=|>|<|~)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """One condition on an entry.

    Args:
        column: name of a fact, or "name", "caption".
        operator: = != > < >= <= or ~ (a shell pattern).
        text: what it is compared with.
    """

    column: str
    operator: str
    text: str

    @property
    def number(self) -> float | None:
        """The text as a number, if it is one."""
        try:
            return float(self.text)
        except ValueError:
            return None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read "label=cat", "year>=1990", "name~*holiday*", "label!=dog".

        Raises:
            UsageError: it is none of these.
        """
        match = _FORM.fullmatch(text)
        if match is None or not match[3]:
            raise UsageError(
                f'--where takes conditions such as label=cat, "year>=1990" or "name~*holiday*", not {text!r}.'
            )
        return cls(match[1], match[2], match[3])


def clause(conditions: Sequence[Condition]) -> tuple[str, list[str | float]]:
    """Return " AND ..." and its bound values. A fact that an entry lacks meets no condition but "!="; < and > compare
    like with like.
    """
    parts, values = [], list[str | float]()
    for c in conditions:
        own = c.column in ("name", "caption")
        left = c.column if own else "json_extract(facts, ?)"
        path: list[str | float] = [] if own else ['$."' + c.column.replace('"', "") + '"']
        if c.operator in ("=", "!="):  # 7 is also "7", and "07" is not
            test = f"{left} IN (?, ?)"
            parts.append(f" AND {test}" if c.operator == "=" else f" AND ({test}) IS NOT TRUE")
            values += [*path, c.text, c.text if c.number is None else c.number]
        elif c.operator == "~":
            parts.append(f" AND {left} GLOB ?")
            values += [*path, c.text]
        else:
            kinds = "('text')" if c.number is None or own else "('integer', 'real')"
            parts.append(f" AND typeof({left}) IN {kinds} AND {left} {c.operator} ?")
            values += [*path, *path, c.text if c.number is None or own else c.number]
    return "".join(parts), values
