"""What stuff looks like in photos: the colour, contrast and height of cells of sky, water, grass, earth, snow ...

Round numbers, written by hand; other kinds of stuff, such as buildings and walls, have no look of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from diptych.data.words.stuff import of_last_part


class Look(NamedTuple):
    """(mean, standard deviation) of each feature of a cell.

    Args:
        lightness: L* of CIELAB, 0 to 100.
        red: a* of CIELAB, from green to red.
        yellow: b* of CIELAB, from blue to yellow.
        contrast: log(1 + standard deviation of L* within the cell).
        height: of the cell in the photo, from 0, its top, to 1.
    """

    lightness: tuple[float, float]
    red: tuple[float, float]
    yellow: tuple[float, float]
    contrast: tuple[float, float]
    height: tuple[float, float]


PHOTO = Look((48, 25), (0, 12), (5, 18), (1.9, 0.8), (0.5, 0.29))
"""Any cell of a photo."""
LOOKS: Mapping[str, tuple[Look, ...]] = MappingProxyType(
    {
        "air": (
            Look((65, 18), (-2, 5), (-20, 12), (0.5, 0.5), (0.2, 0.2)),  # blue
            Look((88, 14), (0, 3), (-1, 5), (0.5, 0.6), (0.2, 0.2)),  # white and grey
        ),
        "water": (Look((50, 20), (-4, 5), (0, 9), (1.1, 0.6), (0.7, 0.22)),),
        "grass": (Look((50, 15), (-13, 6), (28, 10), (1.2, 0.6), (0.7, 0.25)),),
        "earth": (Look((60, 15), (4, 5), (16, 9), (1.2, 0.6), (0.75, 0.2)),),
        "snow": (Look((88, 10), (0, 3), (-3, 5), (0.8, 0.6), (0.65, 0.25)),),
        "way": (Look((48, 18), (0, 3), (1, 6), (1.1, 0.6), (0.8, 0.15)),),
        "plants": (Look((35, 16), (-8, 7), (14, 12), (2.2, 0.5), (0.4, 0.25)),),
    }
)
"""Kind of stuff -> its looks."""
LOOK_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "air": "sky, cloud, air, fog, smoke",
        "water": "water, sea, ocean, lake, river, pond, pool, stream",
        "grass": "grass, lawn, meadow, field",
        "earth": "sand, beach, dirt, ground, earth, soil, mud, gravel, hay",
        "snow": "snow",
        "way": "road, street, pavement, sidewalk, path, lot, runway, track, railway, asphalt",
        "plants": "tree, forest, bush, vegetation, foliage, hedge, plant, wood, leaves",
    }
)
"""Kind of stuff -> words in the singular, with commas between them."""
_KIND = {word: kind for kind, words in LOOK_WORDS.items() for word in words.split(", ")}


def looks_of(words: Sequence[str], looks: Mapping[str, tuple[Look, ...]] = LOOKS) -> tuple[Look, ...]:
    """Return the looks of a class by the last part of each of its words; none where no word is known.

    A word that is not known may look like anything, ``PHOTO``, so that a class of known and other words is only ever
    found by its look and never ruled out.

    Args:
        words: of the class.
        looks: kind of stuff -> its looks.

    Example:
        >>> len(looks_of(["blue sky"])), len(looks_of(["grass", "goal post"])), looks_of(["dog"])
        (2, 2, ())
    """
    kinds = [of_last_part(word, _KIND) for word in words]
    known = tuple(look for kind in dict.fromkeys(kinds) if kind for look in looks[kind])
    return known + (PHOTO,) * (None in kinds) if known else ()
