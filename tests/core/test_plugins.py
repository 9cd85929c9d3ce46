"""Packages of other people on sys.path, as pip leaves them there: whole, and broken in every way that we know of."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import diptych
from diptych import catalog
from diptych.core import UsageError, entry_points

SYSTEM = """
from dataclasses import dataclass
from typing import Any, ClassVar
from diptych.core import Card, Needs
from diptych.methods.classify.zero_shot import ZeroShot

@dataclass(frozen=True)
class {name}(ZeroShot):
    card: ClassVar[Card] = Card("{slug}", "X", "t", "https://x", 2024, "{verb}", "c", Needs(), "nothing")
"""
Install = Callable[..., None]
BROKEN = {
    "import error": ("lost_module:Lost", "", "ModuleNotFoundError: No module named 'lost_module'"),
    "error in its code": ("{module}:X", "raise ValueError('two\\nlines')", "ValueError: two lines"),
    "it leaves": ("{module}:X", "import sys\nsys.exit('no licence')", "SystemExit: no licence"),
    "no such class": ("{module}:X", "", "AttributeError: module '{module}' has no attribute 'X'"),
    "no class": ("{module}:X", "X = 3", "it is a int and not a class of a role such as Classifier"),
    "no system": ("{module}:X", "class X: pass", "it is a type and not a class of a role"),
    "no card": ("{module}:X", "from diptych.core.method import Method\nclass X(Method): pass", "has no card"),
    "other slug": ("{module}:X", SYSTEM.format(name="X", slug="y", verb="classify"), "its card says 'y'"),
    "no verb": ("{module}:X", SYSTEM.format(name="X", slug="broken", verb="cook"), "its card says verb 'cook'"),
    "no entry point": ("not a place!", "", "cannot be used"),
    "not whole": (
        "{module}:X",
        SYSTEM.format(name="Y", slug="broken", verb="classify")
        + "from diptych.core.method import Classifier\nclass X(Classifier):\n    card = Y.card\n",
        "its class lacks fit",
    ),
}
"""Kind of fault -> value of the entry point, code of its module, what the warning says."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a distribution's dist-info and module into a folder on sys.path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    monkeypatch.setattr(entry_points, "_warned", set())

    def install(name: str, points: str, code: str | None = None, metadata: bool = True) -> None:
        about = folder / f"{name.replace('-', '_')}-1.2.dist-info"
        about.mkdir()
        if metadata:
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
        (about / "entry_points.txt").write_text(f"[diptych.methods]\n{points}\n", encoding="utf-8")
        if code is not None:
            (folder / f"{name.replace('-', '_')}.py").write_text(code, encoding="utf-8")

    return install


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_warns_once_with_its_distribution_and_takes_nothing_down(install: Install, kind: str) -> None:
    value, code, message = BROKEN[kind]
    module = f"broken_{kind.replace(' ', '_')}"
    install(module.replace("_", "-"), f"broken = {value.format(module=module)}", code)
    install(f"whole-beside-{module}", "whole = whole_system:Whole")
    (Path(sys.path[0]) / "whole_system.py").write_text(SYSTEM.format(name="Whole", slug="whole", verb="classify"))
    with pytest.warns(entry_points.PluginWarning) as caught:
        listed = [{card["slug"] for card in catalog.cards()} for _ in range(2)]
    (warning,) = caught
    sentence = str(warning.message)
    assert sentence.startswith(f"The system 'broken' of {module.replace('_', '-')} 1.2 cannot be used: ")
    assert message.format(module=module) in sentence
    assert "\n" not in sentence
    assert {"gda", "whole"} <= listed[0] == listed[1]
    assert "broken" not in listed[0]
    assert diptych.systems.GDA.card.slug == "gda"
    with pytest.raises(UsageError) as error:
        catalog.find("broken")
    assert str(error.value) == sentence
    sys.modules.pop("whole_system", None)


def test_a_slug_that_is_taken_stays_with_ours_and_with_the_first(install: Install) -> None:
    for name in ("a-first", "b-second"):
        code = SYSTEM.format(name="X", slug="gda", verb="classify") + SYSTEM.format(name="Z", slug="z", verb="classify")
        module = name.replace("-", "_")
        install(name, f"gda = {module}:X\nz = {module}:Z", code)
    with pytest.warns(entry_points.PluginWarning) as caught:
        cards = [catalog.card("gda") for _ in range(2)]
    assert {card["module"] for card in cards} == {"diptych.methods.classify.gda"}
    winner = catalog.find("z").__module__
    loser = "b-second" if winner == "a_first" else "a-first"
    said = sorted(str(w.message) for w in caught)
    assert len(said) == 3
    assert all("its slug is that of a system of diptych" in text for text in said[:2])
    assert (
        f"'z' of {loser} 1.2 cannot be used: its slug is that of a system of {winner.replace('_', '-')} 1.2" in said[2]
    )


def test_a_class_of_the_name_of_ours_is_found_by_its_slug_alone(install: Install) -> None:
    install("namesake", "other-gda = namesake:GDA", SYSTEM.format(name="GDA", slug="other-gda", verb="classify"))
    assert catalog.find("other-gda").__module__ == "namesake"
    assert diptych.systems._slugs()["GDA"] == "gda"


def test_a_distribution_that_is_gone_or_says_nothing_readable(install: Install) -> None:
    """What is left of a package that was deleted by hand, and a list that no library can read."""
    install("gone", "gone = gone:Gone", metadata=False)
    with pytest.warns(entry_points.PluginWarning, match="'gone' of .* cannot be used: ModuleNotFoundError"):
        catalog.cards()
    install("unreadable", "this line names nothing")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert "gda" in {card["slug"] for card in catalog.cards()}
    assert any("unreadable" in str(w.message) for w in caught)


def test_the_command_line_says_it_in_one_line_and_lists_the_rest(install: Install) -> None:
    install("broken-thing", "broken = broken_thing:X", "import a_library_that_is_not_there")
    for words in (["systems", "--verb", "audit"], ["systems", "gda"]):
        done = subprocess.run(
            [sys.executable, "-m", "diptych.cli", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("The system 'broken' of broken-thing 1.2 cannot be used: ModuleNotFoundError")
    done = subprocess.run(
        [sys.executable, "-m", "diptych.cli", "systems", "broken"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "a_library_that_is_not_there" in done.stderr.splitlines()[-1]
