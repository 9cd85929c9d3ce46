"""Words that sentences for people are made of."""

from __future__ import annotations


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
