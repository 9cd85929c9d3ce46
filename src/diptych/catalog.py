"""Finds systems by file name: ``diptych/methods/<verb>/<stem>.py`` holds the one system whose slug is the stem with dashes.

Cards are read from the built index ``catalog.json``, so listing systems loads no torch. After a card or a file changed:

    python -m diptych.catalog --write        rebuild the index
    python -m diptych.catalog --check        exit 1 if the index is not what the files say

Systems outside this package join by an entry point in the group ``diptych.methods``, its name the slug, its value
``package.module:Class``; they are imported only when their card or class is asked for.
"""

from __future__ import annotations

import difflib
import inspect
import json
import pkgutil
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import diptych.methods
from diptych.core.errors import UsageError
from diptych.core.method import Method

INDEX = Path(__file__).with_name("catalog.json")
GROUP = "diptych.methods"


def slugs() -> tuple[str, ...]:
    """Return the slugs of all systems, ours and outsiders', sorted.

    Raises:
        UsageError: two systems have the same slug.
    """
    return tuple(sorted(_places()))


def find(slug: str) -> type[Method]:
    """Import and return the class of one system.

    Raises:
        UsageError: there is no such slug (the three nearest are named), two systems share it, or an outsider's entry point is no system.
    """
    places = _places()
    if slug not in places:
        near = difflib.get_close_matches(slug, places, n=3, cutoff=0.0)
        raise UsageError(f"There is no system {slug!r}; the nearest names are {', '.join(near)}: see 'diptych systems' for all.")
    place = places[slug]
    found = place.load() if isinstance(place, EntryPoint) else getattr(import_module(place["module"]), place["class"])
    if not (inspect.isclass(found) and issubclass(found, Method)) or found.card.slug != slug:
        raise UsageError(
            f"The entry point {slug!r} of {GROUP} is not a system with that slug: mend or uninstall the package that brings it."
        )
    return found


def cards() -> list[dict[str, Any]]:
    """Return the cards of all systems as plain data, sorted by slug, each with its "module" and "class".

    Raises:
        UsageError: as for ``find``.
    """
    return [_entry(find(s)) if isinstance(p, EntryPoint) else dict(p) for s, p in sorted(_places().items())]


def _places() -> dict[str, dict[str, Any] | EntryPoint]:
    places: dict[str, dict[str, Any] | EntryPoint] = {card["slug"]: card for card in json.loads(INDEX.read_text(encoding="utf-8"))}
    for point in entry_points(group=GROUP):
        if point.name in places:
            raise UsageError(f"Two systems are called {point.name!r}, one of them {point.value}: uninstall or rename one.")
        places[point.name] = point
    return places


def _entry(method: type[Method]) -> dict[str, Any]:
    entry = {**method.card.as_dict(), "module": method.__module__, "class": method.__name__}
    plain: dict[str, Any] = json.loads(json.dumps(entry))
    return plain


def build() -> list[dict[str, Any]]:
    """Import every system file and return the index.

    Raises:
        UsageError: a file does not hold exactly one system, its slug or verb is not its place, or a slug occurs twice.
    """
    index: dict[str, dict[str, Any]] = {}
    for module in sorted(m.name for m in pkgutil.walk_packages(diptych.methods.__path__, "diptych.methods.") if not m.ispkg):
        verb, stem = module.split(".")[-2:]
        found = [
            c for _, c in inspect.getmembers(import_module(module), inspect.isclass) if issubclass(c, Method) and c.__module__ == module
        ]
        if len(found) != 1:
            raise UsageError(f"{module} holds {len(found)} systems: a file holds exactly one.")
        card = found[0].card
        if (card.slug, card.verb) != (stem.replace("_", "-"), verb):
            raise UsageError(f"{module} has the card of {card.verb}/{card.slug}: slug and verb follow from file and folder.")
        if card.slug in index:
            raise UsageError(f"Two systems are called {card.slug!r}, in {index[card.slug]['module']} and {module}: rename one file.")
        index[card.slug] = _entry(found[0])
    return [index[slug] for slug in sorted(index)]


def main(arguments: list[str]) -> int:
    """Write or check the index; return the exit code."""
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python -m diptych.catalog --write | --check\n")
        return 2
    text = json.dumps(build(), indent=1, ensure_ascii=False) + "\n"
    if arguments == ["--write"]:
        INDEX.write_text(text, encoding="utf-8")
        return 0
    if not INDEX.exists() or INDEX.read_text(encoding="utf-8") != text:
        sys.stderr.write("catalog.json is not what the system files say: run python -m diptych.catalog --write.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
