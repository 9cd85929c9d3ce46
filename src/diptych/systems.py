"""The systems of the catalog by class name, taking plain values: ``diptych.systems.GDA(alpha=1.0).fit(model, train)``.

``dir(diptych.systems)`` lists them; editors read ``systems.pyi``, which ``tools/systems_stub.py`` writes. Where the
class of another package has the name of one of ours, the name is ours, and the other is found by its slug
(``diptych.catalog.find``).
"""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NoReturn

from diptych import catalog


class _Systems(ModuleType):
    """This module, which answers a call with what to write."""

    def __call__(self, *given: object, **more: object) -> NoReturn:
        raise TypeError(
            "diptych.systems is no function: diptych.list_systems(verb=...) returns the names of the systems, and "
            "diptych.systems.GDA() makes one."
        )


sys.modules[__name__].__class__ = _Systems


def __getattr__(name: str) -> Any:
    slug = _slugs().get(name)
    if slug is None:
        plain = {re.sub("[-_]", "", key).lower(): known for known, slug in _slugs().items() for key in (known, slug)}
        near = get_close_matches(re.sub("[-_]", "", name).lower(), plain, n=1)
        raise AttributeError(
            f"module 'diptych.systems' has no system {name!r}: "
            f"{_meant(name) or (f'the nearest is {plain[near[0]]}, and ' if near else '')}dir(diptych.systems) lists "
            f"them"
        )
    from diptych.api.fitting import system_class

    system = system_class(catalog.find(slug))
    globals()[name] = system
    return system


def _meant(name: str) -> str:
    """Return the system that scikit-learn, or the field, calls by another name; "" where there is none."""
    known = {
        **dict.fromkeys(("LogisticRegression", "LogReg", "Linear", "SGDClassifier", "LinearSVC"), "LinearProbe"),
        **dict.fromkeys(("LDA", "LinearDiscriminantAnalysis"), "GDA"),
    }
    if name in ("list", "all", "available", "names", "keys"):
        return "diptych.list_systems() returns them, and "
    return f"use {known[name]}, and " if name in known else ""


def __dir__() -> list[str]:
    return sorted(_slugs())


def _slugs() -> dict[str, str]:
    ours_last = sorted(catalog.cards(), key=lambda card: card["module"].startswith("diptych.methods."))
    return {card["class"]: card["slug"] for card in ours_last}
