"""What there is: models and systems by their names."""

from __future__ import annotations

from fnmatch import fnmatchcase

from diptych import catalog
from diptych.api.elsewhere import answers_for
from diptych.core import UsageError


@answers_for(
    dict.fromkeys(("filter", "pattern", "name", "model_name", "query"), "match=")
    | {"pretrained": "leave it out: names with a tag, such as ViT-B-32/openai, are those of published weights."}
)
def list_models(match: str = "") -> list[str]:
    """Return the names of the models that ship, and of the published weights that open_clip knows.

    ``load`` also takes names of Hugging Face after "hf:", and "local:PATH".

    Args:
        match: only names that contain this, in any case; a pattern with "*" or "?" is that of whole names, or of their
            part before the tag.

    Example:
        >>> import diptych
        >>> diptych.list_models("tiny")
        ['tiny']
        >>> diptych.list_models("EVA02-B*")
        ['EVA02-B-16/merged2b_s8b_b131k']
    """
    from diptych.backbones.names import EMBEDDED, published

    every, looked = (*EMBEDDED, *published()), match.lower()
    if not any(mark in match for mark in "*?"):
        return [name for name in every if looked in name.lower()]
    return [n for n in every if any(fnmatchcase(part, looked) for part in (n.lower(), n.lower().partition("/")[0]))]


@answers_for(dict.fromkeys(("task", "kind", "role", "type", "filter"), "verb="))
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
