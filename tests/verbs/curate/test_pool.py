from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from diptych.core import Curator, UsageError
from diptych.methods.curate.semdedup import SemDeDup
from diptych.verbs.curate.apply import CurateApply
from diptych.verbs.curate.plan import CuratePlan
from diptych.verbs.curate.pool import METHODS, SLIDE_CURATOR

CURATORS: list[Any] = [catalog.find(card["slug"], Curator) for card in catalog.cards() if card["verb"] == "curate"]


def test_every_setting_is_one_of_a_curator_with_the_curators_default() -> None:
    settings = {
        f.metadata["setting"]: f for v in (CuratePlan, CurateApply) for f in fields(v) if "setting" in f.metadata
    }
    assert len(settings) > 20
    for name, declared in settings.items():
        own = [c.__dataclass_fields__[name] for c in CURATORS if name in c.__dataclass_fields__]
        assert own, name
        default = float("inf") if name == "most" else declared.default  # None: all
        assert all(field.default == default for field in own), name


def test_the_help_names_every_curator() -> None:
    assert {*METHODS.split(", "), SLIDE_CURATOR} == {c.card.slug for c in CURATORS}


def test_arguments_are_settings_and_others_are_by_name() -> None:
    asked = CurateApply.parsed("python", source="p.csv", method="semdedup", prefer="easy", settings={"eps": 0.1})
    assert asked.system() == SemDeDup(keep="easy", eps=0.1)
    assert CurateApply.parsed("command", source="p.txt", t="inf").system().t == float("inf")


def test_a_system_keeps_the_settings_that_it_brings() -> None:
    asked = CuratePlan.parsed("python", sources="p.csv", method=SemDeDup(mirror=True))
    assert asked.system() == SemDeDup(mirror=True)


def test_a_pool_is_files(tmp_path: Path) -> None:
    assert CuratePlan.parsed("python", sources=[tmp_path, "b.csv"]).sources == (str(tmp_path), "b.csv")
    with pytest.raises(UsageError, match=r"this is a dict: give a path, such as that of a table \(\.csv\)"):
        CuratePlan.parsed("python", sources={"a": 1})
    with pytest.raises(UsageError, match="this is a list"):
        CurateApply.parsed("python", source=["a.csv"])


def test_a_wrong_word_is_named() -> None:
    with pytest.raises(UsageError, match="prefer must be one of 'hard', 'easy', 'random', got 'x'"):
        CurateApply.parsed("python", source="p.csv", method="semdedup", prefer="x").checked(["prefer"])


def test_a_file_is_a_path_or_what_wrote_it(tmp_path: Path) -> None:
    assert CuratePlan.parsed("python", sources="p.csv", head=tmp_path, merge=["a", tmp_path]).merge == (
        Path("a"),
        tmp_path,
    )
    assert CuratePlan.parsed("python", sources="p.csv", head=None).head == ""
    with pytest.raises(UsageError, match="head: A file is named by its path, not by a int"):
        CuratePlan.parsed("python", sources="p.csv", head=3)
