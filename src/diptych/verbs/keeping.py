"""What a method fitted, in a folder: read where the folder is there, else written. One mechanism for every verb with an
argument ``fitted``.

Where the user names no method, or that of the folder by its slug alone, that of the folder does the work, with its
settings; a variant or settings that are named, and a system that is given in Python, must be those that fitted. The
model is that of the folder where none is named.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core import Kit
    from diptych.features.artefacts import About, Read
    from diptych.verbs.context import Context

V = TypeVar("V")
CHOICES = frozenset({"method", "variant", "settings"})
"""Arguments that choose a system."""
LEARNT_FROM = "learnt_from"
"""What a folder calls the arguments that a fit alone reads, see ``Argument.fits``."""


def folder_of(verb: Any) -> Path | None:
    """Return the folder that an asked verb names; None where it names none."""
    folder = getattr(verb, "fitted", None)
    return None if folder is None or isinstance(folder, tuple) else Path(folder)  # a board reads several itself


def is_there(verb: Any) -> bool:
    """Return whether the folder that a verb names is there, so that nothing is fitted."""
    folder = folder_of(verb)
    return folder is not None and folder.exists()


def resolved(verb: V, given: Collection[str]) -> V:
    """Return a verb with the method of the folder that it reads, where the user chose no other.

    Args:
        verb: asked.
        given: names of the arguments that the user wrote.

    Raises:
        UsageError: the folder is of another verb, or was fitted on other data or with another seed than the user
            gives; or it is not there, and nothing says what to fit.
        DataError: it holds nothing fitted.
    """
    folder = folder_of(verb)
    if folder is None:
        return verb
    if not folder.exists():
        _refuse_misspelt(verb, folder, given)
        return verb
    from diptych.features.artefacts import stated

    about, question = stated(folder), verb
    role = question.kind_of_system()  # type: ignore[attr-defined]
    if about.system is not None and not isinstance(about.system, role):
        raise UsageError(
            f"{folder} holds what {about.slug} fitted, a system of {about.system.card.verb}, and not of "
            f"{question.name}: give another {{fitted}}."  # type: ignore[attr-defined]
        )
    _refuse_other_fit(verb, folder, about.facts.get(LEARNT_FROM), given)
    chosen = CHOICES.intersection(given)
    same = chosen == {"method"} and question.method == about.slug  # type: ignore[attr-defined]
    if (chosen and not same) or about.system is None:
        return verb
    return replace(verb, method=about.system)  # type: ignore[type-var]


def _refuse_misspelt(verb: Any, folder: Path, given: Collection[str]) -> None:
    """Refuse a folder that is not there where the default method would fill it and trains nothing."""
    if not verb.has_system() or "method" in given or (card := verb.system().card).trains != "nothing":
        return
    if not (card.needs.evidence or card.needs.optional):
        raise UsageError(
            f"There is no folder {folder}: name one in which a fitted system was kept, or give {{method}}, whose work "
            f"is then kept there."
        )


def about_of(verb: Any) -> About | None:
    """Return what the folder says that a verb reads; None where nothing is read."""
    if not is_there(verb):
        return None
    from diptych.features.artefacts import stated

    return stated(Path(verb.fitted))


def served(verb: Any, context: Context, kind: str) -> Read | None:
    """Return what a request names by a field, "segmenter": a fitted system that the server was started with.

    Raises:
        UsageError: there is none of this name; or the request chooses a system too.
    """
    name = getattr(verb, kind)
    if not name:
        return None
    read: Read = context.named(kind, name)
    return read


def refuse_choice(verb: Any, kind: str, given: Collection[str]) -> None:
    """Refuse a choice of a system beside the fitted one that a request names.

    Raises:
        UsageError: there is one.
    """
    if getattr(verb, kind) and (chosen := sorted(CHOICES.intersection(given))):
        names = " and ".join(f"{{{name}}}" for name in chosen)
        raise UsageError(f"{{{kind}}} is fitted already: leave {names} out, or {{{kind}}}.")


def where(verb: Any, context: Context) -> Context:
    """Return where a verb runs: with the model of the folder that it reads, where the user named none."""
    about = about_of(verb)
    if about is None or not about.backbone or about.backbone == context.backbone:
        return context
    return context.like({"backbone": about.backbone})


def read_or_fit(
    verb: Any,
    context: Context,
    kit: Callable[[], Kit],
    fit: Callable[[], Any],
    key: Hashable = None,
    known: Read | None = None,
    **facts: Any,
) -> Any:
    """Return what the method of a verb fits, read from the folder that the verb names, or fitted and written there.

    Args:
        verb: asked.
        context: where it runs; a verb without a folder lets it remember by ``key``.
        kit: gives the parts on which it was fitted.
        fit: fits.
        key: see ``Context.fitted``.
        known: what a server was started with, which answers at once; see ``served``.
        facts: what the verb needs to go on, see ``features.artefacts.save``.

    Raises:
        UsageError, DataError: the folder does not fit, see ``features.artefacts.read_or_fit``.
    """
    if known is not None:
        return known.fitted
    from diptych.features import artefacts
    from diptych.train.parameters import resumable

    folder = folder_of(verb)
    if folder is not None and not folder.exists():
        facts |= learnt_from(verb)
    of = None if folder is None else artefacts.begins(verb.system(), backbone=context.backbone, **_called(facts))
    with resumable(folder, workers=verb.fit_workers, of=of):
        if folder is None:
            return context.fitted(key, fit)
        return artefacts.read_or_fit(folder, kit, verb.system(), fit, **facts)[0]


def learnt_from(verb: Any) -> dict[str, dict[str, str]]:
    """Return what a folder says of the arguments that a fit alone reads; {} where there are none.

    Of data that are named by a path it is a hash of the path, which says nothing of whose machine it is. Of a number it
    is the number.
    """
    values = {name: getattr(verb, name) for name, a in verb.arguments().items() if a.fits}
    marks = {name: _mark(value) for name, value in values.items()}
    data = {name: mark for name, mark in marks.items() if mark}
    return {LEARNT_FROM: data} if data else {}


def _mark(value: object) -> str:
    """Return a path's hash, or a number; "" for what is not given, or lies in memory."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        return hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:16] if os.path.exists(path) else ""
    return str(value) if isinstance(value, int) else ""


def _refuse_other_fit(verb: Any, folder: Path, before: Any, given: Collection[str]) -> None:
    """Refuse what a fit alone reads beside a folder that was fitted on something else, which would be read in silence.

    Raises:
        UsageError: it is something else.
    """
    now = learnt_from(verb).get(LEARNT_FROM, {})
    for name, mark in now.items():
        if name in given and isinstance(before, dict) and before.get(name, mark) != mark:
            value = getattr(verb, name)
            other = (
                f"with {{{name}}} {before[name]}, not {value}"
                if isinstance(value, int)
                else f"on other data than {value}"
            )
            raise UsageError(
                f"{folder} was fitted {other}: leave {{{name}}} out to use it, or give another {{fitted}} to fit anew."
            )


def _called(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts under the names that a user knows."""
    return {"names" if name == "named" else name: value for name, value in facts.items() if name != LEARNT_FROM}
