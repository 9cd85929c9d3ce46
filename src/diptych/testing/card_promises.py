"""What every card and every class of a system must say."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import get_args

from diptych.core import EvidenceField, Hook, Method, Verb
from diptych.core.errors import EXTRAS
from diptych.features.saved_classes import is_frozen
from diptych.testing.promise import ContractBroken, require


def check_card(system: type[Method]) -> None:
    """Raise where the card of a system lacks what lists, pages and boards need.

    Raises:
        ContractBroken: a field is missing, or is not one of the known values.
    """
    card = system.card
    for text in ("slug", "name", "title", "trains"):
        require(bool(getattr(card, text)), f"the card has no {text}")
    require(
        re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", card.slug) is not None,
        f"the slug {card.slug!r} must be lower-case words joined by dashes",
    )
    require(card.verb in get_args(Verb), f"the verb {card.verb!r} must be one of {', '.join(get_args(Verb))}")
    require(system.verb in ("", card.verb), f"the card says {card.verb}, and the role is for {system.verb}")
    for name, values, known in (
        ("needs.hooks", card.needs.hooks, get_args(Hook)),
        ("needs.evidence", (*card.needs.evidence, *card.needs.optional), get_args(EvidenceField)),
        ("needs.extras", card.needs.extras, tuple(EXTRAS)),
    ):
        if unknown := [value for value in values if value not in known]:
            raise ContractBroken(f"{name} has {unknown[0]!r}, and must have only {', '.join(known)}")
    require(re.fullmatch(r"https://\S+", card.url) is not None, f"the url {card.url!r} is not an https address")
    require(2015 <= card.year <= 2030, f"the year must be from 2015 to 2030, got {card.year}")
    require(
        len(card.claim) > 40 and card.claim.endswith("."), "the claim must be a sentence of more than 40 characters"
    )
    require(bool(card.variants), 'the card has no row: {"": {}} is the default one')
    require(all(card.differs), "an entry of differs is empty")
    require(
        all(h.where and h.dataset and h.backbone and h.metric for h in card.headlines),
        "a headline lacks its place, data set, backbone or metric",
    )
    require(
        card.reference is None or bool(card.reference.url and card.reference.licence),
        'the reference lacks its address or licence; "none found" where there is no licence file',
    )


def check_parameters(system: type[Method]) -> None:
    """Raise where a system is not a frozen dataclass, or a parameter has no default or no line in the docstring.

    Raises:
        ContractBroken: as above, or the docstring names no source.
    """
    text = inspect.getdoc(system) or ""
    require(is_frozen(system), f"{system.__name__} is not a frozen dataclass: write @dataclass(frozen=True)")
    require("Source:" in text, 'the docstring has no line "Source: ..." with section and equation of the paper')
    for field in dataclasses.fields(system):  # type: ignore[arg-type]
        require(f"{field.name}: " in text, f'the docstring lacks "{field.name}: ..." under Args')
        require(
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING,
            f"{field.name} has no default",
        )
