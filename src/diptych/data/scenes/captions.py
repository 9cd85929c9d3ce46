"""Captions of scenes from their ground truth: short, long, and in other languages where names exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from diptych.data.words.sentences import article

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")

# Colour and shape names by language, singular as a dictionary gives them: word lists, not grammar.
_ENGLISH = (
    "red|orange|yellow|green|cyan|blue|purple|pink|brown|gray|"
    "circle|square|triangle|star|heart|cross|diamond|pentagon|hexagon|crescent|ring|arrow"
)
_OTHER = {
    "de": "rot|orange|gelb|grün|türkis|blau|lila|rosa|braun|grau|"
    "Kreis|Quadrat|Dreieck|Stern|Herz|Kreuz|Raute|Fünfeck|Sechseck|Mondsichel|Ring|Pfeil",
    "fr": "rouge|orange|jaune|vert|cyan|bleu|violet|rose|marron|gris|"
    "cercle|carré|triangle|étoile|cœur|croix|losange|pentagone|hexagone|croissant|anneau|flèche",
    "es": "rojo|naranja|amarillo|verde|cian|azul|morado|rosa|marrón|gris|"
    "círculo|cuadrado|triángulo|estrella|corazón|cruz|rombo|pentágono|hexágono|media luna|anillo|flecha",
}
TRANSLATED: Mapping[str, Mapping[str, str]] = {
    code: dict(zip(_ENGLISH.split("|"), words.split("|"), strict=True)) for code, words in _OTHER.items()
}


class Described(Protocol):
    """The attributes of an object in a caption: noun, colour, texture, size."""

    @property
    def noun(self) -> str: ...  # noqa: D102
    @property
    def colour(self) -> str | None: ...  # noqa: D102
    @property
    def texture(self) -> str | None: ...  # noqa: D102
    @property
    def size(self) -> str:
        """Return "large" or "small"."""


def plural(noun: str) -> str:
    """Return the regular English plural of a noun phrase's last word."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"


def phrase(item: Described, *, with_size: bool = False) -> str:
    """Return "large red striped square": the attributes in a fixed order, the noun last."""
    words = [
        item.size if with_size else None,
        item.colour,
        item.texture if item.texture != "plain" else None,
        item.noun,
    ]
    return " ".join(w for w in words if w)


def short_caption(things: Sequence[Described], relation: str | None) -> str:
    """Return one sentence: "three red circles", "a red square above a blue star", "a cup, a dog and a key"."""
    phrases = [phrase(t) for t in things]
    if len(things) > 1 and len(set(phrases)) == 1:
        number = NUMBERS[len(things)] if len(things) < len(NUMBERS) else str(len(things))
        noun = phrases[0].rsplit(" ", 1)
        return f"{number} {' '.join([*noun[:-1], plural(noun[-1])])}"
    articled = [article(p) for p in phrases]
    if len(things) == 2 and relation:
        return f"{articled[0]} {relation} {articled[1]}"
    return articled[0] if len(articled) == 1 else f"{', '.join(articled[:-1])} and {articled[-1]}"


def long_caption(things: Sequence[Described], relation: str | None, background: str) -> str:
    """Return sentences that state every object with its size, the relation and the background."""
    number = NUMBERS[len(things)] if len(things) < len(NUMBERS) else str(len(things))
    parts = [
        f"A picture of {short_caption(things, relation)} on a {background} background.",
        f"There {'is' if len(things) == 1 else 'are'} {number} object{'s' if len(things) != 1 else ''}.",
    ]
    parts += [
        f"The {ordinal} one is {article(phrase(t, with_size=True))}."
        for ordinal, t in zip(("first", "second", "third", "fourth", "fifth", "sixth"), things, strict=False)
    ]
    return " ".join(parts)


def translated_caption(things: Sequence[Described], names: Sequence[Mapping[str, str]], language: str) -> str | None:
    """Return a comma-separated list of nouns with colours in another language, or None where a name is missing."""
    words = TRANSLATED.get(language, {})
    out = []
    for item, translations in zip(things, names, strict=True):
        noun = translations.get(language) or words.get(item.noun)
        colour = words.get(item.colour) if item.colour else ""
        if noun is None or colour is None:
            return None
        out.append(f"{noun} ({colour})" if colour else noun)
    return ", ".join(out)
