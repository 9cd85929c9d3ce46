from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych import __version__
from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.features.artefacts import load, read_or_fit, save, stated
from diptych.methods.classify.gda import GDA
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone

KIT = Kit({"main": SmallBackbone()})
CLASSES = ClassNames(("red fox", "oak"))


def fitted() -> Any:
    return ZeroShot().fit(KIT, CLASSES, Evidence(), Run())


def test_a_folder_says_who_fitted_it_and_on_what(tmp_path: Path) -> None:
    save(fitted(), tmp_path / "kept", ZeroShot(), named=CLASSES, proposer="auto")
    about = stated(tmp_path / "kept")
    assert (about.slug, about.system, about.classes) == ("zero-shot", ZeroShot(), CLASSES.names)
    assert (about.backbone, about.version) == ("small", __version__)
    assert about.facts == {"named": CLASSES, "proposer": "auto"}
    facts = json.loads((tmp_path / "kept" / "fitted.json").read_text())
    assert [s["fingerprint"] for s in facts["spaces"].values()] == [SmallBackbone().fingerprint]
    assert torch.equal(load(tmp_path / "kept", KIT).head, fitted().head)


def test_it_is_fitted_once_and_read_then(tmp_path: Path) -> None:
    calls: list[int] = []

    def fit() -> Any:
        calls.append(1)
        return fitted()

    first, again = (read_or_fit(tmp_path / "kept", lambda: KIT, ZeroShot(), fit) for _ in range(2))
    assert (first[1], again[1], len(calls)) == (False, True, 1)
    assert read_or_fit(None, lambda: KIT, ZeroShot(), fit)[1] is False
    with pytest.raises(UsageError, match="zero-shot fitted it, and not gda"):
        read_or_fit(tmp_path / "kept", lambda: KIT, GDA(), fit)


def test_the_first_three_settings_that_differ_are_named(tmp_path: Path) -> None:
    save(fitted(), tmp_path / "kept", GDA(alpha=1.0))
    with pytest.raises(UsageError, match=r"its alpha is 1.0, not 2.0; give the same \{?method"):
        read_or_fit(tmp_path / "kept", lambda: KIT, GDA(alpha=2.0), fitted)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"fitted": {"class": 3}}'])
def test_a_folder_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "fitted.json").write_text(text)
    with pytest.raises(DataError, match="holds no fitted system"):
        stated(tmp_path)
    with pytest.raises(UsageError, match="There is no folder"):
        stated(tmp_path / "none")


@pytest.mark.parametrize("facts", [{"named": {"eval": "1"}}, {"named": {"class": "os:system", "fields": {}}}, 3])
def test_facts_that_are_no_plain_values_are_refused(facts: object, tmp_path: Path) -> None:
    save(fitted(), tmp_path / "kept", ZeroShot())
    path = tmp_path / "kept" / "fitted.json"
    whole = json.loads(path.read_text())
    whole["about"]["facts"] = facts
    path.write_text(json.dumps(whole))
    with pytest.raises(DataError):
        stated(tmp_path / "kept")
