from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

import diptych.methods
from diptych import catalog
from diptych.core.audit import Auditor
from diptych.core.card import Card, Needs
from diptych.core.errors import UsageError
from diptych.core.method import Classifier, Method, Retriever, Segmenter
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
    with pytest.raises(
        UsageError, match=r"no system 'tipadapter'; the nearest names are tip-adapter, tip-adapter-f, [a-z-]+: see"
    ):
        catalog.find("tipadapter")
    with pytest.raises(
        UsageError, match=r"no system 'tipadapter' of segment; the nearest names are (.*): see"
    ) as caught:
        catalog.find("tipadapter", Segmenter)
    named = str(caught.value).split(" are ")[1].split(":")[0].split(", ")
    assert {catalog.card(slug)["verb"] for slug in named} == {"segment"}


def test_a_system_of_another_role_or_verb_is_refused_in_one_sentence() -> None:
    assert catalog.find("gda", Classifier) is GDA
    with pytest.raises(UsageError, match=r"^gda is no retriever, but a system of classify: run ") as caught:
        catalog.find("gda", Retriever)
    assert str(caught.value).endswith("'diptych classify --method gda', or see 'diptych systems --verb retrieve'.")
    assert catalog.find("wise-ft", verb="finetune").card.slug == "wise-ft"
    with pytest.raises(UsageError, match=r"^wise-ft is no system of pretrain, but a system of finetune: run"):
        catalog.find("wise-ft", verb="pretrain")
    for slug, command in (("cloob", "pretrain --objective cloob"), ("clippings", "link --method clippings")):
        with pytest.raises(UsageError, match=f"run 'diptych {command}', or see 'diptych systems --verb classify'"):
            catalog.find(slug, Classifier)
    with pytest.raises(UsageError, match="run 'diptych audit', or see"):
        catalog.find("clip4dm", Classifier)
    with pytest.raises(UsageError, match=r"^clip4dm is no auditor: see"):
        catalog.find("clip4dm", Auditor)


def test_a_row_is_built_from_its_card() -> None:
    assert catalog.row(GDA) == GDA(**GDA.card.variants[""])
    with pytest.raises(UsageError, match=r"^gda has no variant 'moon', only \(default\)"):
        catalog.row(GDA, "moon")


def test_what_cards_offer_is_listed() -> None:
    assert {"fudd", "mocoop"} <= set(catalog.offering("reasons"))
    assert "gda" in catalog.offering("other classes")
    assert "zero-shot" not in catalog.offering("reasons")


def test_one_card_is_that_of_the_list() -> None:
    assert catalog.card("gda") in catalog.cards()
    with pytest.raises(UsageError, match="no system 'gpa'; the nearest names are"):
        catalog.card("gpa")


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
from typing import Any, ClassVar
from diptych.core.card import Card, Needs
from diptych.core.method import Classifier, Method, Retriever

@dataclass(frozen=True)
class {name}(Method):
    card: ClassVar[Card] = Card("{slug}", "X", "t", "https://x", 2024, "{verb}", "c", Needs(), "nothing")
"""


def written(monkeypatch: pytest.MonkeyPatch, root: Path, **files: str) -> None:
    """Let the methods folder be ``root`` with these files, verb__stem -> text, in verbs of a name that nothing else
    imports.
    """
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
        (
            {"probe__a_b": SYSTEM.format(name="X", slug="a_b", verb="probe")},
            "slug and verb follow from file and folder",
        ),
        (
            {"probe__a_b": SYSTEM.format(name="X", slug="a-b", verb="other")},
            "slug and verb follow from file and folder",
        ),
        ({"probe__a": "x = 1"}, "holds 0 systems"),
        (
            {"probe__a": SYSTEM.format(name="X", slug="a", verb="p") + SYSTEM.format(name="Y", slug="a", verb="p")},
            "holds 2 systems",
        ),
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


RESULT = {
    "shown": True,
    "stage": "reduced",
    "claim": "c",
    "control": "k",
    "seeds": [1, 2, 3],
    "backbone": "lite",
    "date": "2026-11-24T19:26:08+00:00",
}


def with_result(monkeypatch: pytest.MonkeyPatch, root: Path, text: str) -> Path:
    """Let the methods be one system with a proof, and its written result be ``text``."""
    plan = 'proof=ProofPlan("c", "k", ("a", "b")), '
    system = SYSTEM.replace("Card, Needs", "Card, Needs, ProofPlan").replace('"nothing")', f'"nothing", {plan})')
    (root / "methods").mkdir()
    written(monkeypatch, root / "methods", probe__own=system.format(name="Own", slug="own", verb="probe"))
    monkeypatch.setattr(catalog, "RESULTS", root / "results")
    monkeypatch.setattr(catalog, "INDEX", root / "catalog.json")
    (root / "results").mkdir()
    if text:
        (root / "results" / "own.json").write_text(text, encoding="utf-8")
    return root / "results"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "shown, reduced, 3 seeds"),
        ({"seeds": [1, 2, 3, 4, 5]}, "shown, reduced"),
        ({"shown": False, "stage": None, "seeds": [1, 2, 3, 4, 5]}, "not shown"),
    ],
)
def test_the_index_says_what_the_written_result_reached_and_calls_the_plan_a_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: dict[str, Any], words: str
) -> None:
    result = {**RESULT, **told}
    with_result(monkeypatch, tmp_path, json.dumps({**result, "datasets": [{"dataset": "a", "items": 9}]}))
    (entry,) = catalog.build()
    assert entry["result"] == {
        "shown": result["shown"],
        "stage": result["stage"],
        "of_this_proof": True,
        "seeds": len(result["seeds"]),
        "datasets": ["a"],
        "backbone": "lite",
        "date": "2026-11-24",
    }
    assert entry["proof"]["planned_stage"] == "reduced"
    assert "stage" not in entry["proof"]
    assert catalog.reached(entry) == catalog.reached(entry, reason=True) == words
    entry["proof"]["not_shown"] = "protocol: two photos"
    assert catalog.reached(entry) == words
    assert catalog.reached(entry, reason=True) == (
        words if entry["result"]["shown"] else f"{words} (protocol: two photos)"
    )


@pytest.mark.parametrize("key", ["claim", "control"])
@pytest.mark.parametrize("shown", [True, False])
def test_a_result_of_another_claim_or_control_says_nothing_of_this_proof(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, shown: bool
) -> None:
    result = {**RESULT, "shown": shown, "stage": None, key: "what the card once said"}
    with_result(monkeypatch, tmp_path, json.dumps({**result, "datasets": []}))
    (entry,) = catalog.build()
    assert entry["result"]["of_this_proof"] is False
    entry["proof"]["not_shown"] = "protocol: two photos"
    assert catalog.reached(entry) == "not run again"
    assert catalog.reached(entry, reason=True) == "not run again (the result is of another claim or control)"


def test_what_was_not_proved_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_result(monkeypatch, tmp_path, "")
    (entry,) = catalog.build()
    assert entry["result"] is None
    assert catalog.reached(entry) == "not run"
    assert catalog.reached({**entry, "proof": None}) == "none planned"


def test_a_new_result_makes_the_index_stale_and_without_results_it_keeps_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = with_result(monkeypatch, tmp_path, json.dumps({**RESULT, "datasets": []}))
    assert catalog.main(["--write"]) == 0
    results.rename(tmp_path / "elsewhere")  # an installed package holds no results
    assert catalog.main(["--check"]) == 0
    (tmp_path / "elsewhere").rename(results)
    (results / "own.json").write_text(json.dumps({**RESULT, "shown": False, "stage": None, "datasets": []}))
    assert catalog.main(["--check"]) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "figure"}'])
def test_a_file_that_is_no_result_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    with_result(monkeypatch, tmp_path, text)
    with pytest.raises(UsageError, match=r"own\.json is no result of a proof: run 'diptych prove own --overwrite'"):
        catalog.build()


def test_the_packaged_index_claims_no_stage_that_was_not_shown() -> None:
    cards = {c["slug"]: c for c in catalog.cards()}
    assert all("stage" not in (c["proof"] or {}) for c in cards.values())
    results = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((Path(__file__).parents[1] / "results").glob("*.json"))
    ]
    proofs = {r["slug"]: r for r in results if r.get("kind") == "proof"}
    told = {slug: r for slug, r in proofs.items() if ":" not in slug}
    rows = {f"{slug}:{row}": r for slug, c in cards.items() for row, r in c["row_results"].items() if r}
    assert {slug: r["shown"] for slug, r in rows.items()} == {s: r["shown"] for s, r in proofs.items() if ":" in s}
    assert {slug for slug, c in cards.items() if c["result"]} == set(told)
    for slug, result in told.items():
        own = cards[slug]["result"]
        assert (own["shown"], own["stage"]) == (result["shown"], result["stage"])


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
