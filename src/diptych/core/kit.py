"""The parts that a system may need, by name: backbones, writers, mask proposers, generators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from diptych.core.backbone import Space
from diptych.core.errors import MissingPart

P = TypeVar("P")


@dataclass(frozen=True)
class Kit:
    """Named parts: backbones, writers, mask proposers, generators.

    Args:
        parts: name -> part; the first backbone is usually "main".

    Example:
        >>> Kit({"main": "not a backbone"}).need(int)
        Traceback (most recent call last):
        ...
        diptych.core.errors.MissingPart: This system needs a int named 'main', and the kit holds: main (str).
    """

    parts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Kit | Space | Mapping[str, Any]) -> Kit:
        """Return a kit: a kit as it is, a backbone as its part "main", or named parts."""
        if isinstance(parts, Kit):
            return parts
        return cls({"main": parts} if isinstance(parts, Space) else parts)

    def need(self, kind: type[P], name: str = "main") -> P:
        """Return the part ``name``, which must be a ``kind`` (an ABC or a runtime-checkable protocol).

        Raises:
            MissingPart: the kit has no part of that name and kind.
        """
        part = self.parts.get(name)
        if isinstance(part, kind):
            return part
        contents = ", ".join(f"{n} ({type(p).__name__})" for n, p in self.parts.items()) or "nothing"
        raise MissingPart(f"This system needs a {kind.__name__} named {name!r}, and the kit holds: {contents}.")
