"""The code of a system is what it does: words that change no number make no row stale."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from diptych.core import Card, Method
from diptych.evaluation.few_shot import inputs
from diptych.evaluation.few_shot.inputs import code_of
from diptych.methods.classify.coop import CoOp
from diptych.methods.classify.tip_adapter import TipAdapter

CACHE_MODEL = "diptych.nn.cache_model"


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    inputs._read.cache_clear()
    yield
    inputs._read.cache_clear()


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], str]:
    """Return the code of Tip-Adapter after one replacement in the source of a module."""
    source = inspect.getsource

    def code(module: str, old: str, new: str) -> str:
        def changed(m: Any) -> str:
            text = source(m)
            if m.__name__ == module:
                assert old in text
                text = text.replace(old, new, 1)
            return text

        inputs._read.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(inspect, "getsource", changed)
            return code_of(TipAdapter)

    return code


@pytest.mark.parametrize("module", [TipAdapter.__module__, CACHE_MODEL])
def test_words_about_the_code_do_not_count(module: str, edited: Callable[[str, str, str], str]) -> None:
    before = code_of(TipAdapter)
    assert edited(module, '"""', '"""More words. ') == before
    assert edited(module, "\nfrom ", "\n# A remark.\n\nfrom ") == before
    assert edited(module, '    """', '    """from diptych.nn.soft_prompts import everything. ') == before


@pytest.mark.parametrize("module", [TipAdapter.__module__, CACHE_MODEL])
def test_statements_count(module: str, edited: Callable[[str, str, str], str]) -> None:
    before = code_of(TipAdapter)
    assert edited(module, "return ", "return 2 * ") != before
    assert edited(module, "\nfrom ", "\nx = 1\nfrom ") != before


def test_of_a_card_its_settings_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before, card = code_of(CoOp), CoOp.card
    prose = replace(card, claim="Another.", differs=(), needs=replace(card.needs, optional=("texts",)))
    monkeypatch.setattr(CoOp, "card", prose)
    assert code_of(CoOp) == before
    rows = {**card.variants, "csc": {"specific": True, "batch": 7}}
    monkeypatch.setattr(CoOp, "card", replace(card, variants=rows))
    assert code_of(CoOp) != before


@dataclass(frozen=True)
class InPython(Method):
    card = Card(**{**vars(CoOp.card), "claim": "A claim of this class."})


def test_a_card_in_the_class_body_counts_as_little(monkeypatch: pytest.MonkeyPatch) -> None:
    before, source = code_of(InPython), inspect.getsource
    other_claim, other_code = ("A claim", " of this class"), ("@dataclass(frozen=True)", "\nclass InPython")
    for words, same in ((other_claim, True), (other_code, False)):
        old, new = "".join(words), words[1]  # in two parts, so that this line is not changed with it
        inputs._read.cache_clear()
        monkeypatch.setattr(inspect, "getsource", lambda m, old=old, new=new: source(m).replace(old, new))
        assert (code_of(InPython) == before) is same
