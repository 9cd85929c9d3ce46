"""Phrases that put a word for stuff in its usual context: "a boat on the lake" for "lake".

Stuff has no shape (sky, grass, water), and things have one (Adelson 2001; Caesar et al. 2018). Encoders that learnt
from photos of things know stuff by the things that are seen on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "air": (
            "an object against the {}", "a vehicle in the {}", "a tower against the {}", "things that fly in the {}",
        ),
        "water": ("something in the {}", "an animal in the {}", "a boat on the {}", "a fish in the {}"),
        "ground": ("an animal on the {}", "a ball on the {}", "an object on the {}"),
        "way": ("a vehicle on the {}", "an object on the {}", "an animal on the {}"),
        "plants": ("something in the {}", "an animal in the {}", "{} in the woods"),
        "relief": ("{} scenery", "{} in the distance", "a valley below the {}"),
        "built": ("a photo of a {}.", "something in the {}", "the front of a {}"),
        "indoors": ("furniture against the {}", "an object on the {}", "something on the {}"),
    }
)  # fmt: skip
"""Kind of stuff -> phrases with {} for the word."""
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "air": "sky, cloud, air, fog, smoke",
        "water": "water, sea, ocean, lake, river, pond, pool, stream",
        "ground": "grass, lawn, meadow, field, sand, beach, snow, dirt, ground, earth, soil, mud, gravel, hay",
        "way": "road, street, pavement, sidewalk, path, floor, lot, runway, track, railway, asphalt",
        "plants": "tree, forest, bush, vegetation, foliage, hedge, plant, wood, leaves",
        "relief": "mountain, hill, rock, cliff, horizon",
        "built": "building, house, skyscraper, bridge, tower, roof",
        "indoors": "wall, ceiling, carpet, rug, curtain, table, counter, shelf, window, door, tile",
    }
)
"""Kind of stuff -> words in the singular, with commas between them."""
_KIND = {word: kind for kind, words in WORDS.items() for word in words.split(", ")}


def stuff_phrases(word: str, phrases: Mapping[str, tuple[str, ...]] = PHRASES) -> tuple[str, ...]:
    """Return the phrases of a word, by its last part; none where the word is not known as stuff.

    Args:
        word: a class name, such as "sky", "Trees" or "wooden table".
        phrases: kind of stuff -> phrases.

    Example:
        >>> stuff_phrases("wooden table")[0]
        'furniture against the wooden table'
        >>> stuff_phrases("cat")
        ()
    """
    kind = of_last_part(word, _KIND)
    return tuple(phrase.replace("{}", word.lower()) for phrase in phrases[kind]) if kind else ()


def of_last_part(word: str, kinds: Mapping[str, str]) -> str | None:
    """Return the kind of the last part of a class name, in the singular or plural; None where it is not known.

    Args:
        word: a class name, such as "sky", "Trees" or "wooden table".
        kinds: word in the singular, in small letters -> its kind.

    Example:
        >>> of_last_part("Old Trees", {"tree": "plants"})
        'plants'
    """
    last = word.lower().split()[-1] if word.split() else ""
    return kinds.get(last) or kinds.get(last.removesuffix("s")) or kinds.get(last.removesuffix("es"))
