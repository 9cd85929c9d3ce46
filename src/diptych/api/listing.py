"""What there is: models and systems by their names."""

from __future__ import annotations

from diptych import catalog
from diptych.core import UsageError


def list_models(match: str = "") -> list[str]:
    """Return the names of the models that ship, and of the published weights that open_clip knows.

    ``load`` also takes names of Hugging Face after "hf:", and "local:PATH".

    Args:
        match: only names that contain this, in any case.

    Example:
        >>> import diptych
        >>> diptych.list_models("tiny")
        ['tiny']
    """
    from diptych.backbones.names import EMBEDDED, published

    return [name for name in (*EMBEDDED, *published()) if match.lower() in name.lower()]


def list_systems(verb: str | None = None) -> list[str]:
    """Return the slugs of the systems, sorted; ``method=`` takes them, and ``dir(diptych.systems)`` has their classes.

    Args:
        verb: only systems of this verb, such as "classify"; None: all.

    Raises:
        UsageError: there is no system of such a verb.

    Example:
        >>> import diptych
        >>> "tip-adapter" in diptych.list_systems(verb="classify")
        True
    """
    if verb is None:
        return list(catalog.slugs())
    if slugs := catalog.of_verb(verb):
        return slugs
    verbs = sorted({str(card["verb"]) for card in catalog.cards()})
    raise UsageError(f"There is no system of {verb!r}: the verbs are {', '.join(verbs)}.")
