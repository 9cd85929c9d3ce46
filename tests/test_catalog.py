from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

import diptych.methods
from diptych import catalog
from diptych.core import Auditor, Card, Classifier, Method, Needs, Retriever, Segmenter, UsageError, entry_points
from diptych.core.settings import with_settings
from diptych.methods.classify.gda import GDA


@dataclass(frozen=True)
class Outsider(Method):
    card: ClassVar[Card] = Card("outsider", "Outsider", "t", "https://x", 2024, "classify", "c", Needs(), "nothing")


class NoSystem:
    pass


def outside(monkeypatch: pytest.MonkeyPatch, name: str, value: str = f"{__name__}:Outsider") -> None:
    monkeypatch.setattr(entry_points, "_warned", set())
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, sys.modules[Outsider.__module__]))
    monkeypatch.setattr(entry_points, "entry_points", lambda group: [EntryPoint(name, value, group)])


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
    with pytest.raises(UsageError, match="run 'diptych audit pairs', or see"):
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


def test_an_outsider_with_our_slug_warns_once_and_ours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, "gda")
    with pytest.warns(entry_points.PluginWarning, match="its slug is that of a system of diptych") as caught:
        listed = [catalog.slugs() for _ in range(2)]
    assert len(caught) == 1
    assert listed[1].count("gda") == 1
    assert catalog.card("gda")["class"] == "GDA"
    assert catalog.find("gda") is GDA


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("other", f"{__name__}:Outsider", "'other' of .* its card says 'outsider'"),
        ("outsider", f"{__name__}:NoSystem", "'outsider' of .* not a class of a role"),
        ("outsider", "no_such_module:Outsider", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_broken_entry_point_warns_once_and_is_named_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    outside(monkeypatch, name, value)
    with pytest.warns(entry_points.PluginWarning, match=message) as caught:
        listed = [[card["slug"] for card in catalog.cards()] for _ in range(2)]
    assert len(caught) == 1
    assert name not in listed[0]
    assert "gda" in listed[0]
    for call in (catalog.find, catalog.card):
        with pytest.raises(UsageError, match=message):
            call(name)


SYSTEM = """
from dataclasses import dataclass
from diptych.core import Classifier

@dataclass(frozen=True)
class {name}(Classifier):
    pass
"""
CARD = """
slug = "{slug}"
name = "X"
title = "t"
url = "https://x"
year = 2024
verb = "{verb}"
claim = "c"
trains = "nothing"
"""


def written(monkeypatch: pytest.MonkeyPatch, root: Path, **files: str) -> None:
    """Let the methods folder be ``root`` with these files: verb__stem -> code, verb__stem__card -> card."""
    for place, text in files.items():
        verb, stem, *card = place.split("__")
        (root / verb).mkdir(exist_ok=True)
        (root / verb / "__init__.py").touch()
        (root / verb / f"{stem}.{'toml' if card else 'py'}").write_text(text, encoding="utf-8")
    monkeypatch.setattr(diptych.methods, "__path__", [str(root)])


def test_build_takes_slug_and_verb_from_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = CARD.format(slug="my-own", verb="detect")
    written(monkeypatch, tmp_path, detect__my_own=SYSTEM.format(name="Own"), detect__my_own__card=card)
    (entry,) = catalog.build()
    assert (entry["slug"], entry["class"], entry["module"]) == ("my-own", "Own", "diptych.methods.detect.my_own")
    assert catalog.slugs() == ("my-own",)
    assert catalog.card("my-own") == entry
    assert catalog.of_verb("detect") == ["my-own"]
    assert catalog.of_verb("cook") == []


A = {"detect__a": SYSTEM.format(name="X"), "detect__a__card": CARD.format(slug="a", verb="detect")}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"detect__a_b": A["detect__a"], "detect__a_b__card": A["detect__a__card"]}, "slug and verb follow from file"),
        ({**A, "detect__a__card": CARD.format(slug="a", verb="edit")}, "slug and verb follow from file and folder"),
        ({**A, "detect__a": "x = 1"}, "holds 0 systems"),
        ({**A, "detect__a": SYSTEM.format(name="X") + SYSTEM.format(name="Y")}, "holds 2 systems"),
        ({"detect__a": A["detect__a"]}, "diptych.methods.detect.a has no card: write a.toml beside it"),
        (
            {**A, "edit__a": A["detect__a"]},
            "Two systems are called 'a', in diptych.methods.detect.a and diptych.methods.edit.a",
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
    card = CARD.format(slug="own", verb="detect") + '[proof]\nclaim = "c"\ncontrol = "k"\ndatasets = ["a", "b"]\n'
    (root / "methods").mkdir()
    written(monkeypatch, root / "methods", detect__own=SYSTEM.format(name="Own"), detect__own__card=card)
    monkeypatch.setattr(catalog, "RESULTS", root / "results")
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


def test_the_index_of_a_wheel_is_read_in_the_place_of_the_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = with_result(monkeypatch, tmp_path, json.dumps({**RESULT, "datasets": []}))
    built = catalog.build()
    monkeypatch.setattr(catalog, "INDEX", tmp_path / "catalog.json")
    catalog.INDEX.write_text(json.dumps(built), encoding="utf-8")
    (results / "own.json").unlink()  # an installed package holds no results
    catalog._index.cache_clear()
    try:
        assert catalog.cards() == [catalog.card("own")] == built
        assert built[0]["result"]["shown"]
    finally:
        catalog._index.cache_clear()


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "figure"}'])
def test_a_file_that_is_no_result_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    with_result(monkeypatch, tmp_path, text)
    with pytest.raises(
        UsageError, match=r"own\.json is no result of a proof: run 'diptych prove own' again, with overwrite"
    ):
        catalog.build()


def test_no_card_claims_a_stage_that_was_not_shown() -> None:
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


PUBLISHED = [slug for slug in catalog.slugs() if catalog.find(slug).card.published]


@pytest.mark.parametrize("slug", PUBLISHED)
def test_published_settings_are_settings_of_the_system(slug: str) -> None:
    kind = catalog.find(slug)
    published = kind.card.published
    assert published is not None
    assert published.settings
    system = with_settings(catalog.row(kind, next(iter(kind.card.variants))), {"published": True})
    for name, value in published.settings.items():
        part: Any = system
        for field in name.split("."):
            part = getattr(part, field)
        assert part == value, name
