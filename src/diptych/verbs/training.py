"""The system of a training, for every face: by its slug or itself, with its settings, and what it reads beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diptych.core.settings import with_settings
from diptych.verbs.declare import plain_system
from diptych.verbs.reads import Reads, needs

if TYPE_CHECKING:
    from diptych.core import Objective, Recipe

READS: Mapping[str, Reads] = {
    "rewrites": needs("Writer"),
    "scorer": lambda system: "Backbone" in system.card.needs.optional_parts,
    "teacher": lambda system: "Backbone" in system.card.needs.parts or hasattr(system, "distil"),
    "language_model": needs("TokenStates"),
    "proposer": needs("MaskProposer"),
    "denoiser": needs("TextDiffusion"),
    "regions": lambda system: "boxes" in system.card.needs.columns,
}
"""Argument of ``pretrain`` -> which systems read it."""


def system_of(verb: str, method: Any, variant: str, settings: Mapping[str, Any]) -> Objective | Recipe:
    """Return a system of a verb that trains.

    Args:
        verb: of the system, "finetune" or "pretrain".
        method: slug, or a system.
        variant: a row of its card; "" for the default one. For a slug alone.
        settings: name -> value, or the text of one.

    Raises:
        UsageError: it is of another verb, is no system, or has no such row or setting.
        MissingExtra: what it needs is not installed.
    """
    from diptych import catalog
    from diptych.core import Objective, Recipe, UsageError

    if isinstance(method, str):
        base: Any = catalog.row(catalog.find(method, verb=verb), variant)
    else:
        base = plain_system(method)
        if variant:
            raise UsageError("{variant} is a row of a card: give {method} by its slug, or leave {variant} out.")
        if base.card.verb != verb:
            raise UsageError(f"{base.card.slug} is a system of {base.card.verb}, not of {verb}: give one of {verb}.")
    system = with_settings(base, settings)
    assert isinstance(system, (Objective, Recipe))
    system.check_extras()
    return system
