"""What every system promises its user, multiplied over the catalog, and what the cards of our own owe beside.

The promises are functions of ``diptych.testing``: an author elsewhere asks the same of a plug-in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diptych import catalog
from diptych.core import Card, Method
from diptych.testing.contract import Check
from tests.support.contract import promises

SLUGS = [card["slug"] for card in catalog.cards()]


@pytest.mark.parametrize("slug", SLUGS)
def test_slug_and_verb_are_the_place_of_the_file_and_a_proof_is_planned(slug: str) -> None:
    method = catalog.find(slug)
    card = method.card
    module = Path(sys.modules[method.__module__].__file__ or "")
    assert issubclass(method, Method)
    assert isinstance(card, Card)
    assert (card.slug, card.verb) == (module.stem.replace("_", "-"), module.parent.name)
    assert card.proof is not None
    assert card.proof.seeds >= 3
    assert card.proof.claim
    assert card.proof.control
    assert card.proof.datasets


@pytest.mark.parametrize("check", promises("classify"))
def test_classifiers(check: Check) -> None:
    check()


@pytest.mark.parametrize("slug", SLUGS)
def test_the_card_is_listed_with_the_class_that_the_file_holds(slug: str) -> None:
    method, listed = catalog.find(slug), catalog.card(slug)
    assert (listed["module"], listed["class"]) == (method.__module__, method.__name__)
    plain = json.loads(json.dumps(method.card.as_dict()))
    assert {name: listed[name] for name in plain if name != "proof"} == {k: v for k, v in plain.items() if k != "proof"}
    assert "card" not in vars(method) or "CardBeside" in repr(vars(method)["card"]), "the card is the file beside it"


def test_every_role_that_systems_have_is_known() -> None:
    kinds = [catalog.find(slug) for slug in SLUGS]
    roles = {base.__name__ for kind in kinds for base in kind.__bases__ if issubclass(base, Method)}
    assert roles == set(catalog.ROLES)


def test_importing_and_listing_load_no_torch() -> None:
    code = (
        "import sys, diptych, diptych.catalog, diptych.cli.main;"
        "assert len(diptych.catalog.cards()) >= 5;"
        "heavy = {'torch', 'transformers', 'sklearn', 'onnxruntime'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_systems_changes_nothing() -> None:
    modules = [catalog.find(slug).__module__ for slug in SLUGS]
    code = (
        "import os, random, sys, warnings, torch, importlib\n"
        "import sympy, scipy.special, scipy.optimize, torchvision\n"  # they add filters of warnings
        "import diptych.features.embed, diptych.features.heads\n"
        "def state():\n"
        "    dice = torch.get_rng_state().tolist(), random.getstate()\n"
        "    return dict(os.environ), *dice, list(warnings.filters), torch.get_num_threads()\n"
        "for name in sys.argv[1:]:\n"
        "    before = state(); importlib.import_module(name)\n"
        "    if state() != before: sys.exit(f'the import of {name} left a trace')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
