from __future__ import annotations

from typing import Any

import pytest

from diptych import catalog
from diptych.cli.curate.options import KeepOptions, PlanOptions, PoolOptions
from diptych.core import Curator, UsageError

CURATORS: list[Any] = [catalog.find(card["slug"], Curator) for card in catalog.cards() if card["verb"] == "curate"]


def test_every_setting_is_one_of_a_curator_with_the_curators_default() -> None:
    settings = {**PoolOptions().settings, **vars(PlanOptions()), **KeepOptions().settings}
    for name, value in settings.items():
        fields = [c.__dataclass_fields__[name] for c in CURATORS if name in c.__dataclass_fields__]
        assert fields, name
        assert all(field.default == value for field in fields), name


def test_a_wrong_word_is_named_with_its_flag() -> None:
    with pytest.raises(UsageError, match="--prefer takes hard, easy or random, not 'x'"):
        _ = KeepOptions(prefer="x").settings


def test_the_help_names_every_curator() -> None:
    hint = PoolOptions.__annotations__["method"]
    assert "_METHODS" in str(hint)
    from diptych.cli.curate import options as curate_options

    named = {*curate_options._METHODS.split(", "), curate_options.SLIDE_CURATOR}
    assert named == {c.card.slug for c in CURATORS}
