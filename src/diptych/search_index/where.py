"""Conditions on metadata, such as ``year>=1990``, as SQLite clauses with bound values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.core import UsageError

_FORM = re.compile(r"\s*([^<>=!~]+?)\s*(>=|<=|!=|==|=|>|<|~)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """One condition on an entry.

    Args:
        column: name of a fact, or "name", "caption".
        operator: = != > < >= <= or ~ (a shell pattern).
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
        """Read "label=cat", "year>=1990", "name~*holiday*", "label!=dog"; "==" is "=".

        Raises:
            UsageError: it is none of these.
        """
        match = _FORM.fullmatch(text)
        if match is None or not match[3] or match[3][0] in "<>=" or "\0" in text:
            raise UsageError(
                f'{{where}} takes conditions such as label=cat, "year>=1990" or "name~*holiday*", not {text!r}.'
            )
        return cls(match[1], "=" if match[2] == "==" else match[2], match[3])


def extracted(column: str) -> tuple[str, list[str | float]]:
    """Return the SQL of a fact and its bound values: none where SQLite can match it with an index on the same words."""
    path = '$."' + column.replace('"', "") + '"'
    if not column.isprintable():
        return "json_extract(facts, ?)", [path]
    escaped = path.replace("'", "''")
    return f"json_extract(facts, '{escaped}')", []


def clause(conditions: Sequence[Condition]) -> tuple[str, list[str | float]]:
    """Return " AND ..." and its bound values.

    An entry without the fact meets only "!=". < and > compare numbers with numbers and text with text.
    """
    parts, values = [], list[str | float]()
    for c in conditions:
        is_column = c.column in ("name", "caption")
        left, path = (c.column, list[str | float]()) if is_column else extracted(c.column)
        if c.operator in ("=", "!="):  # 7 equals "7", and not "07"
            test = f"{left} IN (?, ?)"
            parts.append(f" AND {test}" if c.operator == "=" else f" AND ({test}) IS NOT TRUE")
            values += [*path, c.text, c.text if c.number is None else c.number]
        elif c.operator == "~":
            parts.append(f" AND {left} GLOB ?")
            values += [*path, c.text]
        else:
            kinds = "('text')" if c.number is None or is_column else "('integer', 'real')"
            parts.append(f" AND typeof({left}) IN {kinds} AND {left} {c.operator} ?")
            values += [*path, *path, c.text if c.number is None or is_column else c.number]
    return "".join(parts), values


def shell_pattern(pattern: str) -> str:
    r"""Return a shell pattern, as SQLite's GLOB reads it, as a regular expression of the whole text.

    Example:
        >>> bool(re.match(shell_pattern("*/cat[0-9]?.jpg"), "a/b/cat1x.jpg")), shell_pattern("a.b*")
        (True, '(?s)^a\\.b.*$')
    """
    words = re.findall(r"\[\^?\]?[^\]]*\]|.", pattern, re.DOTALL)
    return "(?s)^" + "".join({"*": ".*", "?": "."}.get(w) or _set(w) for w in words) + "$"


def _set(word: str) -> str:
    """Return a set of characters such as [a-z] or [^a-z], or one character, as a regular expression."""
    if len(word) == 1:
        return re.escape(word)
    start = 2 if word[1] == "^" else 1
    return word[:start] + re.sub(r"[\\\[\]&~|]", r"\\\g<0>", word[start:-1]) + "]"
