"""Finds systems by file name: ``diptych/methods/<verb>/<stem>.py`` holds the one system whose slug is the stem with
dashes.

Cards are read from the built index ``catalog.json``, so listing systems loads no torch. It also says what the written
proofs of the checkout reached, since results are not packaged. After a card, a file or a result changed:

    python -m diptych.catalog --write        rebuild the index
    python -m diptych.catalog --check        exit 1 if the index is not what files and results say

Systems outside this package join by an entry point in the group ``diptych.methods``, its name the slug, its value
``package.module:Class``; they are imported only when their card or class is asked for.
"""

from __future__ import annotations

import difflib
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, overload

import diptych.methods
from diptych.core.card import Card, Offer, ProofPlan
from diptych.core.errors import UsageError
from diptych.core.method import Method

INDEX = Path(__file__).with_name("catalog.json")
GROUP = "diptych.methods"
M = TypeVar("M", bound=Method)
COMMANDS = {
    "audit": "audit",
    "curate": "curate plan --method",
    "pretrain": "pretrain --objective",
    "retrieve": "link --method",
}
"""Verb of a card -> the command that runs its systems, where it is not "VERB --method"."""
RESULTS = Path(__file__).parents[2] / "results"
"""What ``diptych prove`` wrote in a checkout; where there is no such folder, what the index says of results stays."""
SEEDS = 5
"""What a proof takes; fewer are named, since they prove less."""


def slugs() -> tuple[str, ...]:
    """Return the slugs of all systems, ours and outsiders', sorted.

    Raises:
        UsageError: two systems have the same slug.
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
        UsageError: there is no such slug (the three nearest are named, of the verb where one is wanted), two systems
            share it, it has another role or verb (whose command is named), or an outsider's entry point is no system.
    """
    places = _places()
    wanted = verb or role.verb
    if slug not in places:
        raise _unknown(slug, _of_verb(wanted) or places, wanted)
    place = places[slug]
    found = place.load() if isinstance(place, EntryPoint) else getattr(import_module(place["module"]), place["class"])
    if not (inspect.isclass(found) and issubclass(found, Method)) or found.card.slug != slug:
        raise UsageError(
            f"The entry point {slug!r} of {GROUP} is not a system with that slug: mend or uninstall the package that "
            f"brings it."
        )
    if not issubclass(found, role) or verb not in ("", found.card.verb):
        said = f"{slug} is no {f'system of {verb}' if verb else role.__name__.lower()}"
        if found.card.verb != wanted:
            said += f", but a system of {found.card.verb}: run 'diptych {_command(found.card)}', or"
        else:
            said += ":"
        raise UsageError(f"{said} see '{_listing(wanted)}'.")
    return found


def row(system: type[M], variant: str = "") -> M:
    """Return a row of a system's card.

    Raises:
        UsageError: the card has no such row.
    """
    card = system.card
    if variant not in card.variants:
        held = ", ".join(v or "(default)" for v in card.variants)
        raise UsageError(f"{card.slug} has no variant {variant!r}, only {held}.")
    return system(**card.variants[variant])


def cards() -> list[dict[str, Any]]:
    """Return the cards of all systems as plain data, sorted by slug, each with its "module" and "class", and its
    "result".

    "row_results" has the same for each row with a proof of its own ("row_proofs").
    "result" is None where no proof was written, as with outsiders; else "shown", "stage" (what was reached; None where
    it is not shown), "of_this_proof" (False where its claim or control reads otherwise than the card's: it is the
    result of another proof, and says nothing of this one), "seeds" (their number), "datasets", "backbone" and "date".
    The stage that a proof is meant to reach is "planned_stage" of "proof".

    Raises:
        UsageError: as for ``find``.
    """
    return [_entry(find(s)) if isinstance(p, EntryPoint) else dict(p) for s, p in sorted(_places().items())]


def card(slug: str) -> dict[str, Any]:
    """Return one card of ``cards``.

    Raises:
        UsageError: as for ``find``.
    """
    every = {entry["slug"]: entry for entry in cards()}
    if slug not in every:
        raise _unknown(slug, every)
    return every[slug]


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
    command = COMMANDS.get(card.verb, f"{card.verb} --method")
    return command if command == "audit" else f"{command} {card.slug}"


def _of_verb(verb: str) -> list[str]:
    """Return the slugs of the systems of a verb."""
    return [card["slug"] for card in cards() if card["verb"] == verb]


def _places() -> dict[str, dict[str, Any] | EntryPoint]:
    places: dict[str, dict[str, Any] | EntryPoint] = {
        card["slug"]: card for card in json.loads(INDEX.read_text(encoding="utf-8"))
    }
    for point in entry_points(group=GROUP):
        if point.name in places:
            raise UsageError(
                f"Two systems are called {point.name!r}, one of them {point.value}: uninstall or rename one."
            )
        places[point.name] = point
    return places


def _entry(method: type[Method], results: Results = lambda slug, plan: None) -> dict[str, Any]:
    card = method.card
    rows = {row: results(f"{card.slug}:{row}", plan) for row, plan in card.row_proofs.items()}
    result = results(card.slug, card.proof)
    entry = {
        **card.as_dict(),
        "result": result,
        "row_results": rows,
        "module": method.__module__,
        "class": method.__name__,
    }
    plain: dict[str, Any] = json.loads(json.dumps(entry))
    if plain["proof"] is not None:
        plain["proof"]["planned_stage"] = plain["proof"].pop(
            "stage"
        )  # a plan is no result, and nobody shall read it as one
    return plain


Results: TypeAlias = Callable[[str, ProofPlan | None], dict[str, Any] | None]
"""(SLUG or SLUG:ROW, plan) -> what the written proof reached."""


def _results() -> Results:
    """Return what written proofs reached: from the checkout, or else from the index."""
    if RESULTS.is_dir():
        return _read_result
    known = json.loads(INDEX.read_text(encoding="utf-8")) if INDEX.exists() else []
    results = {card["slug"]: card["result"] for card in known}
    results |= {f"{card['slug']}:{row}": found for card in known for row, found in card["row_results"].items()}
    return lambda slug, plan: results.get(slug)


def _read_result(slug: str, plan: ProofPlan | None) -> dict[str, Any] | None:
    path = RESULTS / f"{slug.replace(':', '-')}.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        judged = (found["claim"], found["control"])
        about = {"seeds": len(found["seeds"]), "datasets": [d["dataset"] for d in found["datasets"]]}
        return {
            "shown": found["shown"],
            "stage": found["stage"],
            "of_this_proof": plan is not None and judged == (plan.claim, plan.control),
            **about,
            "backbone": found["backbone"],
            "date": found["date"][:10],
        }
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is no result of a proof: run 'diptych prove {slug} --overwrite'.") from None


def build() -> list[dict[str, Any]]:
    """Import every system file and return the index.

    Raises:
        UsageError: a file does not hold exactly one system, its slug or verb is not its place, a slug occurs twice, or
            a result is none.
    """
    index: dict[str, dict[str, Any]] = {}
    results = _results()
    for module in sorted(
        m.name for m in pkgutil.walk_packages(diptych.methods.__path__, "diptych.methods.") if not m.ispkg
    ):
        verb, stem = module.split(".")[-2:]
        found = [
            c
            for _, c in inspect.getmembers(import_module(module), inspect.isclass)
            if issubclass(c, Method) and c.__module__ == module
        ]
        if len(found) != 1:
            raise UsageError(f"{module} holds {len(found)} systems: a file holds exactly one.")
        card = found[0].card
        if (card.slug, card.verb) != (stem.replace("_", "-"), verb):
            raise UsageError(
                f"{module} has the card of {card.verb}/{card.slug}: slug and verb follow from file and folder."
            )
        if card.slug in index:
            raise UsageError(
                f"Two systems are called {card.slug!r}, in {index[card.slug]['module']} and {module}: rename one file."
            )
        index[card.slug] = _entry(found[0], results)
    return [index[slug] for slug in sorted(index)]


def main(arguments: list[str]) -> int:
    """Write or check the index; return the exit code."""
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python -m diptych.catalog --write | --check\n")
        return 2
    from diptych.data.files import write_whole

    text = json.dumps(build(), indent=1, ensure_ascii=False) + "\n"
    if arguments == ["--write"]:
        write_whole(INDEX, text, overwrite=True)
        return 0
    if not INDEX.exists() or INDEX.read_text(encoding="utf-8") != text:
        sys.stderr.write(
            "catalog.json is not what the system files and results say: run python -m diptych.catalog --write.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
