"""Each field that lists and pages need is missed where a card lacks it, and each parameter without its line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from diptych.core import Card, Needs
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.testing.card_promises import check_card, check_parameters
from diptych.testing.promise import ContractBroken


def carded(**changes: Any) -> type[ZeroShot]:
    return type("Carded", (ZeroShot,), {"card": replace(ZeroShot.card, **changes)})


def test_a_shipped_system_passes() -> None:
    check_card(ZeroShot)
    check_parameters(ZeroShot)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"title": ""}, "no title"),
        ({"slug": "Zero_Shot"}, "must be lower-case words joined by dashes"),
        ({"verb": "segment"}, "the role is for classify"),
        ({"needs": Needs(hooks=("smell",))}, "needs.hooks has 'smell'"),  # type: ignore[arg-type]
        ({"url": "ftp://somewhere"}, "not an https address"),
        ({"year": 1999}, "from 2015 to 2030, got 1999"),
        ({"claim": "Better."}, "must be a sentence"),
        ({"variants": {}}, "no row"),
        ({"differs": ("",)}, "differs is empty"),
    ],
)
def test_a_card_with_a_fault_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ContractBroken, match=fault.replace(".", r"\.")):
        check_card(carded(**changes))


def test_a_parameter_without_its_line_or_default_is_refused() -> None:
    @dataclass(frozen=True)
    class Silent(ZeroShot):
        """A system.

        Args:
            templates: see ``ZeroShot``.

        Source: nowhere.
        """

        card: ClassVar[Card] = ZeroShot.card
        steps: int = 3

    with pytest.raises(ContractBroken, match=r'lacks "steps: \.\.\."'):
        check_parameters(Silent)
