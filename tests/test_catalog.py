from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

import diptych.methods
from diptych import catalog
from diptych.core.card import Card, Needs
from diptych.core.errors import UsageError
from diptych.core.method import Method
from diptych.methods.classify.gda import GDA


@dataclass(frozen=True)
class Outsider(Method):
    card: ClassVar[Card] = Card("outsider", "Outsider", "t", "https://x", 2024, "classify", "c", Needs(), "nothing")


class NoSystem:
    pass


def outside(monkeypatch: pytest.MonkeyPatch, name: str, value: str = f"{__name__}:Outsider") -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, sys.modules[Outsider.__module__]))
    monkeypatch.setattr(catalog, "entry_points", lambda group: [EntryPoint(name, value, group)])


def test_slugs_are_sorted_and_found() -> None:
    slugs = catalog.slugs()
    assert list(slugs) == sorted(slugs)
    assert {"gda", "linear-probe", "tip-adapter", "tip-adapter-f", "zero-shot"} <= set(slugs)
    assert catalog.find("gda") is GDA


def test_cards_are_plain_data_and_belong_to_the_caller() -> None:
    first = catalog.cards()
    assert json.loads(json.dumps(first)) == first
    assert [c["slug"] for c in first] == list(catalog.slugs())
    gda = next(c for c in first if c["slug"] == "gda")
    assert (gda["module"], gda["class"]) == ("diptych.methods.classify.gda", "GDA")
    gda["name"] = "changed"
    assert next(c for c in catalog.cards() if c["slug"] == "gda")["name"] == "GDA"


def test_an_unknown_slug_names_the_three_nearest() -> None:
    with pytest.raises(UsageError, match=r"no system 'tipadapter'; the nearest names are tip-adapter, tip-adapter-f, [a-z-]+: see"):
        catalog.find("tipadapter")


def test_an_outsider_joins_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, "outsider")
    assert "outsider" in catalog.slugs()
    assert catalog.find("outsider") is Outsider
    assert next(c for c in catalog.cards() if c["slug"] == "outsider")["class"] == "Outsider"


def test_an_outsider_with_our_slug_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, "gda")
    for call in (catalog.slugs, catalog.cards, lambda: catalog.find("zero-shot")):
        with pytest.raises(UsageError, match="Two systems are called 'gda'"):
            call()


@pytest.mark.parametrize(("name", "value"), [("other", f"{__name__}:Outsider"), ("outsider", f"{__name__}:NoSystem")])
def test_an_entry_point_that_is_no_system_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    outside(monkeypatch, name, value)
    with pytest.raises(UsageError, match="is not a system with that slug"):
        catalog.find(name)


SYSTEM = """
from dataclasses import dataclass
from typing import ClassVar
from diptych.core.card import Card, Needs
from diptych.core.method import Method

@dataclass(frozen=True)
class {name}(Method):
    card: ClassVar[Card] = Card("{slug}", "X", "t", "https://x", 2024, "{verb}", "c", Needs(), "nothing")
"""


def written(monkeypatch: pytest.MonkeyPatch, root: Path, **files: str) -> None:
    """Let the methods folder be ``root`` with these files, verb__stem -> text, in verbs of a name that nothing else imports."""
    for place, text in files.items():
        verb, stem = place.split("__")
        (root / verb).mkdir(exist_ok=True)
        (root / verb / "__init__.py").touch()
        (root / verb / f"{stem}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(diptych.methods, "__path__", [str(root)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for module in [m for m in sys.modules if m.startswith("diptych.methods.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # what the test imports is forgotten with it


def test_build_takes_slug_and_verb_from_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(monkeypatch, tmp_path, probe__my_own=SYSTEM.format(name="Own", slug="my-own", verb="probe"))
    (entry,) = catalog.build()
    assert (entry["slug"], entry["class"], entry["module"]) == ("my-own", "Own", "diptych.methods.probe.my_own")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"probe__a_b": SYSTEM.format(name="X", slug="a_b", verb="probe")}, "slug and verb follow from file and folder"),
        ({"probe__a_b": SYSTEM.format(name="X", slug="a-b", verb="other")}, "slug and verb follow from file and folder"),
        ({"probe__a": "x = 1"}, "holds 0 systems"),
        ({"probe__a": SYSTEM.format(name="X", slug="a", verb="p") + SYSTEM.format(name="Y", slug="a", verb="p")}, "holds 2 systems"),
        (
            {f"{verb}__a": SYSTEM.format(name="X", slug="a", verb=verb) for verb in ("probe", "second")},
            "Two systems are called 'a', in diptych.methods.probe.a and diptych.methods.second.a",
        ),
    ],
)
def test_build_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], message: str) -> None:
    written(monkeypatch, tmp_path, **files)
    with pytest.raises(UsageError, match=message):
        catalog.build()


def test_write_and_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(catalog, "INDEX", tmp_path / "catalog.json")
    assert catalog.main(["--check"]) == 1
    assert "run python -m diptych.catalog --write" in capsys.readouterr().err
    assert catalog.main(["--write"]) == 0
    assert catalog.main(["--check"]) == 0
    catalog.INDEX.write_text(catalog.INDEX.read_text(encoding="utf-8").replace("GDA", "GBA"), encoding="utf-8")
    assert catalog.main(["--check"]) == 1
    assert catalog.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "diptych.catalog"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
