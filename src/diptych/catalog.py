"""Finds systems by file name: ``diptych/methods/<verb>/<stem>.py`` holds the one system whose slug is the stem with
dashes, and ``<stem>.toml`` its card.

Listing systems reads the cards and loads no torch. A checkout has no index of them; the wheel has one,
``catalog.json``, which is quicker to read and says what the written proofs reached, since results are not packaged.

Systems outside this package join by an entry point in the group ``diptych.methods``, its name the slug, its value
``package.module:Class``; they are imported only when their card or class is asked for. A broken one warns once and is
left out (``core.plugins``).
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, TypeVar, overload

import diptych.methods
from diptych.core import Card, Method, Offer, ProofPlan, UsageError, plugins
from diptych.core.entry_points import warn_once
from diptych.core.settings import parted, varied, with_settings

INDEX = Path(__file__).with_name("catalog.json")
"""The cards of all systems of this package, where it was built: hatch_build.py writes it into the wheel."""
M = TypeVar("M", bound=Method)
T = TypeVar("T")
COMMANDS = {
    "curate": "curate plan --method",
    "pretrain": "pretrain --objective",
    "retrieve": "link --method",
}
"""Verb of a card -> the command that runs its systems, where it is not "VERB --method"."""
AUDITS = {
    "augclip": "edits",
    "clip4dm": "pairs",
    "concept-association-bias": "association",
    "counteranimal": "groups",
    "holistic-robustness": "robustness",
    "mmvp": "blind",
    "quality-not-quantity": "sources",
    "shortcut-learning": "shortcuts",
}
"""Slug of an audit -> the command of "audit" that runs it; those of outsiders run in "audit report"."""
RESULTS = Path(__file__).parents[2] / "results"
"""What ``diptych prove`` wrote in a checkout."""
ROLES = (
    "Auditor", "Captioner", "Classifier", "Curator", "Detector", "Editor", "Extender", "Objective", "PairScorer",
    "Recipe", "Retriever", "Rewriter", "Segmenter",
)  # fmt: skip
"""The classes of ``diptych.core`` that systems derive from, by which the name of a system's class is read without an
import."""
_CLASS = re.compile(r"^class (\w+)\(([\w, ]+)\):", re.MULTILINE)
SEEDS = 5
"""What a proof takes; fewer are named, since they prove less."""


def slugs() -> tuple[str, ...]:
    """Return the slugs of all systems, ours and outsiders', sorted.

    Nothing is imported: an outsider's that cannot be loaded is among them.
    """
    return tuple(sorted(_places()))


@overload
def find(slug: str) -> type[Method]: ...
@overload
def find(slug: str, role: type[M]) -> type[M]: ...
@overload
def find(slug: str, *, verb: str) -> type[Method]: ...


def find(slug: str, role: type[Any] = Method, verb: str = "") -> type[Any]:
    """Import and return the class of one system.

    Args:
        slug: of the system.
        role: what it must be, such as ``Classifier``.
        verb: what it must do, for a verb whose systems have several roles.

    Raises:
        UsageError: there is no such slug (the three nearest are named, of the verb where one is wanted), it has
            another role or verb (whose command is named), or an outsider's entry point cannot be loaded or is no
            system.
    """
    places = _places()
    wanted = verb or role.verb
    if slug not in places:
        raise _unknown(slug, of_verb(wanted) or places, wanted)
    place = places[slug]
    system: type[Any] = plugins.load(place) if isinstance(place, EntryPoint) else _system(import_module(_module(place)))
    if not issubclass(system, role) or verb not in ("", system.card.verb):
        error = f"{slug} is no {f'system of {verb}' if verb else role.__name__.lower()}"
        if system.card.verb != wanted:
            error += f", but a system of {system.card.verb}: run 'diptych {_command(system.card)}', or"
        else:
            error += ":"
        raise UsageError(f"{error} see '{_listing(wanted)}'.")
    return system


def row(system: type[M], variant: str = "") -> M:
    """Return a row of a system's card, with other settings where the variant names some: "small[epochs=100]".

    Raises:
        UsageError: the card has no such row, or the system no such setting.
    """
    card = system.card
    name, settings = parted(variant)
    if name not in card.variants:
        rows = ", ".join(v or "(default)" for v in card.variants)
        raise UsageError(f"{card.slug} has no variant {name!r}, only {rows}.")
    return with_settings(system(**card.variants[name]), settings)


def set_rows(settings: Mapping[str, Mapping[str, Any]], slug: str, variant: str) -> str:
    """Return the variant of a row with the settings that were given for its system; see ``core.settings.by_system``.

    Raises:
        UsageError: there is no such system.
    """
    if unknown := [name for name in settings if name not in _places()]:
        raise _unknown(unknown[0], _places())
    return varied(variant, settings.get(slug, {}))


def cards() -> list[dict[str, Any]]:
    """Return the cards of all systems as plain data, sorted by slug, each with its "module" and "class", and its
    "result".

    "row_results" has the same for each row with a proof of its own ("row_proofs").
    "result" is None where no proof was written, as with outsiders; else "shown", "stage" (what was reached; None where
    it is not shown), "of_this_proof" (False where its claim or control reads otherwise than the card's: it is the
    result of another proof, and says nothing of this one), "seeds" (their number), "datasets", "backbone" and "date".
    The stage that a proof is meant to reach is "planned_stage" of "proof". An outsider's system that cannot be loaded
    is left out, with one warning.
    """
    places, ours = _places(), {entry["slug"]: entry for entry in json.loads(_index())}
    entries = [
        _outsider(place) if isinstance(place, EntryPoint) else ours[slug] for slug, place in sorted(places.items())
    ]
    return [entry for entry in entries if entry is not None]


def card(slug: str) -> dict[str, Any]:
    """Return one card of ``cards``.

    Raises:
        UsageError: as for ``find``.
    """
    places = _places()
    if slug not in places:
        raise _unknown(slug, places)
    place = places[slug]
    if isinstance(place, EntryPoint):
        entry = _outsider(place)
        if entry is None:
            find(slug)  # raises what keeps an outsider's system from being loaded
        return entry or {}
    if INDEX.is_file():
        return next(entry for entry in json.loads(_index()) if entry["slug"] == slug)
    return _ours(place)


def of_verb(verb: str) -> list[str]:
    """Return the slugs of the systems of a verb, sorted; none where there is no such verb."""
    return [slug for slug, place in sorted(_places().items()) if _verb(place) == verb]


def _verb(place: Path | EntryPoint) -> str:
    """Return the verb of a system; "" for an outsider's that cannot be loaded."""
    if isinstance(place, EntryPoint):
        return str((_outsider(place) or {"verb": ""})["verb"])
    return place.parent.name


def offering(offer: Offer) -> tuple[str, ...]:
    """Return the slugs of the systems whose cards offer something, sorted."""
    return tuple(card["slug"] for card in cards() if offer in card["offers"])


def reached(card: Mapping[str, Any], *, reason: bool = False) -> str:
    """Say in a few words what a card's proof reached, perhaps why not: nothing is claimed without a written result."""
    result = card["result"]
    if result is None:
        return "not run" if card["proof"] else "none planned"
    if not result["of_this_proof"]:
        return "not run again" + (" (the result is of another claim or control)" if reason else "")
    few = f", {result['seeds']} seeds" if result["seeds"] < SEEDS else ""
    why = card["proof"].get("not_shown", "") if reason and not result["shown"] else ""
    words = "shown, " + result["stage"] if result["shown"] else "not shown"
    return words + few + (f" ({why})" if why else "")


def _unknown(slug: str, known: Iterable[str], verb: str = "") -> UsageError:
    near = ", ".join(difflib.get_close_matches(slug.lower(), known, n=3, cutoff=0.0))
    of = f" of {verb}" if verb else ""
    return UsageError(f"There is no system {slug!r}{of}; the nearest names are {near}: see '{_listing(verb)}' for all.")


def _listing(verb: str) -> str:
    """Return the command that lists the systems of a verb, or all."""
    return f"diptych systems --verb {verb}" if verb else "diptych systems"


def _command(card: Card) -> str:
    """Return the command that runs a system."""
    if card.verb == "audit":
        return f"audit {AUDITS.get(card.slug, f'report --only {card.slug}')}"
    return f"{COMMANDS.get(card.verb, f'{card.verb} --method')} {card.slug}"


def _places() -> dict[str, Path | EntryPoint]:
    """Return slug -> the file of a system of ours, or the entry point of an outsider."""
    files = _files()
    return {**files, **plugins.points(files)}


def _files() -> dict[str, Path]:
    """Return slug -> file of the systems of this package.

    Raises:
        UsageError: two files have the same stem.
    """
    return _files_in(tuple(diptych.methods.__path__))


@cache
def _files_in(folders: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(path for folder in folders for path in Path(folder).glob("*/[!_]*.py")):
        slug = path.stem.replace("_", "-")
        if slug in files:
            raise UsageError(
                f"Two systems are called {slug!r}, in {_module(files[slug])} and {_module(path)}: rename one file."
            )
        files[slug] = path
    return files


def _module(path: Path) -> str:
    return f"diptych.methods.{path.parent.name}.{path.stem}"


def _system(module: ModuleType) -> type[Method]:
    """Return the system that a module holds."""
    classes = [held for held in vars(module).values() if inspect.isclass(held) and held.__module__ == module.__name__]
    return _only(module.__name__, [held for held in classes if issubclass(held, Method)])


def _only(module: str, systems: list[T]) -> T:
    if len(systems) != 1:
        raise UsageError(f"{module} holds {len(systems)} systems: a file holds exactly one.")
    return systems[0]


def _outsider(place: EntryPoint) -> dict[str, Any] | None:
    """Return the card of an outsider's system as plain data; None where it cannot be loaded, with one warning."""
    try:
        kind = plugins.load(place)
        return _entry(kind.card, kind.__module__, kind.__name__, lambda slug, plan: None)
    except Exception as error:  # a stranger's class or card may fail in any way
        warn_once(place, error)
        return None


def _ours(path: Path) -> dict[str, Any]:
    """Return the entry of a system of this package, without importing it.

    Raises:
        UsageError: the file does not hold exactly one system, has no card beside it, or the card's slug or verb is not
            its place.
        DataError: the card cannot be read.
    """
    module, beside = _module(path), path.with_suffix(".toml")
    classes = [
        name
        for name, bases in _CLASS.findall(path.read_text(encoding="utf-8"))
        if not set(bases.split(", ")).isdisjoint(ROLES)
    ]
    name = _only(module, classes)
    if not beside.is_file():
        raise UsageError(f"{module} has no card: write {beside.name} beside it.")
    card = Card.read(beside)
    if (card.slug, card.verb) != (path.stem.replace("_", "-"), path.parent.name):
        raise UsageError(
            f"{module} has the card of {card.verb}/{card.slug}: slug and verb follow from file and folder."
        )
    return _entry(card, module, name, _read_result)


def _entry(card: Card, module: str, name: str, results: Results) -> dict[str, Any]:
    rows = {row: results(f"{card.slug}:{row}", plan) for row, plan in card.row_proofs.items()}
    result = results(card.slug, card.proof)
    entry = {**card.as_dict(), "result": result, "row_results": rows, "module": module, "class": name}
    plain: dict[str, Any] = json.loads(json.dumps(entry))
    if plain["proof"] is not None:
        plain["proof"]["planned_stage"] = plain["proof"].pop(
            "stage"
        )  # a plan is no result, and nobody shall read it as one
    return plain


Results: TypeAlias = Callable[[str, ProofPlan | None], dict[str, Any] | None]
"""(SLUG or SLUG:ROW, plan) -> what the written proof reached."""


def _read_result(slug: str, plan: ProofPlan | None) -> dict[str, Any] | None:
    path = RESULTS / f"{slug.replace(':', '-')}.json"
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        judged = (result["claim"], result["control"])
        about = {"seeds": len(result["seeds"]), "datasets": [d["dataset"] for d in result["datasets"]]}
        return {
            "shown": result["shown"],
            "stage": result["stage"],
            "of_this_proof": plan is not None and judged == (plan.claim, plan.control),
            **about,
            "backbone": result["backbone"],
            "date": result["date"][:10],
        }
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path} is no result of a proof: run 'diptych prove {slug}' again, with {{overwrite}}."
        ) from None


def build() -> list[dict[str, Any]]:
    """Return the index: the entries of ``cards`` for the systems of this package, from their files.

    Raises:
        UsageError: a file does not hold exactly one system, it has no card, slug or verb of a card is not its place, a
            slug occurs twice, or a result is none.
        DataError: a card cannot be read.
    """
    return [_ours(path) for _, path in sorted(_files().items())]


@cache
def _index() -> str:
    """Return the index as JSON: each caller gets entries of its own."""
    return INDEX.read_text(encoding="utf-8") if INDEX.is_file() else json.dumps(build())
