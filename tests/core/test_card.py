"""A card is read from the file beside a module; what is wrong in it is named with file and field."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from diptych.core import Card, DataError, Headline, Needs, ProofPlan, Reference

LEAST = """
slug = "my-own"
name = "My own"
title = "A title"
url = "https://example.org/paper"
year = 2024
verb = "classify"
claim = "It works."
trains = "nothing"
"""
CARD = '''
slug = "my-own"
name = "My own"
title = "A title"
url = "https://example.org/paper"
year = 2024
verb = "classify"
claim = """
A claim of two
lines."""
needs.hooks = ["image", "dense"]
needs.evidence = ["train"]
trains = "nothing"
reference.url = "https://example.org/code"
differs = [
  "One.",
  """
  Two has "quotes" and
  two lines.""",
]
baseline = true
offers = ["reasons"]

[proof]
claim = "More."
control = "Not more."
datasets = ["demo:clothes"]
minutes = 2

[variants]
"" = {}
small = { size = 3, words = ["a  b", "c"], beta = "None", aggregate = "none" }

[row_proofs.small]
claim = "More."
control = "Not more."
datasets = []
seeds = 3

[[headlines]]
dataset = "ImageNet"
backbone = "ViT-B/32"
metric = "top-1"
value = 63.2
where = "table 1"
'''


def test_a_card_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CARD, encoding="utf-8")
    assert Card.read(tmp_path / "c.toml") == Card(
        slug="my-own",
        name="My own",
        title="A title",
        url="https://example.org/paper",
        year=2024,
        verb="classify",
        claim="A claim of two lines.",
        needs=Needs(hooks=("image", "dense"), evidence=("train",)),
        trains="nothing",
        headlines=(Headline("ImageNet", "ViT-B/32", "top-1", 63.2, "", "table 1"),),
        reference=Reference("https://example.org/code", "", ""),
        differs=("One.", 'Two has "quotes" and two lines.'),
        proof=ProofPlan("More.", "Not more.", ("demo:clothes",), minutes=2),
        baseline=True,
        variants={"": {}, "small": {"size": 3, "words": ("a  b", "c"), "beta": None, "aggregate": "none"}},
        row_proofs={"small": ProofPlan("More.", "Not more.", (), seeds=3)},
        offers=("reasons",),
    )


def test_what_is_not_written_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(LEAST, encoding="utf-8")
    card = Card.read(tmp_path / "c.toml")
    assert card == Card(
        "my-own", "My own", "A title", "https://example.org/paper", 2024, "classify", "It works.", Needs(), "nothing"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("year = 2024", "year = 24", "year must be in [1950, 2100], got 24."),
        ("year = 2024", "year = '2024'", "year must be a whole number, got '2024'."),
        ("year = 2024\n", "", "year is missing: add it."),
        ('verb = "classify"', 'verb = "cook"', "verb must be one of 'classify', "),
        ('slug = "my-own"', 'slug = "my_own"', "slug must be lower-case words joined by dashes, got 'my_own'."),
        ("https://example.org/paper", "example.org", "url must be an address that begins with https://, got"),
        ('"It works."', '""', "claim must be a text that is not empty, got ''."),
        ("trains", "train", "there is no field train; the nearest is trains."),
        ('claim = "It', 'needs.hook = []\nclaim = "It', "there is no field needs.hook; the nearest is needs.hooks."),
        ('claim = "It', 'needs.hooks = ["eye"]\nclaim = "It', "needs.hooks[0] must be one of 'image', 'text', "),
        (LEAST, LEAST + "[[headlines]]\ndataset='d'\nbackbone='b'\nmetric='m'\nvalue='x'", "headlines[0].value must "),
        (LEAST, LEAST + "[[headlines]]\ndataset='d'\nbackbone='b'\nmetric='m'\nvalue=nan", "must be a finite number"),
        (LEAST, LEAST + "[proof]\nclaim='c'\ncontrol='k'\ndatasets=[]\nseeds=2", "proof.seeds must be at least 3"),
        (LEAST, LEAST + "[proof]\nclaim='c'\ncontrol='k'\ndatasets=[]\nminutes=0", "proof.minutes must be above 0"),
        (LEAST, LEAST + "[variants]\nsmall = 3", "variants.small must be a table, got 3."),
        (LEAST, "x = ", "is no TOML: Invalid value (at end of document)."),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "my_own.toml"
    path.write_text(LEAST.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        Card.read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"c\.toml is no TOML"):
        Card.read(tmp_path / "c.toml")


CODE = """
from dataclasses import dataclass
from diptych.core import Method

@dataclass(frozen=True)
class Own(Method):
    size: int = 1
"""


def imported(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str, card: str | None) -> ModuleType:
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    if card is not None:
        (folder / f"{name}.toml").write_text(card, encoding="utf-8")
    spec = spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_card_beside_a_module_is_that_of_its_class_and_is_read_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = imported(monkeypatch, tmp_path, "beside_own", CODE, LEAST)
    card = module.Own.card
    (tmp_path / "beside_own.toml").unlink()
    assert card.name == "My own"
    assert module.Own.card is card is module.Own(size=2).card
    derived = type("Derived", (module.Own,), {"__module__": __name__})
    assert derived.card is card, "a class without a card of its own has that of its base"


def test_a_card_in_the_class_body_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = (
        "    from diptych.core.card import Card, Needs\n"
        '    card = Card("in-python", "X", "t", "https://x", 2024, "classify", "c", Needs(), "nothing")\n'
    )
    for name, beside in (("beside_both", LEAST), ("beside_none", None)):
        assert imported(monkeypatch, tmp_path, name, CODE + body, beside).Own.card.slug == "in-python"


def test_a_row_sets_parameters_of_the_class_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = LEAST + "[variants]\n'' = {}\nsmall = { sizes = 3 }\n"
    own = imported(monkeypatch, tmp_path, "beside_wrong", CODE, card).Own
    with pytest.raises(DataError) as caught:
        _ = own.card
    words = "variants.small sets sizes, which is no parameter of Own; the nearest is size."
    assert str(caught.value) == f"{tmp_path / 'beside_wrong.toml'}: {words}"


def test_a_class_without_a_card_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = imported(monkeypatch, tmp_path, "beside_nothing", CODE, None).Own
    assert not hasattr(own, "card")
